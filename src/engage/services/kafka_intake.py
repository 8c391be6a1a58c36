"""Intake on Kafka, as a service: the one that appends to the log, and its share of the partitions among its fellows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from engage.log.kafka import KafkaLog
from engage.log.kafka_fetching import FETCH_BYTES
from engage.log.topics import Topics, broker_errors
from engage.services.edge import Edge, EdgeKeyring
from engage.services.intake import ClockLeapError
from engage.services.kafka_partition import WINDOW, PartitionIntake

_BATCH = 8_000
_POLL_MS = 200
_RETELLING_MS = 1
_COMMIT_SECONDS = 1.0

_logger = structlog.get_logger(__name__)


class InboxGapError(RuntimeError):
    """Inbox records that intake has not read are gone, or the inbox was made anew: see the message for what to do."""


class KafkaIntake(ConsumerRebalanceListener):  # type: ignore[misc]
    """Takes what arrives in the inbox onto the log, for the partitions that the consumer group gives this process.

    ``session_seconds`` is how long a silent worker keeps its partitions. ``stopped`` says, by partition, why one stands
    still although it is ours: the clocks must be set right and intake started again. ``folder`` is where the window of
    identities goes, None for the system's temporary folder.
    """

    def __init__(
        self,
        bootstrap: str,
        edge: Edge,
        *,
        topics: Topics | None = None,
        window: timedelta = WINDOW,
        session_seconds: float = 10.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        folder: Path | None = None,
    ) -> None:
        self._bootstrap = bootstrap
        self._edge = edge
        self._topics = topics or Topics()
        self._window = window
        self._session_seconds = session_seconds
        self._clock = clock
        self._folder = folder
        self._log = KafkaLog(bootstrap, self._topics)
        self._consumer: Any = None
        self._owners: dict[int, PartitionIntake] = {}
        self._turn = asyncio.Lock()
        self._failure: Exception | None = None
        self._committed: dict[TopicPartition, int] = {}
        self._commit_due = 0.0
        self.stopped: dict[int, str] = {}

    @property
    def owned(self) -> frozenset[int]:
        """The partitions that this process has claimed."""
        return frozenset(self._owners)

    @property
    def group(self) -> str:
        """The consumer group of intake workers."""
        return f"{self._topics.prefix}-intake"

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set.

        LayoutError if the topics do not fit, BrokerUnavailableError if Kafka is away, FencedError if another worker
        has taken over while this one was thought dead, InboxGapError if inbox records are gone.
        """
        await self._log.start()
        stopped = asyncio.create_task(stop.wait())
        try:
            with broker_errors(self._bootstrap, f"taking in from {self._topics.inbox}"):
                await self._join()
                while not stop.is_set():
                    await self._step(stopped)
        finally:
            stopped.cancel()
            await self._leave()

    async def _join(self) -> None:
        session_ms = int(self._session_seconds * 1_000)
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=self.group,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=FETCH_BYTES,
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=session_ms // 4,
        )
        self._consumer.subscribe([self._topics.inbox], listener=self)
        await self._consumer.start()

    async def _step(self, stopped: asyncio.Task[Any]) -> None:
        # Records that were fetched before a partition was claimed are not ours to take: claiming seeks to where the log
        # says. So only those count whose owner was there before the fetch and still is.
        before = dict(self._owners)
        got = await self._fetch(stopped)
        if self._failure:
            raise self._failure
        async with self._turn:
            work = []
            for tp, records in got.items():
                owner = self._owners.get(tp.partition)
                if owner is not None and owner is before.get(tp.partition):
                    work.append(self._take(tp, owner, records))
                elif owner is not None:
                    self._consumer.seek(tp, owner.next_inbox)
            results = await asyncio.gather(*work, return_exceptions=True)
            if not any(results):
                retelling = (owner.retell() for owner in self._owners.values() if owner.retells)
                results = await asyncio.gather(*retelling, return_exceptions=True)
            reached = await self._reached()
        for result in results:
            if result is not None:
                raise result
        await self._commit_for_display(reached)

    async def _fetch(self, stopped: asyncio.Task[Any]) -> dict[TopicPartition, list[Any]]:
        """Some records, none if there are none; while the group shares out partitions this takes until it is done."""
        patience_ms = _RETELLING_MS if any(owner.retells for owner in self._owners.values()) else _POLL_MS
        fetch = asyncio.create_task(self._consumer.getmany(timeout_ms=patience_ms, max_records=_BATCH))
        try:
            await asyncio.wait({fetch, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return fetch.result() if fetch.done() else {}
        finally:
            fetch.cancel()

    async def _take(self, tp: TopicPartition, owner: PartitionIntake, records: list[Any]) -> None:
        try:
            await owner.take(records, self._clock)
        except ClockLeapError as error:
            self._consumer.pause(tp)
            self.stopped[tp.partition] = str(error)
            del self._owners[tp.partition]
            await owner.close()
            _logger.error("partition stopped", topic=tp.topic, partition=tp.partition, reason=str(error))

    async def _reached(self) -> dict[TopicPartition, int]:
        """How far each partition was read, transaction markers included, where that is news for the group."""
        if time.monotonic() < self._commit_due:
            return {}
        self._commit_due = time.monotonic() + _COMMIT_SECONDS
        held = {TopicPartition(self._topics.inbox, partition) for partition in self._owners}
        reached = {tp: await self._consumer.position(tp) for tp in held & self._consumer.assignment()}
        return {tp: offset for tp, offset in reached.items() if self._committed.get(tp) != offset}

    async def _commit_for_display(self, reached: dict[TopicPartition, int]) -> None:
        """Tell the group how far we are. It is no truth to go on from, but tools show lag by it.

        It also tells an inbox whose records were all taken and then deleted from one with records lost.
        """
        if not reached:
            return
        try:
            await self._consumer.commit(reached)
            self._committed.update(reached)
        except (KafkaError, IllegalStateError) as error:
            _logger.debug("offsets not committed", reason=str(error))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Finish the batch at hand, then let go: whoever comes next reads from the log where we were."""
        async with self._turn:
            owners, self._owners = list(self._owners.values()), {}
            self._committed.clear()
            self.stopped.clear()
            for owner in owners:
                await owner.close()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Claim each partition, and go on from where the log says. A failure ends ``run``."""
        claims = await asyncio.gather(*(self._claim(tp) for tp in assigned), return_exceptions=True)
        for claim in claims:
            if isinstance(claim, Exception):
                self._failure = self._failure or claim

    async def _claim(self, tp: TopicPartition) -> None:
        owner = await PartitionIntake.claim(
            tp.partition, self._bootstrap, self._topics, self._log, self._edge, self._window, self._folder
        )
        try:
            owner.next_inbox = await inbox_position(self._consumer, tp, owner.next_inbox, self.group)
            self._consumer.seek(tp, owner.next_inbox)
        except BaseException:
            await owner.close()
            raise
        self._owners[tp.partition] = owner

    async def _leave(self) -> None:
        if self._consumer:
            await self._consumer.stop()
        for owner in self._owners.values():
            await owner.close()
        self._owners.clear()
        await self._log.stop()


async def inbox_position(consumer: Any, tp: TopicPartition, position: int, group: str) -> int:
    """The inbox offset from which ``group`` goes on; InboxGapError if records from there on are gone.

    ``position`` is what the log says, ``consumer`` one of the group, or one that may ask for what it committed.
    """
    start = (await consumer.beginning_offsets([tp]))[tp]
    end = (await consumer.end_offsets([tp]))[tp]
    if position > end:
        raise InboxGapError(
            f"{tp.topic}:{tp.partition} ends at {end}, but the log has taken from it up to {position}: the inbox "
            "was made anew. Restore it, or export the log and restore it under another prefix with its own inbox"
        )
    if start <= position:
        return position
    # Behind the last record that left a trace on the log there may be transaction markers only.
    done = await consumer.committed(tp) or 0
    if start <= done:
        return int(start)
    raise InboxGapError(
        f"{tp.topic}:{tp.partition} starts at {start}, but intake has read up to {max(position, done)} only: what "
        "lay between was deleted by its retention. Have it published again, then go on with: kafka-consumer-groups "
        f"--group {group} --topic {tp.topic}:{tp.partition} --reset-offsets --to-earliest "
        "--execute"
    )


async def run_intake(
    bootstrap: str,
    keyring: EdgeKeyring,
    stop: asyncio.Event,
    *,
    topics: Topics | None = None,
    window: timedelta = WINDOW,
    session_seconds: float = 10.0,
    folder: Path | None = None,
) -> None:
    """What ``engage worker intake`` runs until ``stop`` is set; raises what ``KafkaIntake.run`` raises."""

    def now() -> datetime:
        return datetime.now(UTC)

    edge = Edge(keyring, now)
    intake = KafkaIntake(
        bootstrap, edge, topics=topics, window=window, session_seconds=session_seconds, clock=now, folder=folder
    )
    await intake.run(stop)
