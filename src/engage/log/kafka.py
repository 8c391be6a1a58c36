"""The log on Apache Kafka, for its readers: committed records only, and a missing record is an error, never a jump."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError
from msgspec import Struct

from engage.events.envelope import to_micros
from engage.log.contract import Batch, LogGapError, Record
from engage.log.topic_id import describe_topics
from engage.log.topics import Layout, Topics, broker_errors, check_topics

FETCH_BYTES = 4 << 20
"""Fetches of 4 MiB: with 1 MiB a fold of small events waits for the network a third of its time."""

_FETCH_WAIT_MS = 200
_LOOK_MS = 20
"""How long a look for records takes at most: where a marker alone is left none come, and the position moves on."""
_RETRY_MS = 20
"""The first question about a partition is asked before its leader is known, and again after this long."""
_POLL_SECONDS = 0.02
_PATIENCE = 30.0
_CONFIRM_SECONDS = 10.0
_SCAN = 1_000


class _Recorded(Struct, gc=False):
    recorded: datetime


_recorded = msgspec.json.Decoder(_Recorded).decode


class _Reader:
    """One partition's consumer, kept between reads so that what it fetched ahead is used by the next one."""

    def __init__(self, consumer: Any, partition: TopicPartition) -> None:
        self.consumer = consumer
        self.partition = partition
        self.turn = asyncio.Lock()
        self.position = -1

    def move(self, position: int) -> None:
        if position != self.position:
            self.consumer.seek(self.partition, position)
            self.position = position

    async def fetch(self, limit: int, patience_ms: int) -> list[Any]:
        """Some records, perhaps none; the position moves on over transaction markers and aborted records too."""
        try:
            got = await self.consumer.getmany(self.partition, timeout_ms=patience_ms, max_records=limit)
        except OffsetOutOfRangeError:
            self.position = -1
            raise
        self.position = await self.consumer.position(self.partition)
        return list(got.get(self.partition, ()))

    @property
    def known_end(self) -> int:
        """The last stable offset as the last fetch told it, -1 if there was none."""
        end: int | None = self.consumer.last_stable_offset(self.partition)
        return -1 if end is None else end


class KafkaLog:
    """The log in the topic ``<prefix>.interactions``; an async context manager.

    Its generation is the id that Kafka gave the topic: a topic made anew under the same name has another. Transaction
    markers occupy offsets, so positions may jump over them; a position before the topic's start, or after its end, is
    a LogGapError. Different partitions can be read at once; reads of the same one wait for each other, and are quick
    when each goes on where the last one ended.
    """

    def __init__(self, bootstrap: str, topics: Topics | None = None) -> None:
        self._bootstrap = bootstrap
        self._topics = topics or Topics()
        self._layout = Layout(0, "")
        self._clerk: Any = None
        self._readers: dict[int, _Reader] = {}
        self._opening = asyncio.Lock()
        self._asking: asyncio.Task[dict[int, int]] | None = None
        self._confirmed = 0.0

    async def start(self) -> None:
        """Check the topics and connect; LayoutError or BrokerUnavailableError if that cannot be."""
        self._layout = await check_topics(self._bootstrap, self._topics)
        self._confirmed = time.monotonic()
        self._clerk = await self._consumer()

    async def stop(self) -> None:
        """Close all connections."""
        for reader in self._readers.values():
            await reader.consumer.stop()
        self._readers.clear()
        if self._clerk:
            await self._clerk.stop()
            self._clerk = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def partitions(self) -> int:
        """How many partitions the log has, known once it is started."""
        return self._layout.partitions

    @property
    def generation(self) -> str:
        """The id of the log's topic, known once it is started."""
        return self._layout.generation

    async def read(self, partition: int, position: int, limit: int) -> Batch:
        """Up to ``limit`` committed records from ``position`` on, at once; none at the end.

        LogGapError if records from there on are gone, BrokerUnavailableError if Kafka does not answer for 30 s.
        """
        reader = await self._reader(partition)
        async with reader.turn:
            with broker_errors(self._bootstrap, f"reading {self._topics.interactions}:{partition}"):
                try:
                    return await self._read(reader, position, limit)
                except OffsetOutOfRangeError as error:
                    raise LogGapError(await self._gap(partition, position)) from error

    async def _read(self, reader: _Reader, position: int, limit: int) -> Batch:
        partition = reader.partition.partition
        end = reader.known_end if position == reader.position else -1
        if position >= end:
            end = await self.end(partition)
        if position > end or position < 0:
            raise LogGapError(await self._gap(partition, position))
        reader.move(position)
        patience_ms, deadline = 0, time.monotonic() + _PATIENCE
        while reader.position < end:
            # The first look takes what was fetched ahead; a marker alone at its end yields no record and no wait.
            if found := await reader.fetch(limit, patience_ms):
                return Batch([_record(record) for record in found], reader.position)
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing from offset {reader.position} on for {_PATIENCE:.0f} s")
            patience_ms = _LOOK_MS
        return Batch([], reader.position)

    async def end(self, partition: int) -> int:
        """The position after the last committed record, its transaction's marker included."""
        await self._confirm_generation()
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return (await asyncio.shield(self._asking))[partition]

    async def confirm(self, partition: int, position: int) -> int:
        """The log's ``end``, where the records from ``position`` on can be read from; LogGapError where not."""
        end = await self.end(partition)
        tp = TopicPartition(self._topics.interactions, partition)
        with broker_errors(self._bootstrap, f"looking into {tp.topic}:{partition}"):
            start = (await self._clerk.beginning_offsets([tp]))[tp]
        if not start <= position <= end:
            raise LogGapError(await self._gap(partition, position))
        return end

    async def last(self, partition: int) -> Record | None:
        """The newest committed record, None if there is none; transaction markers, of unknown number, lie behind it."""
        end = await self.end(partition)
        step, last = 16, None
        start = position = end
        while start > 0 and last is None:
            start = position = max(0, end - step)
            while position < end:
                batch = await self.read(partition, position, _SCAN)
                last, position = (batch.records[-1] if batch.records else last), batch.next_position
            step *= 2
        return last

    async def position_at(self, partition: int, moment: datetime) -> int:
        """The position of the first record with ``recorded`` at or after ``moment``; the end if there is none."""
        tp = TopicPartition(self._topics.interactions, partition)
        with broker_errors(self._bootstrap, f"looking into {tp.topic}:{partition}"):
            found = (await self._clerk.offsets_for_times({tp: max(0, to_micros(moment) // 1_000)}))[tp]
        end = await self.end(partition)
        if found is None:
            return end
        # What Kafka finds may be too early, never too late: its timestamps are whole milliseconds, and a transaction
        # marker carries the broker's time. So look on from there: a little way step by step, then by halves.
        low = found.offset
        while low < end:
            batch = await self.read(partition, low, _SCAN)
            for record in batch.records:
                if record.recorded >= moment:
                    return record.offset
            low = await self._halve(partition, batch.next_position, end, moment)
        return end

    async def _halve(self, partition: int, low: int, high: int, moment: datetime) -> int:
        """A position at most ``_SCAN`` before the one looked for, which lies between ``low`` and ``high``."""
        while high - low > _SCAN:
            middle = (low + high) // 2
            batch = await self.read(partition, middle, 1)
            if batch.records and batch.records[0].recorded < moment:
                low = batch.next_position
            else:
                high = middle
        return low

    async def wait(self, ends: Mapping[int, int], seconds: float) -> bool:
        """Wait until a partition has more than ``ends`` says (partition to position); False after ``seconds``.

        It asks for all ends in one request every 20 ms: consumers that wait in a fetch would keep the reads waiting.
        """
        deadline = time.monotonic() + seconds
        while True:
            now = await self._ends(list(ends))
            if any(now[partition] > end for partition, end in ends.items()):
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            await asyncio.sleep(min(_POLL_SECONDS, left))

    async def _ask(self) -> dict[int, int]:
        """All ends in one request, for whoever asks before it is sent."""
        await asyncio.sleep(0)
        self._asking = None
        return await self._ends(list(range(self.partitions)))

    async def _ends(self, partitions: list[int]) -> dict[int, int]:
        tps = [TopicPartition(self._topics.interactions, partition) for partition in partitions]
        with broker_errors(self._bootstrap, f"asking for the end of {self._topics.interactions}"):
            # From a consumer that reads committed records only, this is the last stable offset.
            return {tp.partition: end for tp, end in (await self._clerk.end_offsets(tps)).items()}

    async def _confirm_generation(self) -> None:
        """LogGapError if the topic was deleted and made anew since we started; asked at most every 10 s."""
        if time.monotonic() - self._confirmed < _CONFIRM_SECONDS:
            return
        with broker_errors(self._bootstrap, f"looking at {self._topics.interactions}"):
            # Through the consumer's own client, whose public methods do not tell a topic's id.
            found = await describe_topics(self._clerk._client, [self._topics.interactions])
        facts = found.get(self._topics.interactions)
        if facts is None or facts.id != self.generation:
            raise LogGapError(
                f"the topic {self._topics.interactions!r} was {'made anew' if facts else 'deleted'} while it was read: "
                "restore the log, or rebuild what was made from it"
            )
        self._confirmed = time.monotonic()

    async def _gap(self, partition: int, position: int) -> str:
        tp = TopicPartition(self._topics.interactions, partition)
        start = (await self._clerk.beginning_offsets([tp]))[tp]
        end = (await self._clerk.end_offsets([tp]))[tp]
        return (
            f"{tp.topic}:{partition} holds the positions {start} to {end}, and {position} was asked for: the records "
            "there are gone. Restore the log, or rebuild what was made from it"
        )

    async def _reader(self, partition: int) -> _Reader:
        async with self._opening:
            reader = self._readers.get(partition)
            if reader is None:
                consumer = await self._consumer()
                tp = TopicPartition(self._topics.interactions, partition)
                consumer.assign([tp])
                reader = self._readers[partition] = _Reader(consumer, tp)
            return reader

    async def _consumer(self) -> Any:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=FETCH_BYTES,
            # What a read that starts elsewhere has to wait for, at most.
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            retry_backoff_ms=_RETRY_MS,
        )
        with broker_errors(self._bootstrap, "connecting"):
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
        return consumer


def _record(record: Any) -> Record:
    return Record(record.partition, record.offset, _recorded(record.value).recorded, record.value)
