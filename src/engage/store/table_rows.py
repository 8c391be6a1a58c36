"""Rows of engage's own tables as lines of JSON, and back: the same from SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Boolean, Column, Connection, LargeBinary, Table, delete, insert, select

from engage.store.columns import Moment
from engage.store.database import Database

_AT_ONCE = 500

Change = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Gets a row by column, gives it as it is to be stored, or None to leave it out."""


def lines(connection: Connection, table: Table) -> Iterator[bytes]:
    """Every row as JSON by column, in the order of the key; bytes are base64, moments RFC 3339."""
    found = select(*_kept(table)).order_by(*table.primary_key)
    for row in connection.execute(found.execution_options(yield_per=_AT_ONCE)).mappings():
        yield msgspec.json.encode(
            {name: bytes(value) if isinstance(value, memoryview) else value for name, value in row.items()}
        )


def put(connection: Connection, table: Table, told: Iterable[bytes], change: Change | None = None) -> int:
    """Let these lines be all that the table holds; how many rows it then has. The order stays, numbers count anew."""
    connection.execute(delete(table))
    columns = _kept(table)
    done, rows = 0, list[dict[str, Any]]()
    for line in told:
        row = msgspec.json.decode(line)
        read: dict[str, Any] | None = {one.name: _value(one, row[one.name]) for one in columns if one.name in row}
        if read is not None and change is not None:
            read = change(read)
        if read is not None:
            rows.append(read)
        if len(rows) == _AT_ONCE:
            connection.execute(insert(table), rows)
            done, rows = done + len(rows), []
    if rows:
        connection.execute(insert(table), rows)
    return done + len(rows)


def any_row(database: Database, tables: Iterable[Table]) -> str | None:
    """The name of one of these tables that holds something, None if none does."""
    with database.read() as connection:
        for table in tables:
            if connection.execute(select(1).select_from(table).limit(1)).first():
                return table.name
    return None


def _kept(table: Table) -> list[Column[Any]]:
    """The columns but for a number that only says the order: the database counts it."""
    return [one for one in table.columns if one is not table.autoincrement_column]


def _value(column: Column[Any], told: Any) -> Any:
    if told is None:
        return None
    if isinstance(column.type, Moment):
        return msgspec.convert(told, datetime)
    if isinstance(column.type, LargeBinary):
        return msgspec.convert(told, bytes)
    return bool(told) if isinstance(column.type, Boolean) else told
