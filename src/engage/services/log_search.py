"""Finds records of the log: by account, type, time, correlation or id, forwards as they came or the newest first.

Most records are passed over by their bytes alone: what is looked for stands in a record as the codec wrote it, and only
one that holds it is decoded.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from engage.events import codec
from engage.events.envelope import PARTITION_SUBJECT, Event
from engage.log.contract import Log, Record
from engage.log.partitioning import partition_of
from engage.services.records import events_of, read_event

Dimension = Literal["type", "account", "source", "day", "partition"]
Progress = Callable[[int, int], None]
"""Gets the records looked at so far and how many there are to look at."""

_PAGE = 4_000


class Wanted(Struct, frozen=True, kw_only=True):
    """Which records: those that fit everything that is given.

    ``account`` is their subject, ``types`` one of their types, ``id`` their event's id, ``correlation`` and
    ``causation`` the ids of these names; recorded at ``since`` or later and before ``until``; of ``partition`` alone.
    """

    account: str | None = None
    types: tuple[str, ...] = ()
    id: str | None = None
    correlation: str | None = None
    causation: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    partition: int | None = None

    def fits(self, event: Event[Any]) -> bool:
        """Whether the event is one of those, leaving aside when it was recorded and where."""
        return (
            (self.account is None or event.subject == self.account)
            and (not self.types or event.type in self.types)
            and (self.id is None or event.id == self.id)
            and (self.correlation is None or event.correlationid == self.correlation)
            and (self.causation is None or event.causationid == self.causation)
        )


async def find(log: Log, wanted: Wanted, progress: Progress | None = None) -> AsyncGenerator[Event[Any]]:
    """The records wanted, data raw, in the order in which they were recorded; those of one moment by partition."""
    spans = await spans_of(log, wanted)
    total, looked_at = sum(end - start for start, end in spans.values()), 0

    async def of(partition: int, start: int, end: int) -> AsyncIterator[Event[Any]]:
        nonlocal looked_at
        before = start
        async for position, records in _pages(log, partition, start, end):
            looked_at += position - before
            before = position
            if progress is not None:
                progress(looked_at, total)
            for event in _fitting(records, wanted):
                yield event

    running = [of(partition, start, end) for partition, (start, end) in spans.items()]
    heads: list[tuple[datetime, int, int, Event[Any], AsyncIterator[Event[Any]]]] = []
    for one in running:
        await _push(heads, one)
    while heads:
        _, _, _, event, source = heapq.heappop(heads)
        yield event
        await _push(heads, source)


async def newest(log: Log, wanted: Wanted, most: int) -> list[Event[Any]]:
    """The ``most`` newest of the records wanted, data raw, in the order in which they were recorded."""
    found: list[Event[Any]] = []
    for partition, (start, end) in (await spans_of(log, wanted)).items():
        ours: list[Event[Any]] = []
        while end > start and len(ours) < most:
            first = max(start, end - _PAGE)
            ours[:0] = [
                event async for _, page in _pages(log, partition, first, end) for event in _fitting(page, wanted)
            ]
            end = first
        found += ours[-most:]
    return sorted(found, key=order)[-most:]


async def count(log: Log, wanted: Wanted, by: Dimension, progress: Progress | None = None) -> list[tuple[str, int]]:
    """How many of the records wanted there are of each type, account, source, day (UTC) or partition, most first.

    Days and partitions come in their own order.
    """
    counted: Counter[str] = Counter()
    async for event in find(log, wanted, progress):
        counted[_key(event, by)] += 1
    if by == "day":
        return sorted(counted.items())
    if by == "partition":
        return sorted(counted.items(), key=lambda one: int(one[0]))
    return sorted(counted.items(), key=lambda one: (-one[1], one[0]))


async def at(log: Log, partition: int, offset: int) -> Event[Any] | None:
    """The record at a place, data raw; None where there is none."""
    if not 0 <= partition < log.partitions or not 0 <= offset < await log.end(partition):
        return None
    records = (await log.read(partition, offset, 1)).records
    return next((read_event(record) for record in records if record.offset == offset), None)


async def spans_of(log: Log, wanted: Wanted) -> dict[int, tuple[int, int]]:
    """Where what is wanted stands: from and to which position, by partition. An account is in one partition alone."""
    partitions: Iterable[int] = range(log.partitions)
    if wanted.account is not None and not wanted.account.startswith(PARTITION_SUBJECT):
        partitions = (partition_of(wanted.account, log.partitions),)
    if wanted.partition is not None:
        partitions = [one for one in partitions if one == wanted.partition]
    spans = {}
    for partition in partitions:
        start = 0 if wanted.since is None else await log.position_at(partition, wanted.since)
        end = await (log.end(partition) if wanted.until is None else log.position_at(partition, wanted.until))
        spans[partition] = (start, max(start, end))
    return spans


async def _pages(log: Log, partition: int, position: int, end: int) -> AsyncIterator[tuple[int, Sequence[Record]]]:
    """The records from ``position`` to before ``end``, page by page, each with the position behind it.

    On Kafka a page of so many records reaches further than so many offsets: what lies behind the end is left out.
    """
    while position < end:
        batch = await log.read(partition, position, min(_PAGE, end - position))
        position = min(batch.next_position, end)
        yield position, [record for record in batch.records if record.offset < end]


class Sieve:
    """Lets through what is ``wanted``, leaving aside when it was recorded and where."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        whole = (wanted.account, wanted.id, wanted.correlation, wanted.causation)
        self._needles = [codec.encode(text) for text in whole if text is not None]
        self._kinds = [codec.encode(kind) for kind in wanted.types]

    def event(self, record: Record) -> Event[Any] | None:
        """The record's event, data raw; None if it is not wanted."""
        value = record.value
        if not all(needle in value for needle in self._needles):
            return None
        if self._kinds and not any(kind in value for kind in self._kinds):
            return None
        return next(filter(self._wanted.fits, events_of([record])), None)


def _fitting(records: Iterable[Record], wanted: Wanted) -> Iterable[Event[Any]]:
    return filter(None, map(Sieve(wanted).event, records))


async def _push(heads: list[Any], source: AsyncIterator[Event[Any]]) -> None:
    async for event in source:
        heapq.heappush(heads, (*order(event), event, source))
        return


def order(event: Event[Any]) -> tuple[datetime, int, int]:
    """The order in which records were recorded; those of one moment by partition."""
    return (event.now, event.partition, event.offset)


def _key(event: Event[Any], by: Dimension) -> str:
    match by:
        case "type":
            return event.type
        case "account":
            return event.subject
        case "source":
            return event.source
        case "day":
            return event.now.date().isoformat()
        case "partition":
            return str(event.partition)
