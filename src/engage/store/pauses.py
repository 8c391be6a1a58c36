"""Which read models are paused, since when and by whom: by their live names, so that no swap takes a pause away."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import Column, Connection, Table, Text, delete, insert, select

from engage.store.columns import Moment
from engage.store.database import Statement
from engage.store.positions import TABLES, PositionMovedError, hold

PAUSES = Table(
    "view_pauses",
    TABLES,
    Column("projection", Text, primary_key=True),
    Column("since", Moment, nullable=False),
    Column("by", Text, nullable=False, comment="who paused it"),
    comment="The read models that stand still until somebody resumes them.",
)


class Paused(Struct, frozen=True):
    """Since when a read model is paused, and ``by`` whom."""

    since: datetime
    by: str

    def __str__(self) -> str:
        return f"paused since {self.since:%Y-%m-%d %H:%M} (UTC) by {self.by}"


def add(connection: Connection) -> None:
    """Make the table in a store that knows no pauses yet."""
    PAUSES.create(connection, checkfirst=True)


def pauses(connection: Connection) -> dict[str, Paused]:
    """What is paused, by name."""
    columns = PAUSES.c.projection, PAUSES.c.since, PAUSES.c.by
    return {name: Paused(since, by) for name, since, by in connection.execute(select(*columns))}


def pause(connection: Connection, names: Iterable[str], paused: Paused) -> None:
    """Let these stand still from now on; what is being written of them is waited for. A pause that is there stays."""
    wanted = list(names)
    hold(connection, wanted)
    there = pauses(connection)
    rows = [{"projection": one, "since": paused.since, "by": paused.by} for one in wanted if one not in there]
    if rows:
        connection.execute(insert(PAUSES), rows)


def resume(connection: Connection, names: Iterable[str]) -> None:
    """Let these go on."""
    connection.execute(delete(PAUSES).where(PAUSES.c.projection.in_(list(names))))


def any_of(connection: Connection, names: Iterable[str]) -> bool:
    """Whether one of these is paused."""
    return not pauses(connection).keys().isdisjoint(names)


PAUSED: Statement = ("SELECT projection FROM view_pauses", None)
"""What finds which are paused, for ``refuse``, in a transaction that holds the positions of what it writes."""


def refuse(paused: Iterable[Any], names: Collection[str]) -> None:
    """PositionMovedError if one of these was paused meanwhile."""
    if any(name in names for (name,) in paused):
        raise PositionMovedError(
            f"of the views {', '.join(names)} one was paused while this batch was folded: nothing of it was written"
        )
