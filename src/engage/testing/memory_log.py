"""A log in memory, as the contract wants it: for tests of what reads a log."""

from __future__ import annotations

import asyncio
import bisect
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import structs

from engage.events import codec
from engage.events.envelope import EPOCH, Event
from engage.log.contract import Batch, LogGapError, Record, Token
from engage.log.partitioning import partition_of


class MemoryLog:
    """Records by partition, gone with their process; ``append`` stands in for intake, without its checks."""

    def __init__(self, partitions: int = 1, generation: str | None = None) -> None:
        self._records: list[list[Record]] = [[] for _ in range(partitions)]
        self._starts = [0] * partitions
        self._generation = generation or uuid.uuid4().hex
        self._grew = asyncio.Event()

    @property
    def partitions(self) -> int:
        """How many there are."""
        return len(self._records)

    @property
    def generation(self) -> str:
        """The name of this log: given, or one of its own."""
        return self._generation

    def append(self, *events: Event[Any]) -> list[Token]:
        """Append events, each to its subject's partition.

        Each is recorded when it says so, or else when it happened, and never earlier than the one before it.
        """
        return [self._append(event) for event in events]

    def append_raw(self, partition: int, recorded: datetime, value: bytes) -> Token:
        """Append bytes as they are, to see what a reader does with a record that is damaged."""
        records = self._records[partition]
        token = Token(partition, self._starts[partition] + len(records))
        records.append(Record(partition, token.offset, max(recorded, self._last(partition)), value))
        self._grew.set()
        return token

    def trim(self, partition: int, position: int) -> None:
        """Lose the records before ``position``, as a log does whose retention is too short."""
        lost = position - self._starts[partition]
        del self._records[partition][:lost]
        self._starts[partition] = position

    async def read(self, partition: int, position: int, limit: int) -> Batch:
        """See ``Log.read``."""
        records, start = self._records[partition], self._starts[partition]
        if not start <= position <= start + len(records):
            raise LogGapError(
                f"partition {partition} holds the offsets {start} to {start + len(records) - 1}, the reader stands at "
                f"{position}: restore the log, or rebuild the reader's state"
            )
        found = records[position - start : position - start + limit]
        return Batch(found, position + len(found))

    async def end(self, partition: int) -> int:
        """See ``Log.end``."""
        return self._starts[partition] + len(self._records[partition])

    async def position_at(self, partition: int, moment: datetime) -> int:
        """See ``Log.position_at``."""
        found = bisect.bisect_left(self._records[partition], moment, key=lambda record: record.recorded)
        return self._starts[partition] + found

    async def wait(self, ends: Mapping[int, int], seconds: float) -> bool:
        """See ``Log.wait``."""
        try:
            async with asyncio.timeout(seconds):
                while not [partition for partition, end in ends.items() if await self.end(partition) > end]:
                    self._grew.clear()
                    await self._grew.wait()
        except TimeoutError:
            return False
        return True

    def _append(self, event: Event[Any]) -> Token:
        partition = partition_of(event.subject, self.partitions)
        recorded = max(event.recorded or event.time, self._last(partition))
        stamped = structs.replace(event, recorded=recorded, partition=-1, offset=-1)
        return self.append_raw(partition, recorded, codec.encode(stamped))

    def _last(self, partition: int) -> datetime:
        records = self._records[partition]
        return records[-1].recorded if records else EPOCH
