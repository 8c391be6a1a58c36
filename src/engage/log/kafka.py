"""The log on Apache Kafka, for its readers: committed records only, and a missing record is an error, never a jump."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import OffsetOutOfRangeError

from engage.events.envelope import to_micros
from engage.log.contract import Batch, LogGapError, Record
from engage.log.kafka_fetching import PATIENCE, Fetching
from engage.log.topic_id import describe_topics
from engage.log.topics import Layout, Topics, broker_errors, check_topics

_RETRY_MS = 20
"""The first question about a partition is asked before its leader is known, and again after this long."""
_POLL_SECONDS = 0.02
_KNOWN_SECONDS = 1.0
"""So long an end that was told is good enough to read up to: the log only grows."""
_CONFIRM_SECONDS = 10.0
_SCAN = 1_000


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
        self._client: Any = None
        self._readers: dict[int, Fetching] = {}
        self._asking: asyncio.Task[dict[int, int]] | None = None
        self._known: dict[int, int] = {}
        self._asked = self._confirmed = 0.0

    async def start(self) -> None:
        """Check the topics and connect; LayoutError or BrokerUnavailableError if that cannot be."""
        self._layout = await check_topics(self._bootstrap, self._topics)
        self._confirmed = time.monotonic()
        self._clerk = await self._consumer()
        try:
            # Of its own: an answer to the clerk is not to wait behind megabytes of records.
            self._client = await self._reading()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close all connections."""
        for reader in self._readers.values():
            reader.drop()
        self._readers.clear()
        if self._client:
            await self._client.close()
            self._client = None
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
        reader = self._reader(partition)
        async with reader.turn:
            with broker_errors(self._bootstrap, f"reading {self._topics.interactions}:{partition}"):
                try:
                    return await self._read(reader, position, limit)
                except OffsetOutOfRangeError as error:
                    reader.drop()
                    raise LogGapError(await self._gap(partition, position)) from error

    async def _read(self, reader: Fetching, position: int, limit: int) -> Batch:
        partition = reader.home.partition
        end = reader.end if position == reader.position else -1
        if time.monotonic() - self._asked < _KNOWN_SECONDS:  # to ask again is a round trip a batch
            end = max(end, self._known.get(partition, -1))
        if position >= end:
            end = await self.end(partition)
        if position > end or position < 0:
            raise LogGapError(await self._gap(partition, position))
        reader.move(position)
        deadline = time.monotonic() + PATIENCE
        while reader.position < end:
            # A marker alone at the end yields no record, and the position moves on.
            if found := await reader.take(limit):
                return Batch(found, reader.position)
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing from offset {reader.position} on for {PATIENCE:.0f} s")
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
            found = {tp.partition: end for tp, end in (await self._clerk.end_offsets(tps)).items()}
        self._known, self._asked = found, time.monotonic()
        return found

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

    def _reader(self, partition: int) -> Fetching:
        reader = self._readers.get(partition)
        if reader is None:
            reader = self._readers[partition] = Fetching(self._client, self._topics.interactions, partition)
        return reader

    async def _reading(self) -> Any:
        client = AIOKafkaClient(bootstrap_servers=self._bootstrap)
        with broker_errors(self._bootstrap, "connecting"):
            try:
                await client.bootstrap()
                await client.set_topics([self._topics.interactions])
            except BaseException:
                await client.close()
                raise
        return client

    async def _consumer(self) -> Any:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
            retry_backoff_ms=_RETRY_MS,
        )
        with broker_errors(self._bootstrap, "connecting"):
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
        return consumer
