"""What one pass of events makes of one read model: its rows, woken and folded in log order, and what they announce."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Any

from msgspec import MsgspecError, Struct, field, structs

from engage.events.envelope import Event
from engage.views.aggregate import Aggregate, Share, shard_key
from engage.views.parking import Parked, Scope, Stop, Stops, parked
from engage.views.projection import Fold, Projection, ReadModel
from engage.views.walk import Announced, Span, Step, Walk

Load = Callable[[ReadModel[Any], Sequence[str]], dict[str, Any]]
"""Rows by key, those that exist; fresh ones each time it is called, since folds change them in place."""
DueKeys = Callable[[Projection[Any], int, datetime], Sequence[str]]
"""The keys of a partition's rows that asked to be woken at or before a moment."""

KeysOf = Callable[[Projection[Any], int, str], Sequence[str]]
"""The keys of a partition's stored rows of an account, for a model that has several an account."""

UNREADABLE = (MsgspecError, ValueError, TypeError)
"""What loading raises for a row that cannot be read back."""


class Folded(Struct):
    """What a pass made of one read model.

    ``rows`` are to be kept (None: deleted), ``due`` says when those of them want to be woken (no entry: never);
    ``parked`` is what stands still from now on, ``skipped`` counts the events that were left out. ``announced`` is
    nothing of what came about at offsets before ``silent_until``.
    """

    model: ReadModel[Any]
    rows: dict[str, Any] = field(default_factory=dict)
    due: dict[str, datetime] = field(default_factory=dict)
    announced: list[Announced] = field(default_factory=list)
    parked: dict[Stop, Parked] = field(default_factory=dict)
    skipped: dict[Stop, int] = field(default_factory=dict)
    silent_until: int = 0


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
        for share in shares:
            self.aggregate.add(self._delta(share), share, sign)

    def exchange(self, before: Sequence[Any], after: Sequence[Any]) -> None:
        """Take back what a row gave and give what it gives now; mostly little of it changed, and the rest may stay."""
        key = self.aggregate.key_field
        for was, now in zip_longest(before, after):
            if was == now:
                continue
            if was is not None and now is not None and getattr(was, key) == getattr(now, key):
                self.aggregate.exchange(self._delta(now), was, now)
                continue
            if was is not None:
                self.aggregate.add(self._delta(was), was, -1)
            if now is not None:
                self.aggregate.add(self._delta(now), now, 1)

    def _delta(self, share: Any) -> Any:
        key = getattr(share, self.aggregate.key_field)
        delta = self.deltas.get(key)
        if delta is None:
            delta = self.deltas[key] = self.aggregate.blank(share, key)
        return delta

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
        self.aggregates = aggregates
        self.steps: dict[str, list[Step]] = {}

    def take(self, event: Event[Any], fold: Fold, broken: Exception | None) -> None:
        """Put an event to its row's others; ``broken`` is why its data cannot be read."""
        try:
            key = self.projection.key(event)
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
        if self.projection.append_only:
            self.append(key, fold, event, broken)
            return
        if broken is not None:
            fold = _raising(broken)
        self.steps.setdefault(key, []).append((fold, event))

    def begin_anew(self, event: Event[Any], keys_of: KeysOf | None) -> None:
        """Give up every row of the event's account, those that events of this pass would make too."""
        projection, account = self.projection, event.subject
        fields = projection.row.__struct_fields__
        if fields[0] == "account":
            keys = {account: None}
        else:
            keys = dict.fromkeys(keys_of(projection, event.partition, account) if keys_of is not None else ())
        if projection.append_only:
            made = self.folded.rows
            for key in [key for key, row in made.items() if getattr(row, "account", None) == account]:
                del made[key]
            made.update(dict.fromkeys(keys))
            return
        keys.update((key, None) for key, steps in self.steps.items() if steps[0][1].subject == account)
        for key in keys:
            if self.stops is None or self.stops.skips(key, event) is None:
                self.steps.setdefault(key, []).append((_given_up, event))

    def wake(self, span: Span, due_keys: DueKeys) -> None:
        """Take the rows that are due by the last event, too."""
        if self.projection.due is not None:
            for key in due_keys(self.projection, span.partition, span.now):
                if self._until(key, span) is not None:
                    self.steps.setdefault(key, [])

    def finish(self, load: Load, span: Span) -> Folded:
        """Fold what was taken, and wake what is due until the last event."""
        projection = self.projection
        if not self.steps:
            return self.folded
        loaded = self._load(load, span)
        if projection.due is None and projection.watch is None and not self.aggregates:
            self._fold_plain(loaded, load, span)
            return self.folded
        until, stopped = span.now, self.stops
        for key, steps in self.steps.items():
            until_then = until if stopped is None or key not in stopped.rows else self._until(key, span)
            self._fold_row(key, steps, loaded.get(key), until_then, load, span)
        return self.folded

    def append(self, key: str, fold: Fold, event: Event[Any], broken: Exception | None) -> None:
        """Make the row of an event where each makes one of its own."""
        if broken is not None:
            self.park("row", key, event, broken)
            return
        try:
            row = fold(self.projection.row(key), event)
            shares = self._shares(row) if self.aggregates else ()
        except Exception as error:
            self.park("row", key, event, error)
        else:
            if row is not None:
                self.folded.rows[key] = row
                for one, given in zip(self.aggregates, shares, strict=False):
                    one.give(given, 1)

    def _fold_plain(self, loaded: dict[str, Any], load: Load, span: Span) -> None:
        """What ``_fold_row`` does for rows that never wake and are not watched, without a walk a row (a fifth less)."""
        fresh, kept = self.projection.row, self.folded.rows
        for key, steps in self.steps.items():
            row = was = loaded.get(key)
            try:
                for fold, event in steps:
                    row = fold(fresh(key) if row is None else row, event)
            except Exception:  # once more step by step, to find which one fails, on the row as it was before it
                self._fold_row(key, steps, self._fresh(key, load), self._until(key, span), load, span)
                continue
            if row is not None or was is not None:
                kept[key] = row

    def _fold_row(self, key: str, steps: list[Step], row: Any, until: datetime | None, load: Load, span: Span) -> None:
        walk = Walk(self.projection, key, row, self.folded.silent_until)
        feeds = bool(self.aggregates)
        try:
            before = self._shares(row) if feeds else []
            walk.go(steps, until, span)
            after = self._shares(walk.row) if feeds else []
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
            walk = Walk(self.projection, key, row, self.folded.silent_until)
            walk.go(steps, span.now_before(failed.offset), span)
            after = self._shares(walk.row)
        except Exception:
            return
        self._keep(walk, row is not None, before, after)

    def _keep(self, walk: Walk, had: bool, before: list[list[Any]], after: list[list[Any]]) -> None:
        if walk.announced:
            self.folded.announced += walk.announced  # also of a row that has come and gone
        if walk.row is not None or had:
            self.folded.rows[walk.key] = walk.row
            if before != after:
                for one, was, now in zip(self.aggregates, before, after, strict=True):
                    if was != now:
                        one.exchange(was, now)

    def _until(self, key: str, span: Span) -> datetime | None:
        """Up to when the row is to be woken: a row that stands still is, up to the record at which it stopped."""
        stop = self.stops.rows.get(key) if self.stops else None
        return span.now if stop is None else span.now_before(stop)

    def _load(self, load: Load, span: Span) -> dict[str, Any]:
        """The rows of all touched keys; a row that cannot be read back parks, as a fold that fails does."""
        try:
            return load(self.projection, list(self.steps))
        except UNREADABLE:
            loaded: dict[str, Any] = {}
            for key, steps in self.steps.items():
                try:
                    loaded.update(load(self.projection, [key]))
                except UNREADABLE as error:
                    steps[:1] = [(_raising(error), steps[0][1] if steps else span.events[-1])]
            return loaded

    def _fresh(self, key: str, load: Load) -> Any:
        try:
            return load(self.projection, [key]).get(key)
        except UNREADABLE:  # its first step says so
            return None

    def _shares(self, row: Any) -> list[list[Any]]:
        """What a row gives to each aggregate."""
        return [
            [] if row is None or one.aggregate.share is None else list(one.aggregate.share(row))
            for one in self.aggregates
        ]


def _given_up(row: Any, event: Event[Any]) -> None:
    """The row is no more."""


def _raising(error: Exception) -> Fold:
    def fold(row: Any, event: Event[Any]) -> Any:
        raise error

    return fold
