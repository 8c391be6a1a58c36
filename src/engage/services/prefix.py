"""The log as it stood at a moment, or a part of it: what any read model may be folded from instead of the whole log."""

from __future__ import annotations

import asyncio
import hashlib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Self

import msgspec
from msgspec import Struct, structs

from engage.events import codec
from engage.events.envelope import Event
from engage.events.linking import BEGINS_ANEW
from engage.log.contract import Batch, Log, Record
from engage.log.partitioning import partition_of
from engage.services.intake import tick
from engage.services.log_search import Sieve, Wanted, spans_of
from engage.store.views import ViewMissingError, ViewStore
from projections.shared.timeline import timeline

_NEAR = 16
"""Records that are read and thrown away rather than begun anew behind them: on Kafka a jump is a fetch of its own."""
INSTANT = timedelta(microseconds=1)
"""The least that lies between two moments of the log."""


class Places(Struct, frozen=True):
    """Where the records of an account stand: all ``offsets`` before ``until``; those behind are to be looked for."""

    offsets: Sequence[int]
    until: int


class PrefixLog:
    """What of ``log`` lies before ``ends`` (position by partition) and comes through the ``sieve``; a ``Log``.

    Behind it stands, for each partition of ``ends``, a tick of ``moment`` if there is one: what waits for a time up to
    then has come about. ``places`` spares looking at records that are not an account's.
    """

    def __init__(
        self,
        log: Log,
        ends: Mapping[int, int],
        *,
        starts: Mapping[int, int] | None = None,
        moment: datetime | None = None,
        sieve: Sieve | None = None,
        places: Places | None = None,
        part: str = "",
    ) -> None:
        self._log = log
        self._ends = ends
        self._starts = starts or {}
        self._moment = moment
        self._sieve = sieve
        self._places = places
        self._part = part

    @classmethod
    async def at(cls, log: Log, moment: datetime, account: str | None = None, store: ViewStore | None = None) -> Self:
        """The log at ``moment``, all of it or what it has of ``account``, which the timeline in ``store`` finds."""
        if account is None:
            return cls(log, await ends_at(log, moment), moment=moment)
        partition = partition_of(account, log.partitions)
        ends = {partition: (end := await end_at(log, partition, moment))}
        places = None if store is None else await asyncio.to_thread(places_of, store, account, partition, end)
        return cls(log, ends, moment=moment, sieve=Sieve(Wanted(account=account)), places=places)

    @classmethod
    async def part(cls, log: Log, wanted: Wanted) -> Self:
        """What is ``wanted`` of the log as it stands now, or stood when it ended at ``until``."""
        spans = await spans_of(log, wanted)
        starts = {one: start for one, (start, _) in spans.items()}
        ends = {one: end for one, (_, end) in spans.items()}
        return cls(log, ends, starts=starts, sieve=Sieve(wanted), part=_named(wanted))

    @property
    def partitions(self) -> int:
        """As many as the log has."""
        return self._log.partitions

    @property
    def generation(self) -> str:
        """The log's own; that of a part is of this part alone, so that no fold goes on with another one."""
        return self._log.generation + self._part

    async def read(self, partition: int, position: int, limit: int) -> Batch:
        """See ``Log.read``; a batch without records is the end."""
        end = self._ends.get(partition, 0)
        position = max(position, self._starts.get(partition, 0))
        records: list[Record] = []
        while position < end and len(records) < limit:
            more, position = await self._page(partition, position, end, limit - len(records))
            records += more
        if records:
            return Batch(records, position)
        if self._moment is not None and position == end and partition in self._ends:
            return Batch([_tick(partition, end, self._moment)], end + 1)
        return Batch([], position)

    async def end(self, partition: int) -> int:
        """See ``Log.end``."""
        return self._ends.get(partition, 0) + (self._moment is not None and partition in self._ends)

    async def position_at(self, partition: int, moment: datetime) -> int:
        """See ``Log.position_at``."""
        return min(await self._log.position_at(partition, moment), await self.end(partition))

    async def wait(self, ends: Mapping[int, int], seconds: float) -> bool:
        """Nothing comes any more."""
        await asyncio.sleep(0)
        return False

    async def _page(self, partition: int, position: int, end: int, limit: int) -> tuple[list[Record], int]:
        """Up to ``limit`` of the records from ``position`` on, and the position behind them."""
        places = self._places
        if places is not None and position < places.until:
            offsets = places.offsets
            first = bisect_left(offsets, position)
            if first == len(offsets):
                return [], min(places.until, end)
            last = first
            while last + 1 < len(offsets) and offsets[last + 1] - offsets[last] <= _NEAR and last - first < limit:
                last += 1
            position, end = offsets[first], min(end, offsets[last] + 1)
        batch = await self._log.read(partition, position, min(limit, end - position))
        records = [record for record in batch.records if record.offset < end]
        if self._sieve is not None:
            records = [record for record in records if self._sieve.event(record) is not None]
        return records, min(batch.next_position, end)


def _named(wanted: Wanted) -> str:
    """What tells this part of a log from others: nothing where it is all of it."""
    if wanted == Wanted():
        return ""
    return f"/{hashlib.blake2b(msgspec.json.encode(wanted), digest_size=8).hexdigest()}"


async def ends_at(log: Log, moment: datetime) -> dict[int, int]:
    """The positions behind what was recorded by ``moment``, by partition."""
    return {partition: await end_at(log, partition, moment) for partition in range(log.partitions)}


async def end_at(log: Log, partition: int, moment: datetime) -> int:
    """The position behind what was recorded by ``moment``."""
    return await log.position_at(partition, moment + INSTANT)


def places_of(store: ViewStore, account: str, partition: int, end: int) -> Places | None:
    """What the timeline knows of the account; None where it has nothing, or has left something out.

    It leaves out what an account was before it was linked to another, or parted from one.
    """
    try:
        until = min(store.standing().at(timeline).get(partition, 0), end)
        if not until or store.parked(timeline):
            return None
        entries = store.select(timeline, {"account": account}, order="offset")
    except ViewMissingError:
        return None
    if any(entry.type in BEGINS_ANEW for entry in entries):
        return None
    return Places([entry.offset for entry in entries if entry.offset < until], until)


def _tick(partition: int, offset: int, moment: datetime) -> Record:
    event: Event[Any] = structs.replace(tick(partition, moment), recorded=moment)
    return Record(partition, offset, moment, codec.encode(event))
