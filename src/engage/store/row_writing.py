"""How the rows of a read model get into their table: the statement made once, many rows at a time.

Speed lives here. In SQLite the driver's own ``executemany`` over tuples is more than twice as fast as SQLAlchemy's
``connection.execute(insert(...), rows)`` (``benchmarks/views.py``). To PostgreSQL the rows of one statement go as one
JSON text, which costs this process 5 µs a row of health where a statement a row costs 20, and the server two thirds;
many of them go by COPY (``row_copying``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import repeat
from operator import attrgetter
from typing import Any, Protocol

import msgspec
from msgspec import Struct, structs
from sqlalchemy import Column, Table
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from engage.store.columns import NULL, ConvertAll, Stored, moment_kind, refuse_without_offset
from engage.store.database import Statement


class Stamp(Struct, frozen=True):
    """What every row that one commit writes carries: see the framework's columns."""

    partition: int
    position: int
    change: int


class Part(Struct, frozen=True):
    """Rows that one commit writes of one partition; ``due`` says by key when they want to be woken."""

    rows: Sequence[Any]
    stamp: Stamp
    due: Mapping[str, datetime] = {}


class RowWriter(Protocol):
    """Inserts rows, or replaces those whose key is there."""

    def writing(self, parts: Sequence[Part]) -> list[Statement]:
        """What writes them; nothing where there are no rows. Whatever it raises, a row is bad."""
        ...


class SqliteRows:
    """A tuple a row, and the driver's own loop over them."""

    def __init__(self, table: Table, key: Column[Any], encode: Callable[[Sequence[Any]], list[Sequence[Any]]]) -> None:
        self._encode = encode
        self._dues_of: ConvertAll = moment_kind(sqlite=True).encode_all or _as_they_are
        statement = sqlite_insert(table)
        replaced = {column.name: statement.excluded[column.name] for column in table.columns if column is not key}
        upsert = statement.on_conflict_do_update(index_elements=[key], set_=replaced)
        self._upsert = str(upsert.compile(dialect=SQLiteDialect_pysqlite()))

    def writing(self, parts: Sequence[Part]) -> list[Statement]:
        """See ``RowWriter.writing``."""
        rows = [row for part in parts for row in part.rows]
        if not rows:
            return []
        columns = self._encode(rows)
        # To encode and to stamp the rows of all partitions at once is two thirds of the time for small batches.
        stamps = [structs.astuple(part.stamp) for part in parts for _ in part.rows]
        dues: Iterable[Any] = repeat(None)
        if any(part.due for part in parts):
            keys = iter(columns[0])
            dues = self._dues_of([part.due.get(next(keys)) for part in parts for _ in part.rows])
        return [(self._upsert, list(zip(*columns, *zip(*stamps, strict=True), dues, strict=False)))]


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
        self._finite = [
            (attrgetter(column.name), column.type.kind.encode)
            for column in columns
            if isinstance(column.type, Stored) and column.type.kind.finite and column.type.kind.encode is not None
        ]
        self._nullable = [attrgetter(column.name) for column in columns if column.nullable]

    def writing(self, parts: Sequence[Part]) -> list[Statement]:
        """See ``RowWriter.writing``."""
        rows = [row for part in parts for row in part.rows]
        if not rows:
            return []
        self._refuse_without_offset(rows)
        numbers = zip(*(structs.astuple(part.stamp) for part in parts), strict=True)
        counts = [len(part.rows) for part in parts]
        arrays = [
            _array([",".join([str(one)] * count) for one, count in zip(each, counts, strict=True) if count])
            for each in numbers
        ]
        if self._waking:
            dues = [part.due.get(self._key(row)) for part in parts for row in part.rows]
            arrays.append(_array([_encode(dues)[1:-1].decode()]))
        text = _encode(rows).decode()
        if self._finite:
            self._refuse_infinite(rows, text)
        return [(self._upsert, (text, *arrays))]

    def _refuse_infinite(self, rows: Sequence[Any], text: str) -> None:
        # To count takes 1 µs a row of health; only where there are more than the columns account for each is looked at.
        if text.count(NULL) > sum(list(map(value_of, rows)).count(None) for value_of in self._nullable):
            for value_of, encode in self._finite:
                for value in filter(None, map(value_of, rows)):
                    encode(value)

    def _refuse_without_offset(self, rows: Sequence[Any]) -> None:
        if self._moments is not None:  # the server would take one without an offset for one of UTC
            for row in rows:
                found = self._moments(row)
                for moment in (found,) if self._one_moment else found:
                    if moment is not None:
                        refuse_without_offset(moment)


def _array(parts: Sequence[str]) -> str:
    """An array as PostgreSQL reads it."""
    return f"{{{','.join(parts)}}}"


def _as_they_are(values: Sequence[Any]) -> Sequence[Any]:
    return values


_encode = msgspec.json.Encoder().encode
