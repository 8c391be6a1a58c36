"""How far each read model has come on each partition, and which of its keys are parked: the tables and their words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, Text, bindparam, insert, select, update

from engage.views.parking import Parked, Stops

TABLES = MetaData()

MODELS = Table(
    "view_models",
    TABLES,
    Column("projection", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("columns", Text, nullable=False, comment="a fingerprint of names, types and defaults"),
    comment="The read models that this database holds, in the version that its rows were folded with.",
)
POSITIONS = Table(
    "positions",
    TABLES,
    Column("projection", Text, primary_key=True),
    Column("partition", BigInteger, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    Column("generation", Text, nullable=False, comment="the log whose fold the rows are"),
    Column("position", BigInteger, nullable=False, comment="the offset that is read next"),
    comment="How far each read model has come; moves in the transaction that writes its rows.",
)
PARKED = Table(
    "parked",
    TABLES,
    Column("projection", Text, primary_key=True),
    Column("scope", Text, primary_key=True, comment="row: one row; account: all events of one subject"),
    Column("key", Text, primary_key=True),
    Column("partition", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False, comment="of the event that could not be folded"),
    Column("error", Text, nullable=False),
    Column("traceback", Text, nullable=False),
    Column("skipped", BigInteger, nullable=False, comment="events after that one, not folded"),
    comment="Rows that stand still because an event could not be folded; all others go on.",
)


class PositionMovedError(RuntimeError):
    """Somebody else has folded this batch already, or has begun anew: drop it, and read on from the stored position."""


class GenerationError(RuntimeError):
    """The views are a fold of another log: give them the log they belong to, or remove them to fold this one."""


class Position(Struct, frozen=True):
    """Where one read model stands on one partition: ``position`` is the offset that it reads next."""

    projection: str
    version: int
    partition: int
    generation: str
    position: int


def begin(connection: Connection, projection: str, version: int, generation: str, partitions: Iterable[int]) -> None:
    """Put the read model at the start of these partitions."""
    rows = [
        {
            "projection": projection,
            "partition": partition,
            "version": version,
            "generation": generation,
            "position": 0,
        }
        for partition in partitions
    ]
    if rows:
        connection.execute(insert(POSITIONS), rows)


def advance(connection: Connection, old: Position, position: int, *, name: str) -> None:
    """Move from ``old`` to ``position`` if nobody else has.

    PositionMovedError if somebody has; GenerationError if the views (in the database ``name``) are of another log.
    """
    moved = update(POSITIONS).where(*_at(old.projection, old.partition), POSITIONS.c.version == old.version)
    moved = moved.where(POSITIONS.c.generation == old.generation, POSITIONS.c.position == old.position)
    if connection.execute(moved.values(position=position)).rowcount == 1:
        return
    found = connection.execute(select(POSITIONS).where(*_at(old.projection, old.partition))).first()
    if found is not None and found.generation != old.generation:
        raise GenerationError(another_log(old.projection, name, found.generation, old.generation))
    stands = "is not there any more" if found is None else f"stands at {found.position} (version {found.version})"
    raise PositionMovedError(
        f"view {old.projection!r}, partition {old.partition}: this batch starts at {old.position} (version "
        f"{old.version}) but the view {stands}: another process folds it too, nothing of this batch was written"
    )


def another_log(projection: str, name: str, stored: str, ours: str) -> str:
    """What to say when views of one log meet another."""
    return (
        f"view {projection!r} in {name} was folded from log {stored!r}, but this is log {ours!r}: point engage at the "
        "log that the views belong to, or remove the views (every one is folded again from this log at the next start)"
    )


def park(connection: Connection, projection: str, parked: Iterable[Parked]) -> None:
    """Note what stands still from now on."""
    rows = [
        {
            "projection": projection,
            "scope": one.scope,
            "key": one.key,
            "partition": one.partition,
            "offset": one.offset,
            "error": one.error,
            "traceback": one.traceback,
            "skipped": one.skipped,
        }
        for one in parked
    ]
    if rows:
        connection.execute(insert(PARKED), rows)


def count_skipped(connection: Connection, projection: str, skipped: Iterable[tuple[tuple[str, str], int]]) -> None:
    """Add what was skipped, by (scope, key)."""
    rows = [{"of_scope": scope, "of_key": key, "more": more} for (scope, key), more in skipped]
    if rows:
        counted = update(PARKED).where(
            PARKED.c.projection == projection,
            PARKED.c.scope == bindparam("of_scope"),
            PARKED.c.key == bindparam("of_key"),
        )
        connection.execute(counted.values(skipped=PARKED.c.skipped + bindparam("more")), rows)


def stops(connection: Connection) -> dict[str, Stops]:
    """What is parked, by projection, as a fold needs it."""
    found: dict[str, Stops] = {}
    columns = PARKED.c.projection, PARKED.c.scope, PARKED.c.key, PARKED.c.offset
    for projection, scope, key, offset in connection.execute(select(*columns)):
        found.setdefault(projection, Stops()).add(scope, key, offset)
    return found


def _at(projection: str, partition: int) -> tuple[Any, ...]:
    return POSITIONS.c.projection == projection, POSITIONS.c.partition == partition
