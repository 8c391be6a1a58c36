"""Which live tables have told the log how their rows stand, by partition: once in a table's life."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Connection, insert, select

from engage.store import outbox
from engage.store.positions import POSITIONS, STANDINGS
from engage.store.tables import ViewTable
from engage.views.walk import Announced


def add(connection: Connection) -> None:
    """Make the table in a store that knows no standings yet."""
    STANDINGS.create(connection, checkfirst=True)


def silent_until(connection: Connection, projection: str, partition: int) -> int | None:
    """From which offset on a live table speaks, if it has not said yet how its rows stood there; else None.

    None also for one that was there from the log's first record on: it was never silent.
    """
    here = POSITIONS.c.projection == projection, POSITIONS.c.partition == partition
    said = STANDINGS.c.projection == projection, STANDINGS.c.partition == partition
    if connection.scalar(select(STANDINGS.c.partition).where(*said)) is not None:
        return None
    first: int | None = connection.scalar(select(POSITIONS.c.announces_from).where(*here))
    return first or None


def tell(
    connection: Connection,
    table: ViewTable,
    partition: int,
    position: int,
    say: Callable[[Iterable[Any]], list[Announced]],
) -> bool:
    """Put what ``say`` makes of the partition's rows into the outbox, and note that; whether it was done.

    False if the table has moved on from ``position``, or has announcements that wait.
    """
    name = table.projection.name
    here = POSITIONS.c.projection == name, POSITIONS.c.partition == partition
    if connection.scalar(select(POSITIONS.c.position).where(*here).with_for_update()) != position:
        return False
    if outbox.waits(connection, name, partition):
        return False
    said = [(name, one) for one in say(table.of_partition(connection, partition))]
    for statement in outbox.putting(said, sqlite=table.sqlite):
        connection.exec_driver_sql(*statement)
    connection.execute(insert(STANDINGS).values(projection=name, partition=partition))
    return True
