"""Keeps the read models up to the log: reads on from their positions, folds, commits rows and positions together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from msgspec import DecodeError, Struct, structs

from engage.events import codec
from engage.events.envelope import Event
from engage.log.contract import Log, Record
from engage.store.positions import Position
from engage.store.tables import Values
from engage.store.views import Change, UnstorableRowsError, ViewStore
from engage.views.folding import Folding
from engage.views.parking import parked
from engage.views.passes import Folded
from engage.views.projection import ReadModel

BATCH = 4_000
"""Records of one partition in one transaction. Fewer load and write the same rows more often; more are a little faster
and block the loop for longer (``benchmarks/views.py``)."""

_log = structlog.get_logger()


class CorruptRecordError(ValueError):
    """A log record is no event: restore the log from its backup; no view goes past it."""


class Lag(Struct, frozen=True):
    """How far a read model is behind the end of one partition, in records (on Kafka at most: markers count)."""

    projection: str
    partition: int
    position: int
    behind: int


class Difference(Struct, frozen=True):
    """Where a view is not the fold of its log: ``column`` is None if a whole row is missing or too many."""

    key: str
    column: str | None
    stored: Any
    folded: Any


class Projector:
    """Folds ``log`` into the ``projections`` in ``store``, whose tables it makes.

    A projection whose version or columns are not those stored is folded again from the start. GenerationError if the
    store belongs to another log.
    """

    def __init__(self, log: Log, store: ViewStore, projections: Sequence[ReadModel[Any]]) -> None:
        self._records = log
        self._store = store
        self.projections = tuple(projections)
        self._foldings: dict[tuple[str, ...], Folding] = {}
        self.rebuilt = store.prepare(self.projections, log.generation, log.partitions)

    async def step(self, limit: int = BATCH) -> int:
        """Fold up to ``limit`` records of each partition; the number of records, 0 when there was nothing new.

        Read models at the same position share one pass; one that is behind is read up to where the next one stands.
        PositionMovedError if another process folds the same views: nothing of that batch was written.
        """
        positions = self._store.standing().positions
        done = 0
        for partition in range(self._records.partitions):
            groups: dict[int, list[ReadModel[Any]]] = {}
            for projection in self.projections:
                groups.setdefault(positions[projection.name, partition].position, []).append(projection)
            starts = sorted(groups)
            for start, following in zip(starts, [*starts[1:], None], strict=True):
                done += await self._advance(partition, groups[start], start, following, limit)
        return done

    async def catch_up(self, progress: Callable[[int], None] | None = None, *, limit: int = BATCH) -> int:
        """Fold until nothing is new; ``progress`` gets the number of records so far after each step. Returns it."""
        total = 0
        while done := await self.step(limit):
            total += done
            if progress is not None:
                progress(total)
        return total

    def positions(self) -> list[Position]:
        """How far each of the projections has come on each partition."""
        ours = {projection.name for projection in self.projections}
        return [position for position in self._store.positions() if position.projection in ours]

    async def lag(self) -> list[Lag]:
        """How far each of the projections is behind on each partition."""
        ends = [await self._records.end(partition) for partition in range(self._records.partitions)]
        return [
            Lag(one.projection, one.partition, one.position, max(0, ends[one.partition] - one.position))
            for one in self.positions()
        ]

    async def rebuild(self, projection: ReadModel[Any]) -> int:
        """Drop the rows of a projection and fold the whole log again; the number of records. Readers see it grow."""
        _log.warning("view is folded again from the start of the log", view=projection.name, because="asked to")
        self._store.reset(projection, self._records.generation, self._records.partitions)
        return await self.catch_up()

    async def verify(self, projection: ReadModel[Any]) -> Difference | None:
        """The first difference, by key, between the stored rows and a fold of the log in memory; None if there is none.

        Folds up to where the view stands; what is parked is left out of both. Holds all rows of the view in memory.
        """
        table, memory = self._store.table(projection), dict[str, Values]()
        folding = Folding([projection])
        reached = dict.fromkeys(range(self._records.partitions), 0)

        def load(_: ReadModel[Any], keys: Sequence[str]) -> dict[str, Any]:
            return {key: table.decode(memory[key]) for key in keys if key in memory}

        while True:
            standing = self._store.standing()
            for partition, start in reached.items():
                position, target = start, standing.positions[projection.name, partition].position
                while position < target:
                    events, position = await self._read(partition, position, target, BATCH)
                    [folded] = folding.fold(events, load, standing.stops)
                    for key, row in folded.rows.items():
                        if row is None:
                            memory.pop(key, None)
                        else:
                            memory[key] = table.encode(row)
                reached[partition] = position
            with self._store.snapshot(projection) as (stood, rows):
                if stood == reached:
                    return _first_difference({getattr(row, table.key): row for row in rows}, memory, table.decode)

    async def _advance(
        self, partition: int, projections: list[ReadModel[Any]], start: int, until: int | None, limit: int
    ) -> int:
        events, position = await self._read(partition, start, until, limit)
        while not events and position > start:
            # Offsets without records (Kafka's transaction markers): step over them, 0 is to mean "caught up".
            await asyncio.to_thread(self._commit, partition, projections, start, position, events)
            start = position
            events, position = await self._read(partition, start, until, limit)
        if events:
            # In a thread: a database that lets us wait must not let those wait who publish on this loop.
            await asyncio.to_thread(self._commit, partition, projections, start, position, events)
        return len(events)

    async def _read(self, partition: int, position: int, until: int | None, limit: int) -> tuple[list[Event[Any]], int]:
        batch = await self._records.read(partition, position, limit)
        if until is None or batch.next_position <= until:
            return [_event(record) for record in batch.records], batch.next_position
        return [_event(record) for record in batch.records if record.offset < until], until

    def _commit(
        self,
        partition: int,
        projections: list[ReadModel[Any]],
        start: int,
        position: int,
        events: list[Event[Any]],
    ) -> None:
        names = tuple(projection.name for projection in projections)
        folding = self._foldings.setdefault(names, Folding(projections))
        folded = folding.fold(events, self._store.load, self._store.stops())
        changes = [Change(self._position(one.model, partition, start), position, one) for one in folded]
        try:
            self._store.commit(changes)
        except UnstorableRowsError as error:
            if len(events) > 1:
                # Halve until the one event is found whose row the database refuses; all before it goes in.
                middle = len(events) // 2
                between = events[middle].offset
                self._commit(partition, projections, start, between, events[:middle])
                self._commit(partition, projections, between, position, events[middle:])
                return
            for one in folded:
                _park_unstorable(one, error, events[0])
            self._store.commit(changes)
        for one in folded:
            for stopped in one.parked.values():
                _log.error(
                    "an event could not be folded: its row stands still, all others go on",
                    view=one.model.name,
                    scope=stopped.scope,
                    key=stopped.key,
                    partition=stopped.partition,
                    offset=stopped.offset,
                    error=stopped.error,
                )

    def _position(self, projection: ReadModel[Any], partition: int, position: int) -> Position:
        return Position(projection.name, projection.version, partition, self._records.generation, position)


_read = codec.reader()


def _event(record: Record) -> Event[Any]:
    try:
        event = _read(record.value)
    except DecodeError as error:
        raise CorruptRecordError(
            f"record {record.partition}:{record.offset} of the log is no event ({error}): restore the log from its "
            "backup"
        ) from error
    event.recorded = record.recorded
    event.partition = record.partition
    event.offset = record.offset
    return event


def _park_unstorable(folded: Folded, error: UnstorableRowsError, event: Event[Any]) -> None:
    for (projection, key), failure in error.failures.items():
        if projection == folded.model.name:
            del folded.rows[key]
            folded.parked["row", key] = parked("row", key, event.partition, event.offset, failure)


def _first_difference(
    stored: dict[str, Any], memory: dict[str, Values], decode: Callable[[Values], Any]
) -> Difference | None:
    for key in sorted(stored.keys() | memory.keys()):
        ours = stored.get(key)
        folded = decode(memory[key]) if key in memory else None
        if ours is None or folded is None:
            return Difference(key, None, ours, folded)
        if ours != folded:
            for name, value in structs.asdict(ours).items():
                if value != getattr(folded, name):
                    return Difference(key, name, value, getattr(folded, name))
    return None
