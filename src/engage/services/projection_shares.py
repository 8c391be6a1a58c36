"""Shares the log's partitions among the processes that project: each folds what the consumer group assigns to it.

The group only says who works where. How far a view has come stands with its rows, so that is where whoever is assigned
a partition goes on, and a process that does not know yet that it has lost one is refused by the position.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection
from types import TracebackType
from typing import Any, Self

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from aiokafka.errors import KafkaError

from engage.log.topics import Topics, broker_errors

SESSION_SECONDS = 10.0
"""After this long without a word from a process, its partitions are given to the others."""

_logger = structlog.get_logger(__name__)


class ProjectionShares:
    """Membership of the group ``<prefix>-projections``; an async context manager. ``partitions`` are ours by now."""

    def __init__(self, bootstrap: str, topics: Topics, session_seconds: float = SESSION_SECONDS) -> None:
        self.partitions: frozenset[int] = frozenset()
        self._bootstrap = bootstrap
        self._session_ms = round(session_seconds * 1_000)
        self._topic = topics.interactions
        self._group = f"{topics.prefix}-projections"
        self._consumer: Any = None
        self._polling: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            session_timeout_ms=self._session_ms,
            max_poll_interval_ms=300_000,
        )
        with broker_errors(self._bootstrap, f"joining the group {self._group}"):
            await self._consumer.start()
        self._consumer.subscribe([self._topic], listener=_Listener(self))
        self._polling = asyncio.create_task(self._poll())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._polling:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)
        with contextlib.suppress(KafkaError):
            await self._consumer.stop()

    async def show(self, positions: dict[int, int]) -> None:
        """Commit positions to Kafka, so that its tools show the lag; nothing of ours reads them."""
        ours = {partition: position for partition, position in positions.items() if partition in self.partitions}
        if ours:
            offsets = {TopicPartition(self._topic, one): OffsetAndMetadata(at, "") for one, at in ours.items()}
            with contextlib.suppress(KafkaError):  # a rebalance is under way: shown next time
                await self._consumer.commit(offsets)

    async def _poll(self) -> None:
        """Keep the membership alive; the records are read elsewhere, from the stored positions."""
        while True:
            try:
                if paused := self._consumer.assignment() - self._consumer.paused():
                    self._consumer.pause(*paused)
                await self._consumer.getmany(timeout_ms=200)
            except KafkaError as error:
                _logger.warning("the group of projecting processes cannot be reached", error=str(error))
                await asyncio.sleep(1.0)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, shares: ProjectionShares) -> None:
        self._shares = shares

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        self._shares.partitions = frozenset()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._shares._consumer.pause(*assigned)
        self._shares.partitions = frozenset(one.partition for one in assigned)
        _logger.info("projects", partitions=sorted(self._shares.partitions))
