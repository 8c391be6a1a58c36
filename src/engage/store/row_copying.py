"""How many rows at once get into a table of PostgreSQL: by COPY, which reads them in a third of the time of JSON.

To take one JSON text apart into rows costs the server 7 to 27 us a row of several columns, and three quarters of all
that a long batch costs it; COPY takes 1 to 8. Rows that may be there go by way of a table that lives as long as their
transaction, those of which none can be there go straight in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import structs
from sqlalchemy import Column, Table, Text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from engage.store.columns import Jsonb, Stored, moment_kind, refuse_without_offset
from engage.store.database import Statement
from engage.store.row_writing import Part

COPIED = 300
"""From so many rows on it pays: to make the table on the way and drop it takes the server as long as 100 rows."""
_STAGED = "pg_temp.staged"
_FORMAT = "(FORMAT csv, ESCAPE E'\\\\', NULL 'null', ENCODING 'UTF8')"


class CopiedRows:
    """Statements that copy rows; those of the framework's columns stand behind the row's own.

    A line of CSV is what the JSON encoder makes of a row's values, without the brackets: with a backslash to escape
    quotes, the server reads texts as JSON writes them, but for those with control characters in them.
    """

    def __init__(self, table: Table, columns: Sequence[Column[Any]], *, waking: bool) -> None:
        dialect = PGDialect_psycopg(paramstyle="format")  # type: ignore[no-untyped-call]
        quoted = {column.name: dialect.identifier_preparer.format_column(column) for column in table.columns}
        own = [column.name for column in columns]
        names = [*own, *(("_due",) if waking else ()), "_partition", "_position", "_change"]
        listed = ", ".join(quoted[name] for name in names)
        of = {column.name: column.type.dialect_impl(dialect).compile(dialect) for column in table.columns}
        shape = ", ".join(f"{quoted[name]} {of[name]}" for name in names)
        replaced = ", ".join(f"{quoted[name]} = excluded.{quoted[name]}" for name in names[1:])
        target = dialect.identifier_preparer.format_table(table)
        self._straight = f"COPY {target} ({listed}) FROM STDIN {_FORMAT}"
        self._stage: Statement = f"CREATE TEMPORARY TABLE {_STAGED} ({shape}) ON COMMIT DROP", None
        self._copy = f"COPY {_STAGED} ({listed}) FROM STDIN {_FORMAT}"
        self._merge: tuple[Statement, ...] = (
            (
                f"INSERT INTO {target} ({listed}) SELECT {listed} FROM {_STAGED} "
                f"ON CONFLICT ({quoted[own[0]]}) DO UPDATE SET {replaced}",
                None,
            ),
            (f"DROP TABLE {_STAGED}", None),  # the next one has the same name
        )
        self._waking = waking
        kinds = [column.type.kind for column in columns if isinstance(column.type, Stored)]
        self._json = [
            (place, kind.encode_all)
            for place, kind in enumerate(kinds)
            if isinstance(kind.sql, Jsonb) and kind.encode_all is not None
        ]
        self._plain = [place for place, kind in enumerate(kinds) if isinstance(kind.sql, Text)]
        self._moments = [place for place, kind in enumerate(kinds) if kind is moment_kind(sqlite=False)]

    def writing(self, parts: Sequence[Part], *, fresh: bool) -> list[Statement] | None:
        """What writes these rows, one at least; None where a copy would take a text for another one.

        ``fresh``: none of them is in the table by now. Whatever it raises, a row is bad.
        """
        copied = list[bytes]()
        for part in parts:
            columns: list[Sequence[Any]] = list(zip(*map(structs.astuple, part.rows), strict=True))
            self._refuse_without_offset(columns)
            for place, texts_of in self._json:
                columns[place] = texts_of(columns[place])
            if self._misread(columns):
                return None
            copied.append(self._lines(columns, part))
        lines = b"".join(copied)
        if fresh:
            return [(self._straight, lines)]
        return [self._stage, (self._copy, lines), *self._merge]

    def _refuse_without_offset(self, columns: Sequence[Sequence[Any]]) -> None:
        for place in self._moments:  # the server would take one without an offset for one of UTC
            if None in map(_offset_of, filter(None, columns[place])):
                for moment in filter(None, columns[place]):
                    refuse_without_offset(moment)

    def _misread(self, columns: Sequence[Sequence[Any]]) -> bool:
        """Whether a text holds a control character, which JSON escapes by a letter and CSV does not.

        In texts that are JSON only raw JSON has any, between its values: the encoder has escaped all others.
        """
        texts = _encode([columns[place] for place in self._plain])
        if b"\\" in texts and b"\\" in texts.replace(rb"\\", b"").replace(rb"\"", b""):
            return True
        found = ["".join(filter(None, columns[place])) for place, _ in self._json]
        return any(blank in text for text in found for blank in "\n\r\t")

    def _lines(self, columns: Sequence[Sequence[Any]], part: Part) -> bytes:
        dues = [[part.due.get(key) for key in columns[0]]] if self._waking else []
        end = f",{','.join(map(str, structs.astuple(part.stamp)))}\n".encode()
        # No line break stands in JSON that the encoder makes: each line is a row.
        lines = _encode_lines(list(zip(*columns, *dues, strict=True))).split(b"\n")
        return b"".join([line[1:-1] + end for line in lines if line])


_offset_of: Callable[[Any], Any] = attrgetter("tzinfo")
_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
