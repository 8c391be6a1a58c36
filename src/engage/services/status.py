"""How far everything has come: the log, the read models, the desk, the relay, and what waits or failed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from engage.log.contract import Log
from engage.log.sqlite import SqliteLog
from engage.relationships.aggregate import RELAY
from engage.relationships.application import Relationships
from engage.rules.cells import Cells
from engage.rules.rule import Rule
from engage.services.owner import Holder
from engage.store.pauses import Paused
from engage.store.views import Standing, ViewStore
from engage.store.webhook_standing import WebhookStanding
from engage.views.parking import Stops
from engage.views.projection import ReadModel

_TAIL = 16


class PartitionStatus(Struct, frozen=True):
    """A partition of the log: the position after its last record, and when that was recorded."""

    partition: int
    end: int
    newest: datetime | None


class ViewStatus(Struct, frozen=True):
    """A read model: its position by partition, how many records it is ``behind``, how many keys stand still.

    ``paused`` says since when it stands still as a whole and who wanted that; null while it goes on.
    """

    name: str
    version: int
    positions: list[int]
    behind: int
    parked: int
    paused: Paused | None = None


class Status(Struct, frozen=True):
    """Everything at a glance.

    ``desk_behind`` counts log records, ``relay_waiting`` aggregate events not yet on the log; ``dead_letters`` are
    events on which a rule failed; ``next_wake`` is when the next timer is due; both are null where the log is Kafka's.
    ``files`` has bytes by file name, its write-ahead log included; ``disk_free`` of ``disk_bytes`` are free where they
    lie. ``missing`` are the stores (``views``, ``relationships``) that are not there: all of the log is counted as
    before them, and where others keep them elsewhere, nobody can tell here how far they are.
    """

    generation: str
    log: list[PartitionStatus]
    views: list[ViewStatus]
    desk_behind: int
    relay_waiting: int
    next_wake: datetime | None
    dead_letters: int | None
    files: dict[str, int]
    owner: Holder | None
    webhooks: Sequence[WebhookStanding] = ()
    disk_free: int = 0
    disk_bytes: int = 0
    missing: Sequence[str] = ()


async def read_status(
    log: Log,
    store: ViewStore | None,
    relationships: Relationships | None,
    projections: Sequence[ReadModel[Any]],
    *,
    home: Path,
    owner: Holder | None,
    next_wake: datetime | None,
    webhooks: Sequence[WebhookStanding] = (),
) -> Status:
    """The status as of now; it changes nothing, and works beside the process that owns the folder.

    A store that is None was not made yet: what it will hold has everything before it. The log is asked on its loop,
    the stores in a thread.
    """
    partitions = [await _partition(log, partition) for partition in range(log.partitions)]
    dead_letters = log.dead_letters() if isinstance(log, SqliteLog) else None

    def read() -> Status:
        ends = [one.end for one in partitions]
        desk = [_position(relationships, f"desk:{log.generation}:{partition}") for partition in range(len(ends))]
        disk_free, disk_bytes = _disk(home)
        told = (relationships.store.max_notification_id() or 0) if relationships else 0
        return Status(
            generation=log.generation,
            log=partitions,
            views=_views(store, projections, ends),
            desk_behind=sum(max(0, end - position) for end, position in zip(ends, desk, strict=True)),
            relay_waiting=told - _position(relationships, RELAY),
            next_wake=next_wake,
            dead_letters=dead_letters,
            files=_sizes(home),
            owner=owner,
            webhooks=webhooks,
            disk_free=disk_free,
            disk_bytes=disk_bytes,
            missing=[name for name, kept in (("views", store), ("relationships", relationships)) if kept is None],
        )

    return await asyncio.to_thread(read)


def not_here(name: str) -> str:
    """Why nothing can be said of what the store ``name`` would hold, where the log is Kafka's."""
    return f"not known here: there is no {name}.db, and ENGAGE_VIEWS names no database"


def next_wake(log: SqliteLog, rules: Sequence[Rule[Any, Any]]) -> datetime | None:
    """When the next timer is due, from what the owner has committed; None if none waits."""
    waiting = []
    for partition in range(log.partitions):
        cells = Cells({rule.name: rule.state for rule in rules})
        cells.load(log.engine_state(partition).cells)
        waiting.append(cells.next_due())
    return min((due for due in waiting if due is not None), default=None)


async def _partition(log: Log, partition: int) -> PartitionStatus:
    end = await log.end(partition)
    records = (await log.read(partition, max(0, end - _TAIL), _TAIL)).records if end else ()
    return PartitionStatus(partition, end, records[-1].recorded if records else None)


def _position(relationships: Relationships | None, name: str) -> int:
    return (relationships.position(name) or 0) if relationships else 0


def _views(store: ViewStore | None, projections: Sequence[ReadModel[Any]], ends: Sequence[int]) -> list[ViewStatus]:
    standing = store.standing() if store else Standing({})
    found = []
    for projection in projections:
        stands = standing.at(projection)
        positions = [stands.get(partition, 0) for partition in range(len(ends))]
        behind = sum(max(0, end - position) for end, position in zip(ends, positions, strict=True))
        stops = standing.stops.get(projection.name, Stops())
        parked = len(stops.rows) + len(stops.accounts)
        still = standing.paused.get(projection.name)
        found.append(ViewStatus(projection.name, projection.version, positions, behind, parked, still))
    return found


def _disk(home: Path) -> tuple[int, int]:
    """How many bytes are free where the folder lies, and how many there are; none where there is no folder."""
    try:
        usage = shutil.disk_usage(home)
    except FileNotFoundError:
        return 0, 0
    return usage.free, usage.total


def _sizes(home: Path) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for path in sorted((*home.glob("*.db"), *home.glob("*.db-wal"))):
        with suppress(FileNotFoundError):  # the process that owns the folder may remove it in this moment
            size = path.stat().st_size
            name = path.name.removesuffix("-wal")
            sizes[name] = sizes.get(name, 0) + size
    return sizes
