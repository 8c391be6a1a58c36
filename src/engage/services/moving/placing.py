"""Where the records of one log stand in another: accounts may belong to other partitions, offsets are others.

What a record says of places is said anew: what led to a decision, and at which record it was made. Of a partition that
is split, a record at which something was decided may go elsewhere; a tick of its moment stands in its place, so that
whoever folds the new log finds every decision at the moment at which it was made. ``recorded`` never goes back: where
partitions are joined, their records are put in its order.
"""

from __future__ import annotations

import heapq
import mmap
import tempfile
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Raw

from engage.events import codec
from engage.events.catalogue import type_of
from engage.events.catalogue.command import CommandGiven
from engage.events.envelope import EPOCH, PARTITION_SUBJECT, Event
from engage.events.ours import OF_PARTITIONS
from engage.log.contract import Record
from engage.log.partitioning import partition_of
from engage.services.erasure import ERASED
from engage.services.intake import TICK, tick
from engage.services.moving.reading import NAMING, Moving, named_offset, redirected

_TARGET_BITS = 12
"""A log has at most 1,024 partitions."""
_COMMAND = type_of(CommandGiven)
_ENTRY = 8

Put = Callable[[Record, tuple[str, str, str]], None]
"""Gets a record at its new place, and its identity; the next one of its partition stands at the offset behind it."""


class Places:
    """The new offsets of a partition's records by their old ones, in a temporary file: they may be many."""

    def __init__(self, end: int) -> None:
        with tempfile.TemporaryFile(prefix="engage-places-") as file:
            file.truncate(max(1, end) * _ENTRY)
            self._map = mmap.mmap(file.fileno(), 0)  # which keeps the file
        self._view = memoryview(self._map).cast("q")

    def __setitem__(self, old: int, new: int) -> None:
        self._view[old] = new + 1

    def get(self, old: int) -> int | None:
        """The new offset of the record at ``old``; None if there was none, or it went nowhere."""
        if not 0 <= old < len(self._view):
            return None
        found = self._view[old]
        return found - 1 if found else None

    def close(self) -> None:
        """Let go of the file."""
        self._view.release()
        self._map.close()


class Placing:
    """Places the records of a log whose partitions end at ``ends`` into ``targets`` others; a context manager.

    ``named`` are, by old partition, the records that others name (``reading.named_places``); ``next_offset`` says at
    which offset the next record of a new partition will stand. ``marks`` are positions of old partitions that somebody
    stands at: ``position`` says afterwards where that is.
    """

    def __init__(
        self,
        ends: Mapping[int, int],
        targets: int,
        named: Callable[[int], Iterable[tuple[str, int]]],
        next_offset: Callable[[int], int],
        marks: Iterable[tuple[int, int]] = (),
    ) -> None:
        self.targets = targets
        self._sources = len(ends)
        self._same = self._sources == targets
        self._next = next_offset
        self._places = {partition: Places(end) for partition, end in ends.items()}
        self._last: list[datetime] = [EPOCH] * targets
        self._latest = [0] * targets
        self._moments = {one: _Moments([] if self._same else named(one), targets) for one in ends}
        marked = {(one, 0) for one in ends} | set(marks)
        self._marks = {one: sorted(at for partition, at in marked if partition == one) for one in ends}
        self._marked: dict[tuple[int, int], list[int]] = {}
        self._reached: dict[int, datetime] = dict.fromkeys(ends, EPOCH)
        self._said: dict[int, Counter[bytes]] = {one: Counter() for one in ends}
        self._put_of: list[Counter[bytes]] = [Counter() for _ in range(targets)]
        self.commands: set[str] = set()
        """The ids of what operators did, as far as the log has it."""
        self.erased: set[str] = set()
        """The accounts that were erased."""

    def fed_by(self, target: int) -> list[int]:
        """The old partitions whose accounts may belong to a new one."""
        if self._same:
            return [target]
        if self.targets % self._sources == 0:
            return [target % self._sources]
        return list(range(self._sources))

    def feeds(self, source: int) -> list[int]:
        """The new partitions to which accounts of an old one may belong."""
        return [target for target in range(self.targets) if source in self.fed_by(target)]

    def merged(self, logs: Mapping[int, Iterator[Moving]]) -> Iterator[tuple[int, Moving]]:
        """All records, with the partition they come from, in the order in which they were recorded."""
        running = [_of(source, log) for source, log in logs.items()]
        return heapq.merge(*running, key=lambda one: (one[1].recorded, one[0]))

    def place(self, source: int, record: Moving, put: Put) -> None:
        """Put a record where it belongs now; what is said of a partition may belong nowhere, or to several."""
        self._mark(source, record.offset)
        self._reached[source] = record.recorded
        before = {target: self._next(target) for _, target in self._moments[source].at(record.offset)}
        if record.type in OF_PARTITIONS:
            self._of_partition(source, record, put)
        else:
            self._of_subject(source, record, put)
        for place, target in self._moments[source].at(record.offset):
            if self._next(target) == before[target] and self._last[target] < record.recorded:
                self._tick(target, record.recorded, put)
            self._moments[source].found(place, self._latest[target])

    def finish(self, put: Put) -> None:
        """Behind the last record: no partition's time stands still where that of its accounts' had gone on."""
        for source, marks in self._marks.items():
            for at in marks:
                self._marked.setdefault((source, at), [self._next(target) for target in range(self.targets)])
        for target in range(self.targets):
            reached = max(self._reached[source] for source in self.fed_by(target))
            if reached > self._last[target] > EPOCH:
                self._tick(target, reached, put)

    def position(self, positions: Mapping[int, int], target: int, choose: Callable[[Iterable[int]], int] = min) -> int:
        """Where who stood at these positions of the old partitions stands in a new one.

        ``choose``: of several, the first, so that nothing is missed, or the last, so that nothing comes twice.
        """
        return choose(self._marked[source, positions.get(source, 0)][target] for source in self.fed_by(target))

    def offset(self, source: int, old: int) -> int | None:
        """The new offset of an account's record."""
        return self._places[source].get(old)

    def moment(self, source: int, old: int, target: int) -> int | None:
        """The new offset of a record that is named as the moment of something."""
        return self._places[source].get(old) if self._same else self._moments[source].offset(old, target)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for places in self._places.values():
            places.close()

    def _of_subject(self, source: int, record: Moving, put: Put) -> None:
        target = source if self._same else partition_of(record.subject, self.targets)
        value = record.value
        if record.type in NAMING or record.inboxoffset is not None:
            event = codec.decode(value)
            event.inboxoffset = None
            if not event.is_copy and (moment := named_offset(event.type, event.data)) is not None:
                event.data = Raw(self._redirected(source, event, moment, target))
            value = codec.encode(event)
        if record.type == _COMMAND:
            self.commands.add(record.id)
        elif record.type == ERASED:
            self.erased.add(record.subject)
        self._places[source][record.offset] = self._next(target)
        self._put(target, record.recorded, value, (record.subject, record.source, record.id), put)

    def _redirected(self, source: int, event: Event[Raw], moment: int, target: int) -> bytes:
        latest = self._latest[target]

        def known(offset: int | None) -> int:
            # What is named stands before what names it; were it not so, the record before is near enough to go on.
            return latest if offset is None else offset

        def cause(partition: int, offset: int) -> tuple[int, int]:
            # Of a copy it stands where the one belongs whom it was said of first.
            places = self._places.get(partition)
            home = partition if self._same else partition_of(event.origin or event.subject, self.targets)
            return home, known(None if places is None else places.get(offset))

        if event.is_copy:
            at: int | None = moment
        else:
            at = self.moment(source, moment, target)
        return redirected(event.type, event.data, target, known(at), cause)

    def _of_partition(self, source: int, record: Moving, put: Put) -> None:
        if record.type == TICK and not self._same:
            for target in self.feeds(source):
                if self._last[target] < record.recorded and self._last[target] > EPOCH:
                    self._tick(target, record.recorded, put)
            return
        event = codec.decode(record.value)
        event.inboxoffset = None
        told = msgspec.json.decode(event.data)
        said = msgspec.json.encode([event.type, {**told, "partition": None}], order="deterministic")
        self._said[source][said] += 1
        for target in self.feeds(source):
            # Of the partitions that are joined each has heard the same, and the new one hears it once.
            if not self._same and self._put_of[target][said] >= self._said[source][said]:
                continue
            self._put_of[target][said] += 1
            if self._same:
                value = record.value if record.inboxoffset is None else codec.encode(event)
                self._places[source][record.offset] = self._next(target)
            else:
                event.subject = f"{PARTITION_SUBJECT}{target}"
                event.data = Raw(msgspec.json.encode({**told, "partition": target}))
                event.recorded = max(record.recorded, self._last[target])
                value = codec.encode(event)
            self._put(target, event.now, value, event.identity, put)

    def _tick(self, target: int, until: datetime, put: Put) -> None:
        event = tick(target, until)
        event.recorded = until
        self._put(target, until, codec.encode(event), event.identity, put)

    def _put(self, target: int, recorded: datetime, value: bytes, identity: tuple[str, str, str], put: Put) -> None:
        self._last[target], self._latest[target] = recorded, self._next(target)
        put(Record(target, self._latest[target], recorded, value), identity)

    def _mark(self, source: int, offset: int) -> None:
        marks = self._marks[source]
        while marks and marks[0] <= offset:
            self._marked[source, marks.pop(0)] = [self._next(target) for target in range(self.targets)]


class _Moments:
    """The records of an old partition that are named as the moment of something, each for one new partition."""

    def __init__(self, named: Iterable[tuple[str, int]], targets: int) -> None:
        keys = {offset << _TARGET_BITS | partition_of(subject, targets) for subject, offset in named}
        self._keys = array("q", sorted(keys))
        self._offsets = array("q", bytes(len(self._keys) * _ENTRY))

    def at(self, offset: int) -> Sequence[tuple[int, int]]:
        """For which new partitions the record is named: the place of each in this table, and the partition."""
        place, found = bisect_left(self._keys, offset << _TARGET_BITS), []
        while place < len(self._keys) and self._keys[place] >> _TARGET_BITS == offset:
            found.append((place, self._keys[place] & ((1 << _TARGET_BITS) - 1)))
            place += 1
        return found

    def found(self, place: int, offset: int) -> None:
        """That moment is at this offset now."""
        self._offsets[place] = offset + 1

    def offset(self, old: int, target: int) -> int | None:
        """Where the moment stands in a new partition."""
        key = old << _TARGET_BITS | target
        place = bisect_left(self._keys, key)
        if place == len(self._keys) or self._keys[place] != key or not self._offsets[place]:
            return None
        return self._offsets[place] - 1


def _of(source: int, log: Iterator[Moving]) -> Iterator[tuple[int, Moving]]:
    return ((source, record) for record in log)
