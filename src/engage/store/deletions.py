"""What was deleted from the read models: without it, who follows their changes would never hear that a row is gone."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger, Column, Connection, Index, Table, Text, delete, insert, select

from engage.store.database import Database, Statement
from engage.store.positions import TABLES

_CHUNK = 900  # keys of one statement: SQLite before 3.32 takes 999 values

DELETIONS = Table(
    "view_deletions",
    TABLES,
    Column("projection", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("partition", BigInteger, nullable=False),
    Column("change", BigInteger, nullable=False, comment="which change of the read model on that partition it was"),
    Column("position", BigInteger, nullable=False, comment="the log position it was committed with"),
    comment="The keys of rows that are gone, until they come back.",
)
Index("view_deletions_in_order", *(DELETIONS.c[name] for name in ("projection", "partition", "change")))

Deletion = tuple[str, int, int, int]
"""Key, partition, change, position."""


def noted(database: Database, projections: Sequence[str]) -> Statement:
    """What finds which of these have deletions noted: most read models never delete, so one look is for all of them."""
    of, names = database.among("projection", projections)
    return f"SELECT DISTINCT projection FROM view_deletions WHERE {of}", names


def deleted(connection: Connection, projection: str, gone: Sequence[Deletion]) -> None:
    """Note what is gone, one row a key; what was noted of these keys before is forgotten first (``back``)."""
    rows = [
        {"projection": projection, "key": key, "partition": partition, "change": change, "position": position}
        for key, partition, change, position in gone
    ]
    if rows:
        connection.execute(insert(DELETIONS), rows)


def back(connection: Connection, projection: str, keys: Sequence[str]) -> None:
    """Forget that these keys are gone."""
    of = DELETIONS.c.projection == projection
    for start in range(0, len(keys), _CHUNK):
        connection.execute(delete(DELETIONS).where(of, DELETIONS.c.key.in_(keys[start : start + _CHUNK])))


def first_since(database: Database, projection: str, partition: int, after: int) -> Statement:
    """What finds one that is gone since change ``after``, where there is any."""
    of = " AND ".join(f"{one} {database.mark}" for one in ("projection =", "partition =", "change >"))
    return f"SELECT key FROM view_deletions WHERE {of} LIMIT 1", (projection, partition, after)


def since(
    connection: Connection,
    projection: str,
    partition: int,
    after: int,
    limit: int | None = None,
    *,
    until: int | None = None,
) -> list[Deletion]:
    """The first ``limit`` that are gone since change ``after``, and by ``until``, in that order."""
    table = DELETIONS.c
    found = select(table.key, table.partition, table.change, table.position).where(
        table.projection == projection, table.partition == partition, table.change > after
    )
    if until is not None:
        found = found.where(table.change <= until)
    rows = connection.execute(found.order_by(table.change, table.key).limit(limit))
    return [(key, of, change, position) for key, of, change, position in rows]
