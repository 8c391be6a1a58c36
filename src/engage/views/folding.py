"""One pass of events over many read models: dispatch by type, group by row, fold in log order, park what fails.

Pure: rows come in by a function and go out as values. The projector, verify and ``engage.testing`` fold with this.
Speed lives here: an event costs one dictionary look-up when nobody listens to it, and its data is then never decoded.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from msgspec import MsgspecError, Raw, Struct, field

from engage.events.catalogue import CATALOGUE
from engage.events.codec import open_data
from engage.events.envelope import Event
from engage.views.projection import Fold, Projection

Scope = Literal["row", "account"]
Load = Callable[[Projection[Any], Sequence[str]], dict[str, Any]]
"""Rows by key, those that exist; fresh ones each time it is called, since folds change them in place."""


class Parked(Struct, frozen=True):
    """A row that stands still because an event could not be folded, and how many events it has missed since.

    ``scope`` is ``account`` where not even the row is known: then every event of that subject is left out.
    """

    scope: Scope
    key: str
    partition: int
    offset: int
    error: str
    traceback: str
    skipped: int = 0


class Stops(Struct):
    """From which offset on which rows, and which accounts' events, are left out."""

    rows: dict[str, int] = field(default_factory=dict)
    accounts: dict[str, int] = field(default_factory=dict)

    def add(self, scope: Scope, key: str, offset: int) -> None:
        """Leave out what comes after ``offset``, and that event itself."""
        (self.rows if scope == "row" else self.accounts)[key] = offset

    def skips(self, key: str, event: Event[Any]) -> tuple[Scope, str] | None:
        """What is parked that this event of row ``key`` belongs to, if anything."""
        if key in self.rows and event.offset >= self.rows[key]:
            return "row", key
        if event.subject in self.accounts and event.offset >= self.accounts[event.subject]:
            return "account", event.subject
        return None


class Folded(Struct):
    """What a pass made of one read model: rows to keep (None: to delete), what is parked now, what was left out."""

    projection: Projection[Any]
    rows: dict[str, Any] = field(default_factory=dict)
    parked: dict[tuple[Scope, str], Parked] = field(default_factory=dict)
    skipped: dict[tuple[Scope, str], int] = field(default_factory=dict)


_UNREADABLE = (MsgspecError, ValueError, TypeError)
Steps = list[tuple[Fold, Event[Any]]]


class Folding:
    """Read models compiled into one dispatch table by event type."""

    def __init__(self, projections: Sequence[Projection[Any]]) -> None:
        self.projections = tuple(projections)
        self._plans: dict[str, tuple[bool, list[tuple[int, Projection[Any], Fold]]]] = {}
        self._untyped = [
            (place, projection, projection.fold_any)
            for place, projection in enumerate(self.projections)
            if projection.fold_any is not None
        ]

    def fold(self, events: Iterable[Event[Any]], load: Load, stops: Mapping[str, Stops] | None = None) -> list[Folded]:
        """Fold events of one partition, in log order, ``partition`` and ``offset`` set; a result for each projection.

        ``stops`` says, by projection, what is parked already.
        """
        known = stops or {}
        passes = [_Pass(projection, known.get(projection.name)) for projection in self.projections]
        for event in events:
            plan = self._plans.get(event.type) or self._plan(event.type)
            catalogued, listeners = plan
            if not listeners:
                continue
            broken: Exception | None = None
            if catalogued and type(event.data) is Raw:
                try:
                    open_data(event)
                except Exception as error:  # whatever it is, it concerns this account's rows only
                    broken = error
                else:
                    if type(event.data) is Raw:  # the record is older than its type: no typed fold can read it
                        listeners = self._untyped
            for place, projection, fold in listeners:
                one = passes[place]
                try:
                    key = projection.key(event)
                except Exception as error:
                    one.park("account", event.subject, event, broken or error)
                    continue
                if key is None:
                    if broken is not None:  # the key may well be in the data that cannot be read
                        one.park("account", event.subject, event, broken)
                    continue
                if one.stops and (stop := one.stops.skips(key, event)):
                    one.skip(stop)
                elif projection.append_only:
                    one.append(key, fold, event, broken)
                elif broken is not None:
                    one.steps.setdefault(key, []).append((_raising(broken), event))
                elif (steps := one.steps.get(key)) is None:
                    one.steps[key] = [(fold, event)]
                else:
                    steps.append((fold, event))
        return [one.finish(load) for one in passes]

    def _plan(self, kind: str) -> tuple[bool, list[tuple[int, Projection[Any], Fold]]]:
        listeners = [
            (place, projection, fold)
            for place, projection in enumerate(self.projections)
            if (fold := projection.folds.get(kind) or projection.fold_any) is not None
        ]
        self._plans[kind] = plan = (kind in CATALOGUE, listeners)
        return plan


class _Pass:
    """One read model during one pass."""

    def __init__(self, projection: Projection[Any], stops: Stops | None) -> None:
        self.projection = projection
        self.stops = Stops(dict(stops.rows), dict(stops.accounts)) if stops else None
        self.steps: dict[str, Steps] = {}
        self.folded = Folded(projection)

    def append(self, key: str, fold: Fold, event: Event[Any], broken: Exception | None) -> None:
        if broken is not None:
            self.park("row", key, event, broken)
            return
        try:
            row = fold(self.projection.row(key), event)
        except Exception as error:
            self.park("row", key, event, error)
        else:
            if row is not None:
                self.folded.rows[key] = row

    def park(self, scope: Scope, key: str, event: Event[Any], error: Exception) -> None:
        self.stops = self.stops or Stops()
        if scope == "account" and key in self.stops.accounts:
            self.skip((scope, key))
            return
        self.stops.add(scope, key, event.offset)
        self.folded.parked[scope, key] = parked(scope, key, event.partition, event.offset, error)

    def skip(self, stop: tuple[Scope, str], count: int = 1) -> None:
        self.folded.skipped[stop] = self.folded.skipped.get(stop, 0) + count

    def finish(self, load: Load) -> Folded:
        if not self.steps:
            return self.folded
        projection, kept = self.projection, self.folded.rows
        fresh = projection.row
        loaded = self._load(load)
        for key, steps in self.steps.items():
            row = was = loaded.get(key)
            done = 0
            try:
                for fold, event in steps:
                    row = fold(fresh(key) if row is None else row, event)
                    done += 1
            except Exception as error:
                self.park("row", key, steps[done][1], error)
                if done + 1 < len(steps):
                    self.skip(("row", key), len(steps) - done - 1)
                if not done:
                    continue
                row = self._again(key, steps[:done], load)
            if row is not None or was is not None:
                kept[key] = row
        return self.folded

    def _load(self, load: Load) -> dict[str, Any]:
        """The rows of all touched keys; a row that cannot be read back parks, as a fold that fails does."""
        try:
            return load(self.projection, list(self.steps))
        except _UNREADABLE:
            loaded: dict[str, Any] = {}
            for key, steps in self.steps.items():
                try:
                    loaded.update(load(self.projection, [key]))
                except _UNREADABLE as error:
                    steps[0] = (_raising(error), steps[0][1])
            return loaded

    def _again(self, key: str, steps: Steps, load: Load) -> Any:
        """The row before the step that failed, which may have left it half changed."""
        row = load(self.projection, [key]).get(key)
        for fold, event in steps:
            row = fold(self.projection.row(key) if row is None else row, event)
        return row


def parked(scope: Scope, key: str, partition: int, offset: int, error: Exception) -> Parked:
    """What to keep of a failure."""
    told = "".join(traceback.format_exception(error))
    return Parked(scope, key, partition, offset, f"{type(error).__name__}: {error}", told)


def _raising(error: Exception) -> Fold:
    def fold(row: Any, event: Event[Any]) -> Any:
        raise error

    return fold
