"""Proves that the stored rows of a read model are the fold of the log, or shows where they are not."""

from __future__ import annotations

import copy
import heapq
import time
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct, structs

from engage.events.envelope import Event
from engage.log.contract import Log
from engage.services.batches import Batches
from engage.services.view_words import passed_over
from engage.store.families import Slot
from engage.store.tables import Values, ViewTable
from engage.store.views import ViewStore
from engage.views.aggregate import Aggregate
from engage.views.folding import Folding
from engage.views.parking import Parked, Stop
from engage.views.projection import Projection, ReadModel

_BATCH = 16_000
Progress = Callable[[int, int, float], None]
"""Gets records folded, records to fold, and records folded a second since this call began."""


class Difference(Struct, frozen=True):
    """Where a view is not the fold of its log: ``column`` is None if a whole row is missing or too many."""

    key: str
    column: str | None
    stored: Any
    folded: Any


class Memory:
    """Rows of read models in memory, encoded as the database would have them, and when they want to be woken."""

    def __init__(self, models: Sequence[ReadModel[Any]], tables: Mapping[str, ViewTable]) -> None:
        self.folding = Folding(models)
        self.rows: dict[str, dict[str, Values]] = {model.name: {} for model in models}
        self.dues: dict[str, dict[str, datetime]] = {model.name: {} for model in models}
        self.parked: dict[str, dict[Stop, Parked]] = {model.name: {} for model in models}
        self.skipped: dict[str, dict[Stop, int]] = {model.name: {} for model in models}
        self._tables = tables
        self._of_accounts: dict[str, dict[str, dict[str, None]]] = {
            model.name: {} for model in models if "account" in model.row.__struct_fields__[1:]
        }
        self._waiting: dict[tuple[str, int], list[tuple[datetime, str]]] = {}

    def fold(self, events: Sequence[Any], stops: Mapping[str, Any]) -> None:
        """Fold the next events of a partition."""
        for folded in self.folding.fold(events, self._load, stops, self._due_keys, self._keys_of):
            name = folded.model.name
            rows, dues, encode = self.rows[name], self.dues[name], self._tables[name].encode
            several = name in self._of_accounts
            kept = {key: row for key, row in folded.rows.items() if row is not None}
            if kept:
                rows.update(zip(kept, zip(*encode(list(kept.values())), strict=True), strict=True))
            for key, row in folded.rows.items():
                dues.pop(key, None)
                if row is None:
                    rows.pop(key, None)
                elif several:
                    self._of_accounts[name].setdefault(row.account, {})[key] = None
            self.parked[name].update(folded.parked)
            for stop, count in folded.skipped.items():
                self.skipped[name][stop] = self.skipped[name].get(stop, 0) + count
            for scope, key in folded.parked:
                if scope == "row":
                    dues.pop(key, None)
            dues.update(folded.due)
            if folded.due:
                waiting = self._waiting.setdefault((name, events[0].partition), [])
                for key, due in folded.due.items():
                    heapq.heappush(waiting, (due, key))

    def _load(self, model: ReadModel[Any], keys: Sequence[str]) -> dict[str, Any]:
        rows, decode = self.rows[model.name], self._tables[model.name].decode
        return {key: decode(rows[key]) for key in keys if key in rows}

    def _keys_of(self, model: Projection[Any], partition: int, account: str) -> list[str]:
        rows = self.rows[model.name]
        return [key for key in self._of_accounts[model.name].pop(account, ()) if key in rows]

    def _due_keys(self, model: Projection[Any], partition: int, until: datetime) -> list[str]:
        waiting, dues = self._waiting.get((model.name, partition), []), self.dues[model.name]
        found: dict[str, None] = {}
        while waiting and waiting[0][0] <= until:
            due, key = heapq.heappop(waiting)
            if dues.get(key) == due:  # else it was put off meanwhile, and waits further back
                found[key] = None
        return list(found)


class Verifier:
    """Folds ``log`` in memory and compares with what ``store`` holds."""

    def __init__(self, log: Log, store: ViewStore) -> None:
        self._records = log
        self._store = store
        self._batches = Batches(log, store)

    async def verify(
        self,
        model: ReadModel[Any],
        slot: Slot = "live",
        *,
        sample: int | None = None,
        progress: Progress | None = None,
    ) -> Difference | None:
        """The first difference, by key, between the stored rows and a fold of the log in memory; None if there is none.

        Folds up to where the view stands; what is parked is left out of both. Holds all rows of the view in memory, or
        about ``sample`` of them, chosen by their keys; an aggregate is always compared whole.
        """
        models = needed(model)
        tables = {one.name: self._store.table(one, slot) for one in models}
        table, share = tables[model.name], 1
        if sample is not None and isinstance(model, Projection):
            share = max(1, self._store.count(model, slot) // max(1, sample))
            models = [model := _sampled(model, share)]
        passed: dict[int, frozenset[int]] = dict.fromkeys(range(self._records.partitions), frozenset())
        memory, reached = Memory(models, tables), dict.fromkeys(passed, 0)
        began, folded = time.monotonic(), 0
        while True:
            standing = self._store.standing()
            targets, stops = standing.at(model, slot), standing.stopped(models, slot)
            async for partition, position, events in self._up_to(targets, reached):
                if more := passed_over(events, models[0].name) - passed[partition]:
                    # The events that a word lets it go over stand before the word: begin again, and leave them out.
                    passed[partition] |= more
                    memory, reached = Memory(models, tables), dict.fromkeys(passed, 0)
                    break
                memory.fold([event for event in events if event.offset not in passed[partition]], stops)
                folded += len(events)
                reached[partition] = position
                if progress is not None:
                    rate = folded / max(1e-9, time.monotonic() - began)
                    progress(sum(reached.values()), sum(targets.values()), rate)
            with self._store.snapshot_with_dues(model, slot) as (stood, rows, dues):
                if stood == reached:
                    stored = {getattr(row, table.key): row for row in rows}
                    if share > 1:
                        stored = {key: row for key, row in stored.items() if _is_of(key, share)}
                        dues = {key: due for key, due in dues.items() if _is_of(key, share)}
                    return _first_difference(stored, memory.rows[model.name], table.decode) or _first_due(
                        dues, memory.dues[model.name]
                    )

    async def _up_to(
        self, targets: Mapping[int, int], reached: Mapping[int, int]
    ) -> AsyncIterator[tuple[int, int, list[Event[Any]]]]:
        """Batches of each partition from where it was reached: the partition, the position behind, the events."""
        for partition, position in list(reached.items()):
            while position < targets[partition]:
                events, position = await self._batches.read(partition, position, targets[partition], _BATCH)
                yield partition, position, events


def needed(model: ReadModel[Any]) -> list[ReadModel[Any]]:
    """What has to be folded to know the rows of a read model."""
    if isinstance(model, Aggregate) and model.of is not None:
        return [model.of, model]
    return [model]


def _sampled(model: Projection[Any], share: int) -> Projection[Any]:
    """The same read model, for one in ``share`` of its keys."""
    sampled, key = copy.copy(model), model.key

    def only(event: Any) -> str | None:
        found = key(event)
        return found if found is not None and _is_of(found, share) else None

    sampled.key = only
    return sampled


def _is_of(key: str, share: int) -> bool:
    return zlib.crc32(key.encode()) % share == 0


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


def _first_due(stored: dict[str, datetime], folded: dict[str, datetime]) -> Difference | None:
    for key in sorted(stored.keys() | folded.keys()):
        if stored.get(key) != folded.get(key):
            return Difference(key, "_due", stored.get(key), folded.get(key))
    return None
