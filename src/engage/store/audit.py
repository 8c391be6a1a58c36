"""What operators did: kept in the transaction that did it, and told to the log from here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

import msgspec
from msgspec import Struct
from sqlalchemy import BigInteger, Boolean, Column, Connection, Integer, Table, Text, insert, select, update

from engage.events.catalogue.command import Outcome
from engage.store.api_keys import TABLES
from engage.store.columns import Moment

AUDIT = Table(
    "audit",
    TABLES,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, comment="the order"),
    Column("id", Text, nullable=False, unique=True, comment="of the event that tells it"),
    Column("time", Moment, nullable=False, comment="when it came to its outcome"),
    Column("actor", Text, nullable=False, comment="who"),
    Column("command", Text, nullable=False, comment="what, in the words of the command line"),
    Column("thing", Text, nullable=False, comment="of which thing"),
    Column("outcome", Text, nullable=False, comment="done, failed or interrupted"),
    Column("told", Boolean(create_constraint=False), nullable=False, index=True, comment="whether the log has it"),
    comment="Commands to engage itself, for reading; the log holds the same.",
)


class Deed(Struct, frozen=True, kw_only=True):
    """One command: see the columns' comments."""

    id: str = msgspec.field(default_factory=lambda: str(uuid4()))
    time: datetime
    actor: str
    command: str
    thing: str
    outcome: Outcome = "done"


def put(connection: Connection, deed: Deed) -> None:
    """Keep it."""
    connection.execute(insert(AUDIT).values(msgspec.structs.asdict(deed) | {"told": False}))


def newest(connection: Connection, limit: int) -> list[Deed]:
    """The newest ``limit``, the newest first."""
    rows = connection.execute(select(AUDIT).order_by(AUDIT.c.number.desc()).limit(limit))
    return [_deed(row) for row in rows]


def untold(connection: Connection, limit: int, behind: int) -> list[Deed]:
    """The first ``limit`` that the log does not have behind so many that it has not, in order."""
    found = select(AUDIT).where(AUDIT.c.told.is_(False)).order_by(AUDIT.c.number)
    rows = connection.execute(found.limit(limit).offset(behind))
    return [_deed(row) for row in rows]


def told(connection: Connection, ids: Sequence[str]) -> None:
    """The log has these."""
    connection.execute(update(AUDIT).where(AUDIT.c.id.in_(ids)).values(told=True))


def _deed(row: Any) -> Deed:
    return Deed(**{name: getattr(row, name) for name in Deed.__struct_fields__})
