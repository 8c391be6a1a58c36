"""How far each read model has come on each partition, and which of its keys are parked: the tables and their words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    MetaData,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from engage.store.database import Database, Statement
from engage.views.parking import Parked, Stops

TABLES = MetaData()

MODELS = Table(
    "view_models",
    TABLES,
    Column("projection", Text, primary_key=True, comment="…__next is built beside, …__previous kept to be put back"),
    Column("version", BigInteger, nullable=False),
    Column("columns", Text, nullable=False, comment="a fingerprint of names, types and defaults"),
    Column("build", BigInteger, nullable=False, comment="counts the tables made of it; their indexes are named by it"),
    Column("epoch", Text, nullable=False, comment="where it differs, changes are counted anew"),
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
    Column("inbox", BigInteger, comment="the inbox offset of the last record folded; null where there is no inbox"),
    Column("changes", BigInteger, nullable=False, comment="how many commits have written or deleted rows"),
    Column("announces_from", BigInteger, comment="offset of the first record it may speak of; null: not known yet"),
    Column("readable_from", BigInteger, comment="the position from which it may be read; null: not known yet"),
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
STANDINGS = Table(
    "view_standings",
    TABLES,
    Column("projection", Text, primary_key=True),
    Column("partition", BigInteger, primary_key=True, autoincrement=False),
    comment="The tables that have told the log how their rows stand, after a past that was folded in silence.",
)
OWNED = (POSITIONS, PARKED, MODELS, STANDINGS)
"""What is kept of a read model beside its rows, each by its name."""


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


class StoredModel(Struct, frozen=True):
    """In which shape a read model is here: see the columns' comments."""

    version: int
    columns: str
    build: int
    epoch: str


class Move(Struct, frozen=True):
    """A step from the position ``old`` to ``position``; ``wrote`` if rows were written or deleted on the way.

    ``inbox`` is the inbox offset of the last record on the way, None where there is none. ``counted`` is how many
    changes there were when the rows were read; None where they were not read before. What is announced at offsets
    before ``silent_until`` was left out.
    """

    old: Position
    position: int
    wrote: bool
    inbox: int | None = None
    counted: int | None = None
    silent_until: int = 0


class Mark(Struct, frozen=True):
    """The state of one read model on one partition: whoever writes or deletes its rows leaves another one."""

    position: int
    changes: int
    epoch: str


Marks = dict[tuple[str, int], Mark]
"""The state of read models, by name and partition."""


class Moved(Struct, frozen=True):
    """The number of the change that a move made, and from which offset on the read model announces (None: never)."""

    change: int
    announces_from: int | None


def models(connection: Connection) -> dict[str, StoredModel]:
    """What is here, by name."""
    table = MODELS.c
    found = connection.execute(select(table.projection, table.version, table.columns, table.build, table.epoch))
    return {name: StoredModel(*values) for name, *values in found}


def positions(connection: Connection) -> dict[tuple[str, int], Position]:
    """How far everything has come, by name and partition."""
    columns = [POSITIONS.c[name] for name in Position.__struct_fields__]
    found = (Position(*row) for row in connection.execute(select(*columns)))
    return {(position.projection, position.partition): position for position in found}


def last_changes(connection: Connection, projection: str) -> dict[int, int]:
    """How many changes of a read model there were, by partition."""
    found = select(POSITIONS.c.partition, POSITIONS.c.changes).where(POSITIONS.c.projection == projection)
    return dict(connection.execute(found).all())


_STOPS = 'SELECT projection, scope, key, "offset" FROM parked'
EVERYTHING: tuple[Statement, ...] = (
    ("SELECT projection, version, partition, generation, position, changes, announces_from FROM positions", None),
    (_STOPS, None),
    ("SELECT projection, version, columns, build, epoch FROM view_models", None),
)
"""What finds how everything stands, for ``understood``."""


def understood(
    found: Sequence[Sequence[Any]],
) -> tuple[
    dict[tuple[str, int], Position], dict[str, Stops], dict[str, StoredModel], Marks, dict[tuple[str, int], int]
]:
    """``positions``, ``stops``, ``models``, the state of all that stands somewhere, and from where on it announces."""
    at, still, stored = found
    here = {name: StoredModel(*values) for name, *values in stored}
    stands, marks, announces = dict[tuple[str, int], Position](), Marks(), dict[tuple[str, int], int]()
    for name, version, partition, generation, position, changes, announces_from in at:
        place = name, partition
        stands[place] = Position(name, version, partition, generation, position)
        if name in here:
            marks[place] = Mark(position, changes, here[name].epoch)
        if announces_from is not None:
            announces[place] = announces_from
    return stands, _stops(still), here, marks, announces


def begin(
    connection: Connection,
    projection: str,
    version: int,
    generation: str,
    ends: Mapping[int, int | None],
) -> None:
    """Put the read model at the start of these partitions, whose ``ends`` are those of now, None where not known.

    What is on the log by now is folded in silence, and nobody reads a view that has not come that far yet.
    """
    rows = [
        {
            "projection": projection,
            "partition": partition,
            "version": version,
            "generation": generation,
            "position": 0,
            "changes": 0,
            "announces_from": end,
            "readable_from": end,
        }
        for partition, end in ends.items()
    ]
    if rows:
        connection.execute(insert(POSITIONS), rows)


def readable_from(connection: Connection, projection: str) -> dict[int, int]:
    """From which positions on a read model may be read, by partition, where that is known."""
    table = POSITIONS.c
    found = select(table.partition, table.readable_from).where(table.readable_from.is_not(None))
    return dict(connection.execute(found.where(table.projection == projection)).all())


def set_ends(connection: Connection, ends: Mapping[int, int]) -> None:
    """Say where partitions ended when read models came, of those of which it was not known then."""
    for partition, end in ends.items():
        came = update(POSITIONS).where(POSITIONS.c.partition == partition, POSITIONS.c.announces_from.is_(None))
        connection.execute(came.values(announces_from=end, readable_from=end))


def announce_from(connection: Connection, offsets: Mapping[int, int], *, later: bool = True) -> None:
    """Let no read model announce what came about before these offsets; ``later`` False only ever makes it sooner."""
    for partition, offset in offsets.items():
        from_here = update(POSITIONS).where(POSITIONS.c.partition == partition)
        if not later:
            from_here = from_here.where(POSITIONS.c.announces_from > offset)
        connection.execute(from_here.values(announces_from=offset))


def forget(connection: Connection, projection: str) -> None:
    """Drop what is kept of a read model beside its rows."""
    for owned in OWNED:
        connection.execute(delete(owned).where(owned.c.projection == projection))


def rename(connection: Connection, projection: str, to: str) -> None:
    """Let another name stand for what is kept of a read model."""
    for owned in OWNED:
        connection.execute(update(owned).where(owned.c.projection == projection).values(projection=to))


def hold(connection: Connection, projections: Iterable[str] | None = None) -> None:
    """See that nobody moves a position of these read models, or of any, until this transaction ends."""
    found = select(POSITIONS.c.projection)
    if projections is not None:
        found = found.where(POSITIONS.c.projection.in_(list(projections)))
    connection.execute(found.order_by(*POSITIONS.primary_key).with_for_update())


_HELD = "SELECT projection, version, partition, generation, position, changes, announces_from FROM positions"
_STEP = """UPDATE positions SET position = ?, changes = changes + ?, inbox = coalesce(?, inbox)
WHERE projection = ? AND partition = ?"""
_STEPS = """UPDATE positions SET position = step.position, changes = changes + step.more,
inbox = coalesce(step.inbox, positions.inbox)
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[])
AS step (position, more, inbox, partition, projections)
WHERE positions.projection = ANY(string_to_array(step.projections, ',')) AND positions.partition = step.partition"""
# As text: each batch runs them, and to make a statement takes longer than to run it.


def holding(database: Database, moves: Sequence[Move]) -> Statement:
    """What finds where all that is to be moved stands, for ``allowed``, and sees that nobody else moves it."""
    of, projections = database.among("projection", {move.old.projection for move in moves})
    on, partitions = database.among("partition", {move.old.partition for move in moves})
    # In one order, so that two processes never wait for each other in a ring.
    lock = "" if database.sqlite else " FOR UPDATE"
    return f"{_HELD} WHERE {of} AND {on} ORDER BY projection, partition{lock}", projections + partitions


def allowed(held: Sequence[Any], moves: Sequence[Move], *, name: str) -> dict[tuple[str, int], Moved]:
    """What comes of each move, by name and partition, if nobody else has made one of them.

    PositionMovedError if somebody has; GenerationError if the views (in the database ``name``) are of another log.
    """
    found = {(row[0], row[2]): row for row in held}
    moved: dict[tuple[str, int], Moved] = {}
    for move in moves:
        place = move.old.projection, move.old.partition
        stands = found.get(place)
        if stands is None or Position(*stands[:5]) != move.old:
            raise _refused(move.old, stands and Position(*stands[:5]), name)
        changes, announces_from = stands[5:]
        if move.counted is not None and changes != move.counted:
            raise PositionMovedError(
                f"view {move.old.projection!r}, partition {move.old.partition}: its rows were written to while this "
                f"batch was folded (change {changes}, read at {move.counted}): nothing of it was written"
            )
        if announces_from is not None and announces_from < min(move.silent_until, move.position):
            raise PositionMovedError(
                f"view {move.old.projection!r}, partition {move.old.partition}: it is to announce from "
                f"{announces_from} on by now, and this batch was folded in silence: nothing of it was written"
            )
        moved[place] = Moved(changes + move.wrote, announces_from)
    return moved


def steps(database: Database, moves: Sequence[Move]) -> Statement:
    """What makes the moves that are allowed."""
    if database.sqlite:
        return _STEP, [
            (one.position, int(one.wrote), one.inbox, one.old.projection, one.old.partition) for one in moves
        ]
    # Most read models make the same step: to send it once for all of them is a tenth of the driver's work.
    together: dict[tuple[int, int, int | None, int], list[str]] = {}
    for one in moves:
        step = one.position, int(one.wrote), one.inbox, one.old.partition
        together.setdefault(step, []).append(one.old.projection)
    steps = [(*step, ",".join(names)) for step, names in together.items()]
    return _STEPS, tuple(list(values) for values in zip(*steps, strict=True))


def behind(connection: Connection, projections: Iterable[str], partition: int, offset: int) -> dict[str, int]:
    """Which of these do not include what was taken at ``offset``, and up to where they include everything."""
    table, wanted = POSITIONS.c, dict.fromkeys(projections, 0)
    columns = table.projection, table.position, table.inbox
    ours = table.partition == partition, table.projection.in_(list(wanted))
    for name, position, inbox in connection.execute(select(*columns).where(*ours)):
        wanted[name] = position if inbox is None else inbox + 1
    return {name: reached for name, reached in wanted.items() if reached <= offset}


def reaching(database: Database, projections: Collection[str]) -> Statement:
    """What finds up to which token of each partition these include everything, for ``reached``."""
    of, names = database.among("projection", projections)
    return f"SELECT projection, partition, position, inbox FROM positions WHERE {of}", names


def reached(found: Iterable[Any]) -> dict[tuple[str, int], int]:
    """Up to which token of a partition each read model includes everything, by name and partition."""
    return {(name, at): position if inbox is None else inbox + 1 for name, at, position, inbox in found}


def _refused(old: Position, found: Position | None, name: str) -> Exception:
    if found is not None and found.generation != old.generation:
        return GenerationError(another_log(old.projection, name, found.generation, old.generation))
    stands = "is not there any more" if found is None else f"stands at {found.position} (version {found.version})"
    return PositionMovedError(
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


def release(connection: Connection, projection: str, stops: Iterable[tuple[str, str]]) -> None:
    """Forget that these, each a scope and a key, stand still."""
    for scope, key in stops:
        of = delete(PARKED).where(PARKED.c.projection == projection)
        connection.execute(of.where(PARKED.c.scope == scope, PARKED.c.key == key))


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
    return _stops(connection.exec_driver_sql(_STOPS))


def _stops(rows: Iterable[Any]) -> dict[str, Stops]:
    found: dict[str, Stops] = {}
    for projection, scope, key, offset in rows:
        found.setdefault(projection, Stops()).add(scope, key, offset)
    return found
