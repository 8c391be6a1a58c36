"""What one pass of events makes of one read model: its rows, woken and folded in log order, and what they announce."""

from __future__ import annotations

import uuid
from bisect import bisect_left
from collections.abc import Callable, Hashable, Sequence
from datetime import datetime
from itertools import zip_longest
from operator import attrgetter
from typing import Any

from msgspec import MsgspecError, Struct, field, structs

from engage.events.catalogue.base import EventData
from engage.events.envelope import Event
from engage.events.named_ids import named_id
from engage.views.aggregate import Aggregate, Share, shard_key
from engage.views.parking import Parked, Scope, Stop, Stops, parked
from engage.views.projection import Fold, Projection, ReadModel

Load = Callable[[ReadModel[Any], Sequence[str]], dict[str, Any]]
"""Rows by key, those that exist; fresh ones each time it is called, since folds change them in place."""
DueKeys = Callable[[Projection[Any], int, datetime], Sequence[str]]
"""The keys of a partition's rows that asked to be woken at or before a moment."""

_UNREADABLE = (MsgspecError, ValueError, TypeError)
_NAMESPACE = uuid.UUID("0d2f5f0e-6d0b-4a53-9d3c-3f6b1a7c8e21").bytes
_recorded = attrgetter("recorded")  # ``now`` of an event on the log, looked at without a call of ours
_NOBODY = Stops()


Step = tuple[Fold, Event[Any]]


class Announced(Struct, frozen=True):
    """What a read model tells the log: the same ``id`` however often the same step is folded.

    ``offset`` is that of the record at which it came about; ``cause`` is that record's id where it is what led to it,
    and None where only time had passed.
    """

    id: str
    subject: str
    data: EventData
    time: datetime
    partition: int
    offset: int
    cause: str | None


class Folded(Struct):
    """What a pass made of one read model.

    ``rows`` are to be kept (None: deleted), ``due`` says when those of them want to be woken (no entry: never);
    ``parked`` is what stands still from now on, ``skipped`` counts the events that were left out.
    """

    model: ReadModel[Any]
    rows: dict[str, Any] = field(default_factory=dict)
    due: dict[str, datetime] = field(default_factory=dict)
    announced: list[Announced] = field(default_factory=list)
    parked: dict[Stop, Parked] = field(default_factory=dict)
    skipped: dict[Stop, int] = field(default_factory=dict)


class Span(Struct, frozen=True):
    """The events of one partition that are folded together, one at least."""

    events: Sequence[Event[Any]]

    @property
    def partition(self) -> int:
        return self.events[0].partition

    @property
    def now(self) -> datetime:
        """The log's time after the last of them."""
        return self.events[-1].now

    def now_before(self, offset: int) -> datetime | None:
        """The log's time after the last event before ``offset``, None if there is none here."""
        place = bisect_left(self.events, offset, key=lambda event: event.offset)
        return self.events[place - 1].now if place else None

    def first_at(self, moment: datetime) -> Event[Any]:
        """The first event that was recorded at ``moment`` or later."""
        return self.events[bisect_left(self.events, moment, key=_recorded)]


class ModelPass:
    """The part that passes over projections and over aggregates share: what is parked, and what is left out."""

    def __init__(self, model: ReadModel[Any], stops: Stops | None) -> None:
        self.stops = Stops(dict(stops.rows), dict(stops.accounts)) if stops else None
        self.folded = Folded(model)

    def park(self, scope: Scope, key: str, event: Event[Any], error: Exception) -> None:
        """Let a row, or all events of an account, stand still from ``event`` on."""
        self.stops = self.stops or Stops()
        if scope == "account" and key in self.stops.accounts:
            self.skip((scope, key))
            return
        self.stops.add(scope, key, event.offset)
        self.folded.parked[scope, key] = parked(scope, key, event.partition, event.offset, error)

    def skip(self, stop: Stop, count: int = 1) -> None:
        """Count events that were left out."""
        self.folded.skipped[stop] = self.folded.skipped.get(stop, 0) + count


class AggregatePass(ModelPass):
    """Shares that were given and taken back, until they are added to the partition's shards."""

    def __init__(self, aggregate: Aggregate[Any, Any], stops: Stops | None) -> None:
        super().__init__(aggregate, stops)
        self.aggregate = aggregate
        self.deltas: dict[str, Any] = {}

    def take(self, event: Event[Any], share: Share, broken: Exception | None) -> None:
        """Count what an event gives; one that cannot be counted parks its account here."""
        if self.stops and (stop := self.stops.skips("", event)):
            self.skip(stop)
            return
        try:
            if broken is not None:
                raise broken
            shares = list(share(event))
        except Exception as error:
            self.park("account", event.subject, event, error)
        else:
            self.give(shares, 1)

    def give(self, shares: Sequence[Any], sign: int) -> None:
        """Add shares, or take them back."""
        aggregate, deltas = self.aggregate, self.deltas
        for share in shares:
            key = getattr(share, aggregate.key_field)
            delta = deltas.get(key)
            if delta is None:
                delta = deltas[key] = aggregate.blank(share, key)
            aggregate.add(delta, share, sign)

    def finish(self, load: Load, span: Span) -> Folded:
        """The shards that changed."""
        aggregate = self.aggregate
        changed = {
            shard_key(span.partition, key): delta for key, delta in self.deltas.items() if not aggregate.is_empty(delta)
        }
        stored = load(aggregate, list(changed)) if changed else {}
        for key, delta in changed.items():
            if key in stored:
                shard = aggregate.add(stored[key], delta, 1)
            else:
                shard = structs.replace(delta, **{aggregate.key_field: key})
            self.folded.rows[key] = None if aggregate.is_empty(shard) else shard
        return self.folded


class ProjectionPass(ModelPass):
    """The events of each row, until they are folded into it."""

    def __init__(self, projection: Projection[Any], stops: Stops | None, aggregates: Sequence[AggregatePass]) -> None:
        super().__init__(projection, stops)
        self.projection = projection
        self._key = projection.key
        self._append_only = projection.append_only
        self.aggregates = aggregates
        self.steps: dict[str, list[Step]] = {}

    def take(self, event: Event[Any], fold: Fold, broken: Exception | None) -> None:
        """Put an event to its row's others; ``broken`` is why its data cannot be read."""
        try:
            key = self._key(event)
        except Exception as error:
            self.park("account", event.subject, event, broken or error)
            return
        if key is None:
            if broken is not None:  # the key may well be in the data that cannot be read
                self.park("account", event.subject, event, broken)
            return
        if self.stops and (stop := self.stops.skips(key, event)):
            self.skip(stop)
            return
        if self._append_only:
            self._append(key, fold, event, broken)
            return
        if broken is not None:
            fold = _raising(broken)
        if (steps := self.steps.get(key)) is None:
            self.steps[key] = [(fold, event)]
        else:
            steps.append((fold, event))

    def finish(self, load: Load, span: Span, due_keys: DueKeys | None) -> Folded:
        """Fold what was taken, and wake what is due until the last event."""
        projection = self.projection
        if projection.due is not None and due_keys is not None:
            for key in due_keys(projection, span.partition, span.now):
                if self._until(key, span) is not None:
                    self.steps.setdefault(key, [])
        if not self.steps:
            return self.folded
        loaded = self._load(load, span)
        if projection.due is None and projection.watch is None and not self.aggregates:
            self._fold_plain(loaded, load, span)
            return self.folded
        for key, steps in self.steps.items():
            self._fold_row(key, steps, loaded.get(key), load, span)
        return self.folded

    def _append(self, key: str, fold: Fold, event: Event[Any], broken: Exception | None) -> None:
        if broken is not None:
            self.park("row", key, event, broken)
            return
        try:
            row = fold(self.projection.row(key), event)
            shares = [] if row is None else self._shares(row)
        except Exception as error:
            self.park("row", key, event, error)
        else:
            if row is not None:
                self.folded.rows[key] = row
                self._give(shares, 1)

    def _fold_plain(self, loaded: dict[str, Any], load: Load, span: Span) -> None:
        """What ``_fold_row`` does for rows that never wake and are not watched, without a walk a row (a fifth less)."""
        fresh, kept = self.projection.row, self.folded.rows
        for key, steps in self.steps.items():
            row = was = loaded.get(key)
            try:
                for fold, event in steps:
                    row = fold(fresh(key) if row is None else row, event)
            except Exception:  # once more step by step, to find which one fails, on the row as it was before it
                self._fold_row(key, steps, self._fresh(key, load), load, span)
                continue
            if row is not None or was is not None:
                kept[key] = row

    def _fold_row(self, key: str, steps: list[Step], row: Any, load: Load, span: Span) -> None:
        walk = _Walk(self.projection, key, row)
        try:
            before = self._shares(row)
            walk.go(steps, self._until(key, span), span)
            after = self._shares(walk.row)
        except Exception as error:
            failed = walk.failed_at(steps, span)
            self.park("row", key, failed, error)
            if missed := sum(event.offset > failed.offset for _, event in steps):
                self.skip(("row", key), missed)
            self._stand_still(key, [step for step in steps if step[1].offset < failed.offset], failed, load, span)
            return
        self._keep(walk, row is not None, before, after)
        if walk.row is not None and walk.due is not None:
            self.folded.due[key] = walk.due

    def _stand_still(self, key: str, steps: list[Step], failed: Event[Any], load: Load, span: Span) -> None:
        """The row as it was before the record at which it failed, wherever the log was cut; now it may be half changed.

        If even that cannot be had, it stays as it is stored.
        """
        try:
            row = load(self.projection, [key]).get(key)
            before = self._shares(row)
            walk = _Walk(self.projection, key, row)
            walk.go(steps, span.now_before(failed.offset), span)
            after = self._shares(walk.row)
        except Exception:
            return
        self._keep(walk, row is not None, before, after)

    def _keep(self, walk: _Walk, had: bool, before: list[list[Any]], after: list[list[Any]]) -> None:
        self.folded.announced += walk.announced  # also of a row that has come and gone
        if walk.row is not None or had:
            self.folded.rows[walk.key] = walk.row
            self._exchange(before, after)

    def _until(self, key: str, span: Span) -> datetime | None:
        """Up to when the row is to be woken: a row that stands still is, up to the record at which it stopped."""
        stop = (self.stops or _NOBODY).rows.get(key)
        return span.now if stop is None else span.now_before(stop)

    def _load(self, load: Load, span: Span) -> dict[str, Any]:
        """The rows of all touched keys; a row that cannot be read back parks, as a fold that fails does."""
        try:
            return load(self.projection, list(self.steps))
        except _UNREADABLE:
            loaded: dict[str, Any] = {}
            for key, steps in self.steps.items():
                try:
                    loaded.update(load(self.projection, [key]))
                except _UNREADABLE as error:
                    steps[:1] = [(_raising(error), steps[0][1] if steps else span.events[-1])]
            return loaded

    def _fresh(self, key: str, load: Load) -> Any:
        try:
            return load(self.projection, [key]).get(key)
        except _UNREADABLE:  # its first step says so
            return None

    def _shares(self, row: Any) -> list[list[Any]]:
        if row is None or not self.aggregates:
            return []
        return [list(one.aggregate.share(row)) if one.aggregate.share else [] for one in self.aggregates]

    def _give(self, shares: list[list[Any]], sign: int) -> None:
        for one, given in zip(self.aggregates, shares, strict=False):
            one.give(given, sign)

    def _exchange(self, before: list[list[Any]], after: list[list[Any]]) -> None:
        """Take back what a row gave and give what it gives now; mostly little of it changed, and the rest may stay."""
        nothing: list[list[Any]] = [[] for _ in self.aggregates]
        for one, old, new in zip(self.aggregates, before or nothing, after or nothing, strict=True):
            changed = [(was, now) for was, now in zip_longest(old, new) if was is not now and was != now]
            one.give([was for was, _ in changed if was is not None], -1)
            one.give([now for _, now in changed if now is not None], 1)


class _Walk:
    """One row on its way through its steps, woken whenever it asked for it between them."""

    def __init__(self, projection: Projection[Any], key: str, row: Any) -> None:
        self.projection = projection
        self.key = key
        self.row = row
        self._done = 0
        self._waking: datetime | None = None
        self.announced: list[Announced] = []
        self.due: datetime | None = None
        self._seen: Hashable = None

    def go(self, steps: Sequence[Step], until: datetime | None, span: Span) -> None:
        """Take all steps, then wake the row for what it asked for until then."""
        projection = self.projection
        if self.row is not None:
            self.due = projection.due(self.row) if projection.due is not None else None
            self._seen = projection.watch(self.row) if projection.watch is not None else None
        for fold, event in steps:
            self._step(fold, event, span)
        if until is not None:
            self._wake(until, span)

    def failed_at(self, steps: Sequence[Step], span: Span) -> Event[Any]:
        """The record at which ``go`` failed: that of the step, or the first one after the moment it was woken for."""
        if self._waking is not None:
            return span.first_at(self._waking)
        if self._done < len(steps):
            return steps[self._done][1]
        return steps[-1][1] if steps else span.events[-1]  # what the row gives to aggregates cannot be said

    def _step(self, fold: Fold, event: Event[Any], span: Span) -> None:
        projection = self.projection
        if self.due is not None and self.due <= event.now:
            self._wake(event.now, span)
        self.row = fold(projection.row(self.key) if self.row is None else self.row, event)
        if projection.due is not None:
            self.due = None if self.row is None else projection.due(self.row)
        if projection.watch is not None:
            self._announce(event.now, event, event.id, span)
        self._done += 1

    def _wake(self, until: datetime, span: Span) -> None:
        """Wake the row for all that it asked for until then; what it announces stands at the first record after."""
        projection = self.projection
        if projection.due is None or projection.waking is None:
            return
        while self.row is not None and self.due is not None and self.due <= until:
            self._waking = moment = self.due
            self.row = projection.waking(self.row, moment)
            self.due = None if self.row is None else projection.due(self.row)
            if self.due is not None and self.due <= moment:
                raise ValueError(f"a row woken at {moment} asks to be woken at {self.due}: ask for later")
            if projection.watch is not None:
                self._announce(moment, None, None, span)
        self._waking = None

    def _announce(self, moment: datetime, event: Event[Any] | None, cause: str | None, span: Span) -> None:
        projection = self.projection
        assert projection.watch is not None and projection.announce is not None
        seen = None if self.row is None else projection.watch(self.row)
        if seen == self._seen:
            return
        before, self._seen = self._seen, seen
        if self.row is None:
            return
        event = event or span.first_at(moment)
        for ordinal, data in enumerate(projection.announce(before, self.row, moment)):
            told = "\n".join((projection.name, self.key, cause or "", moment.isoformat(), str(ordinal)))
            identity = named_id(_NAMESPACE, told)
            self.announced.append(Announced(identity, self.key, data, moment, event.partition, event.offset, cause))


def _raising(error: Exception) -> Fold:
    def fold(row: Any, event: Event[Any]) -> Any:
        raise error

    return fold
