"""How the rows of a read model get into their table: the statement made once, many rows at a time.

Speed lives here. In SQLite the driver's own ``executemany`` over tuples is more than twice as fast as SQLAlchemy's
``connection.execute(insert(...), rows)`` (``benchmarks/views.py``). To PostgreSQL the rows of one statement go as one
JSON text, which costs this process 5 µs a row of health where a statement a row costs 20, and the server two thirds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Protocol

import msgspec
from msgspec import Struct, structs
from sqlalchemy import Column, Table
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from engage.store.columns import Convert, Stored, moment_kind, refuse_without_offset
from engage.store.database import Statement

Ready = Any
"""Rows of one partition as their database takes them, made by ``ready`` before a transaction is begun."""


class Stamp(Struct, frozen=True):
    """What every row that one commit writes carries: see the framework's columns."""

    partition: int
    position: int
    change: int


class RowWriter(Protocol):
    """Inserts rows, or replaces those whose key is there."""

    def ready(self, rows: Sequence[Any], due: Mapping[str, datetime]) -> Ready:
        """What ``writing`` takes; ``due`` says by key when rows want to be woken. Whatever it raises, a row is bad."""
        ...

    def writing(self, parts: Sequence[tuple[Ready, Stamp]]) -> list[Statement]:
        """What writes what is ready, each part with its stamp; nothing where there are no rows."""
        ...


class SqliteRows:
    """A tuple a row, and the driver's own loop over them."""

    def __init__(self, table: Table, key: Column[Any], encode: Callable[[Any], tuple[Any, ...]]) -> None:
        self._encode = encode
        self._due_of: Convert = moment_kind(sqlite=True).encode or _as_it_is
        statement = sqlite_insert(table)
        replaced = {column.name: statement.excluded[column.name] for column in table.columns if column is not key}
        upsert = statement.on_conflict_do_update(index_elements=[key], set_=replaced)
        self._upsert = str(upsert.compile(dialect=SQLiteDialect_pysqlite()))

    def ready(self, rows: Sequence[Any], due: Mapping[str, datetime]) -> Ready:
        """See ``RowWriter.ready``."""
        moments = {key: self._due_of(moment) for key, moment in due.items()}
        return [self._encode(row) for row in rows], moments

    def writing(self, parts: Sequence[tuple[Ready, Stamp]]) -> list[Statement]:
        """See ``RowWriter.writing``."""
        stamped = [
            (*values, stamp.partition, stamp.position, stamp.change, dues.get(values[0]))
            for (rows, dues), stamp in parts
            for values in rows
        ]
        return [(self._upsert, stamped)] if stamped else []


class _Json(Struct, frozen=True):
    """Rows as JSON between its brackets, how many, and when they want to be woken as the inside of an array's text."""

    rows: bytes
    count: int
    dues: str


class PostgresRows:
    """One JSON text for all rows of a statement, which the server takes apart by the columns' names and types."""

    def __init__(self, table: Table, columns: Sequence[Column[Any]], *, waking: bool) -> None:
        dialect = PGDialect_psycopg(paramstyle="format")  # type: ignore[no-untyped-call]
        quoted = {column.name: dialect.identifier_preparer.format_column(column) for column in table.columns}
        types = [column.type.dialect_impl(dialect).compile(dialect) for column in columns]
        own = [quoted[column.name] for column in columns]
        stamps = [quoted[name] for name in ("_partition", "_position", "_change", *(("_due",) if waking else ()))]
        arrays = ", ".join(["%s::bigint[]"] * 3 + ["%s::timestamptz[]"] * waking)
        replaced = ", ".join(f"{name} = excluded.{name}" for name in [*own, *stamps] if name != own[0])
        described = ", ".join(f"{name} {kind}" for name, kind in zip(own, types, strict=True))
        self._upsert = (
            f"INSERT INTO {dialect.identifier_preparer.format_table(table)} ({', '.join([*own, *stamps])}) "
            f"SELECT * FROM ROWS FROM (json_to_recordset(%s::json) AS ({described}), unnest({arrays})) "
            f"ON CONFLICT ({own[0]}) DO UPDATE SET {replaced}"
        )
        self._waking = waking
        self._key = attrgetter(columns[0].name)
        moments = [
            column.name
            for column in columns
            if isinstance(column.type, Stored) and column.type.kind is moment_kind(sqlite=False)
        ]
        self._moments: Callable[[Any], Any] | None = attrgetter(*moments) if moments else None
        self._one_moment = len(moments) == 1

    def ready(self, rows: Sequence[Any], due: Mapping[str, datetime]) -> Ready:
        """See ``RowWriter.ready``."""
        if self._moments is not None:  # the server would take one without an offset for one of UTC
            for row in rows:
                found = self._moments(row)
                for moment in (found,) if self._one_moment else found:
                    if moment is not None:
                        refuse_without_offset(moment)
        dues = _encode([due.get(self._key(row)) for row in rows])[1:-1].decode() if self._waking else ""
        return _Json(_encode(rows)[1:-1], len(rows), dues)

    def writing(self, parts: Sequence[tuple[Ready, Stamp]]) -> list[Statement]:
        """See ``RowWriter.writing``."""
        parts = [(rows, stamp) for rows, stamp in parts if rows.count]
        if not parts:
            return []
        arrays = [
            _array([",".join([str(number)] * rows.count) for (rows, _), number in zip(parts, numbers, strict=True)])
            for numbers in zip(*(structs.astuple(stamp) for _, stamp in parts), strict=True)
        ]
        if self._waking:
            arrays.append(_array([rows.dues for rows, _ in parts]))
        rows = b",".join([rows.rows for rows, _ in parts]).decode()
        return [(self._upsert, (f"[{rows}]", *arrays))]


def _array(parts: Sequence[str]) -> str:
    """An array as PostgreSQL reads it."""
    return f"{{{','.join(parts)}}}"


def _as_it_is(value: Any) -> Any:
    return value


_encode = msgspec.json.Encoder().encode
