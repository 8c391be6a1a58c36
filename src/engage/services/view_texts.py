"""Rows of a read model as text for other programs: CSV (RFC 4180) and NDJSON, piece by piece."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from itertools import islice
from typing import Any, Literal

import msgspec

TextFormat = Literal["csv", "ndjson"]
MEDIA_TYPES: dict[TextFormat, str] = {
    "csv": "text/csv; charset=utf-8; header=present",
    "ndjson": "application/x-ndjson",
}

_ROWS_OF_A_PIECE = 200
_encode = msgspec.json.Encoder().encode


def written(form: TextFormat, fields: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """The whole table in pieces of about 200 rows, each ending with a line.

    In CSV the first line names the columns, null is an empty cell, and what is not text, number, moment or boolean is
    JSON text.
    """
    write = _csv if form == "csv" else _ndjson
    return write(fields, iter(rows))


def _csv(fields: Sequence[str], rows: Iterator[Sequence[Any]]) -> Iterator[bytes]:
    piece = io.StringIO(newline="")
    writer = csv.writer(piece)
    writer.writerow(fields)
    while True:
        for row in islice(rows, _ROWS_OF_A_PIECE):
            writer.writerow([_cell(value) for value in row])
        if not piece.tell():
            return
        yield piece.getvalue().encode()
        piece.seek(0)
        piece.truncate()


def _ndjson(fields: Sequence[str], rows: Iterator[Sequence[Any]]) -> Iterator[bytes]:
    while lines := [_encode(dict(zip(fields, row, strict=True))) for row in islice(rows, _ROWS_OF_A_PIECE)]:
        yield b"\n".join([*lines, b""])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    text = _encode(value).decode()
    return text[1:-1] if isinstance(value, date | Decimal) else text
