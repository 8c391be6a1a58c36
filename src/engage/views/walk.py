"""One row on its way through its events in log order, woken between them whenever it asked for it."""

from __future__ import annotations

import uuid
from bisect import bisect_left
from collections.abc import Hashable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

from msgspec import Struct

from engage.events.catalogue.base import EventData
from engage.events.envelope import Event
from engage.events.named_ids import named_id
from engage.views.projection import Fold, Projection

Step = tuple[Fold, Event[Any]]

_NAMESPACE = uuid.UUID("0d2f5f0e-6d0b-4a53-9d3c-3f6b1a7c8e21").bytes
_recorded = attrgetter("recorded")  # ``now`` of an event on the log, looked at without a call of ours


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


class Walk:
    """The row of ``key``, None while there is none; ``due`` is when it wants to be woken next.

    What it announces at records before the offset ``silent_until`` nobody hears: it is not made.
    """

    __slots__ = ("_done", "_seen", "_silent_until", "_waking", "announced", "due", "key", "projection", "row")

    def __init__(self, projection: Projection[Any], key: str, row: Any, silent_until: int = 0) -> None:
        self.projection = projection
        self.key = key
        self.row = row
        self._done = 0
        self._waking: datetime | None = None
        self.announced: list[Announced] = []
        self.due: datetime | None = None
        self._seen: Hashable = None
        self._silent_until = silent_until

    def go(self, steps: Sequence[Step], until: datetime | None, span: Span) -> None:
        """Take all steps, then wake the row for what it asked for until then."""
        projection, key, row = self.projection, self.key, self.row
        due, watch, fresh = projection.due, projection.watch, projection.row
        if row is not None:
            self.due = due(row) if due is not None else None
            self._seen = watch(row) if watch is not None else None
        for fold, event in steps:  # a call a step more would be a tenth of folding
            if self.due is not None and self.due <= event.recorded:  # type: ignore[operator]  # ``now``, without a call
                self._wake(event.now, span)
            row = self.row
            row = self.row = fold(fresh(key) if row is None else row, event)
            if due is not None:
                self.due = None if row is None else due(row)
            if watch is not None and (None if row is None else watch(row)) != self._seen:
                self._announce(event.now, event, event.id, span)
            self._done += 1
        if until is not None and self.due is not None and self.due <= until:
            self._wake(until, span)

    def failed_at(self, steps: Sequence[Step], span: Span) -> Event[Any]:
        """The record at which ``go`` failed: that of the step, or the first one after the moment it was woken for."""
        if self._waking is not None:
            return span.first_at(self._waking)
        if self._done < len(steps):
            return steps[self._done][1]
        return steps[-1][1] if steps else span.events[-1]  # what the row gives to aggregates cannot be said

    def _wake(self, until: datetime, span: Span) -> None:
        """Wake the row for all that it asked for until then; what it announces stands at the first record after."""
        projection = self.projection
        assert projection.due is not None and projection.waking is not None, "it asked to be woken"
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
        if event.offset < self._silent_until:
            return
        for ordinal, data in enumerate(projection.announce(before, self.row, moment)):
            told = "\n".join((projection.name, self.key, cause or "", moment.isoformat(), str(ordinal)))
            identity = named_id(_NAMESPACE, told)
            self.announced.append(Announced(identity, self.key, data, moment, event.partition, event.offset, cause))
