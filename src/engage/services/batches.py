"""Batches of a partition, folded and committed, into the live tables as into those that are built beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from msgspec import DecodeError

from engage.events import codec
from engage.events.envelope import Event
from engage.log.contract import Log, Record
from engage.services import metrics
from engage.store.families import Slot, slotted
from engage.store.positions import Mark, Moved, Position
from engage.store.reader import Rows, Standing
from engage.store.row_cache import RowCache
from engage.store.views import Change, UnstorableRowsError, ViewStore
from engage.views.aggregate import Aggregate
from engage.views.folding import Folding
from engage.views.parking import Parked, Stops, parked
from engage.views.passes import Folded, Load
from engage.views.projection import ReadModel

_log = structlog.get_logger()


class CorruptRecordError(ValueError):
    """A log record is no event: restore the log from its backup; no view goes past it."""


class Batches:
    """Folds ``log`` into the tables of one slot of ``store``, batch by batch, one at a time."""

    def __init__(self, log: Log, store: ViewStore, slot: Slot = "live", cache: RowCache | None = None) -> None:
        self._records = log
        self._store = store
        self._slot = slot
        self._foldings: dict[tuple[str, ...], Folding] = {}
        self._cache = RowCache() if cache is None else cache

    async def advance(
        self, partition: int, models: Sequence[ReadModel[Any]], start: int, until: int | None, limit: int
    ) -> int:
        """Fold up to ``limit`` records from ``start`` on, and before ``until``; how many, 0 when there are none.

        PositionMovedError if the models do not stand at ``start`` any more: nothing was written.
        """
        events, position = await self.read(partition, start, until, limit)
        while not events and position > start:
            # Offsets without records (Kafka's transaction markers): step over them, 0 is to mean "caught up".
            await asyncio.to_thread(self._commit, partition, models, start, position, events)
            start = position
            events, position = await self.read(partition, start, until, limit)
        if events:
            # In a thread: a database that lets us wait must not let those wait who publish on this loop.
            await asyncio.to_thread(self._commit, partition, models, start, position, events)
        return len(events)

    async def read(self, partition: int, position: int, until: int | None, limit: int) -> tuple[list[Event[Any]], int]:
        """Up to ``limit`` events of a partition, and the position behind them; none at ``until`` or behind it."""
        if until is not None and position >= until:
            return [], position
        batch = await self._records.read(partition, position, limit)
        if until is None or batch.next_position <= until:
            return self._decoded(batch.records), batch.next_position
        return self._decoded([record for record in batch.records if record.offset < until]), until

    def _decoded(self, records: Sequence[Record]) -> list[Event[Any]]:
        return [_event(record) for record in records]

    def _commit(
        self, partition: int, models: Sequence[ReadModel[Any]], start: int, position: int, events: list[Event[Any]]
    ) -> None:
        folding = self._folding(models)
        with self._store.rows(self._slot) as rows:
            stops = Standing({}, rows.stops()).stopped(models, self._slot)
            marks = rows.marks(partition)
            folded = folding.fold(events, self._loading(rows, partition, marks), stops, rows.due_keys)
        try:
            moved = self._store.commit(self._changes(folded, events, partition, start, position, marks))
        except UnstorableRowsError as error:
            if len(events) > 1:
                # Halve until the one event is found whose row the database refuses; all before it goes in.
                middle = len(events) // 2
                between = events[middle].offset
                self._commit(partition, models, start, between, events[:middle])
                self._commit(partition, models, between, position, events[middle:])
                return
            folded = self._without_unstorable(folding, events[0], stops, error)
            moved = self._store.commit(self._changes(folded, events, partition, start, position, marks))
        self._keep(folded, partition, position, marks, moved)
        if events and self._slot == "live":
            metrics.seen(events[0].now)
        for one in folded:
            for stopped in one.parked.values():
                _tell(one.model.name, stopped)

    def _loading(self, rows: Rows, partition: int, marks: Mapping[str, Mark]) -> Load:
        def load(model: ReadModel[Any], keys: Sequence[str]) -> dict[str, Any]:
            name = slotted(model.name, self._slot)
            found = self._cache.take(name, partition, marks.get(name), keys)
            if len(found) < len(keys):
                found |= rows.load(model, [key for key in keys if key not in found])
            return found

        return load

    def _keep(
        self,
        folded: Sequence[Folded],
        partition: int,
        position: int,
        marks: Mapping[str, Mark],
        moved: Mapping[tuple[str, int], Moved],
    ) -> None:
        for one in folded:
            if not one.model.append_only:
                name = slotted(one.model.name, self._slot)
                mark = Mark(position, moved[name, partition].change, marks[name].epoch)
                self._cache.keep(name, partition, mark, one.rows)

    def _folding(self, models: Sequence[ReadModel[Any]]) -> Folding:
        names = tuple(model.name for model in models)
        if names not in self._foldings:
            self._foldings[names] = Folding(models)
        return self._foldings[names]

    def _without_unstorable(
        self, folding: Folding, event: Event[Any], stops: dict[str, Stops], error: UnstorableRowsError
    ) -> list[Folded]:
        """The event folded again, with the rows that the database refuses standing still before it."""
        models = {model.name: model for model in folding.models}
        for name, _ in error.failures:
            if isinstance(models[name], Aggregate):  # a sum that does not fit belongs to no one account
                raise error
        for name, key in error.failures:
            stops[name] = Stops(dict(stops[name].rows), dict(stops[name].accounts)) if name in stops else Stops()
            stops[name].add("row", key, event.offset)
        for model in folding.models:
            self._cache.forget(slotted(model.name, self._slot), event.partition)
        with self._store.rows(self._slot) as rows:
            folded = folding.fold([event], rows.load, stops, rows.due_keys)
        for one in folded:
            for (name, key), failure in error.failures.items():
                if name == one.model.name:
                    one.skipped.pop(("row", key), None)
                    one.parked["row", key] = parked("row", key, event.partition, event.offset, failure)
        return folded

    def _changes(
        self,
        folded: Sequence[Folded],
        events: Sequence[Event[Any]],
        partition: int,
        start: int,
        position: int,
        marks: Mapping[str, Mark],
    ) -> list[Change]:
        generation = self._records.generation
        inbox = events[-1].inboxoffset if events else None
        changes = []
        for one in folded:
            name = slotted(one.model.name, self._slot)
            old = Position(name, one.model.version, partition, generation, start)
            counted = marks[name].changes if name in marks else None  # None: it is gone, as the position will say
            changes.append(Change(old, position, one, self._slot, inbox, counted=counted))
        return changes


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


def _tell(view: str, stopped: Parked) -> None:
    _log.error(
        "an event could not be folded: its row stands still, all others go on",
        view=view,
        scope=stopped.scope,
        key=stopped.key,
        partition=stopped.partition,
        offset=stopped.offset,
        error=stopped.error,
    )
