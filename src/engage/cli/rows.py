"""Rows of a read model on standard output: aligned for people, CSV or a JSON object a line for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Annotated, Any

import typer

from engage.cli import completing
from engage.cli.output import USAGE, CommandFailedError, data, moment, say, table

_SHOWN = 50
_WIDE = 40

Where = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ASK",
        help="band=slipping, score__lt=40 (or ne le gt ge in prefix null), sort=-score, fields=account,score, limit=9.",
        autocompletion=completing.conditions,
    ),
]
AsCsv = Annotated[bool, typer.Option("--csv", help="All rows as CSV.")]
AsLines = Annotated[bool, typer.Option("--json", help="All rows, one JSON object a line.")]


def parameters(asked: Sequence[str]) -> list[tuple[str, str]]:
    """What is asked, as names and values; CommandFailedError for a word that is none."""
    found = []
    for text in asked:
        name, equals, value = text.partition("=")
        if not equals:
            raise CommandFailedError(f"{text!r} asks nothing: write COLUMN=VALUE, such as band=slipping", USAGE)
        found.append((name, value))
    return found


def show_rows(fields: Sequence[str], rows: Iterable[Sequence[Any]], *, as_csv: bool, as_json: bool) -> None:
    """Every row for programs; for people the first ones, without the columns that hold lists and tables."""
    from engage.services.view_texts import written

    if as_csv or as_json:
        for piece in written("csv" if as_csv else "ndjson", fields, rows):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    first = list(islice(rows, _SHOWN + 1))
    shown = [place for place in range(len(fields)) if not any(isinstance(row[place], list | dict) for row in first)]
    cells = [[_cell(row[place]) for place in shown] for row in first[:_SHOWN]]
    for line in table([fields[place] for place in shown], cells, right=_numbers(first, shown)):
        data().print(line, soft_wrap=True)
    if len(first) > _SHOWN:
        say(f"the first {_SHOWN} rows: ask for fewer, or take --csv or --json for all")


def _numbers(rows: Sequence[Sequence[Any]], shown: Sequence[int]) -> list[int]:
    """The columns that hold numbers alone."""
    kept = (int, float, type(None))
    return [at for at, place in enumerate(shown) if rows and all(isinstance(row[place], kept) for row in rows)]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.2f}"
    text = moment(value) if isinstance(value, datetime) else str(value)
    return text if len(text) <= _WIDE else f"{text[: _WIDE - 1]}…"
