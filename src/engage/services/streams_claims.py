"""Who works on a partition of a streams worker: intake on one of the inbox, the rules on one of the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from engage.log.kafka import KafkaLog
from engage.log.topics import Topics
from engage.rules.policy import PolicySettings
from engage.rules.rule import Rule
from engage.services.edge import Edge
from engage.services.kafka_intake import inbox_position
from engage.services.kafka_partition import WINDOW, PartitionIntake
from engage.services.kafka_rules import PartitionRules
from engage.services.streams_shares import Owner

_PAGES = 8
"""Of the past that are told once more while nothing arrives, before others have their turn."""


class _IntakeOwner:
    """``PartitionIntake`` with the clock it is guarded by."""

    def __init__(self, intake: PartitionIntake, clock: Callable[[], datetime]) -> None:
        self._intake = intake
        self._clock = clock

    async def take(self, records: Sequence[Any], now: datetime) -> None:
        await self._intake.take(records, self._clock)
        if self._intake.retells:
            await self._intake.retell()

    async def idle(self, now: datetime) -> None:
        """While nothing arrives, tell the past of linked identities once more."""
        for _ in range(_PAGES):
            if self._intake.retells:
                await self._intake.retell()

    async def close(self) -> None:
        await self._intake.close()


class StreamsClaims:
    """Claims partitions for ``Shares``; ``group`` is the consumer group of streams workers.

    ``folder`` is where intake's window of identities goes, None for the system's temporary folder.
    """

    def __init__(
        self,
        bootstrap: str,
        topics: Topics,
        edge: Edge,
        rules: Sequence[Rule[Any, Any]],
        policy: PolicySettings,
        clock: Callable[[], datetime],
        *,
        window: timedelta = WINDOW,
        folder: Path | None = None,
    ) -> None:
        self.topics = topics
        self.group = f"{topics.prefix}-streams"
        self._bootstrap = bootstrap
        self._edge = edge
        self._rules = rules
        self._policy = policy
        self._clock = clock
        self._window = window
        self._folder = folder
        self._log = KafkaLog(bootstrap, topics)
        self._starting = asyncio.Lock()
        self._started = False

    async def claim(self, tp: TopicPartition) -> tuple[Owner, int]:
        """The partition's owner, and the offset to read from.

        LayoutError if the topics do not fit, BrokerUnavailableError if Kafka is away, InboxGapError or LogGapError if
        records are gone that were not read.
        """
        async with self._starting:
            if not self._started:
                await self._log.start()
                self._started = True
        if tp.topic == self.topics.interactions:
            rules = await PartitionRules.claim(
                tp.partition, self._bootstrap, self.topics, self._log, self._rules, self._policy
            )
            return rules, rules.position
        intake = await PartitionIntake.claim(
            tp.partition, self._bootstrap, self.topics, self._log, self._edge, self._window, self._folder
        )
        try:
            intake.next_inbox = await self._inbox_position(tp, intake.next_inbox)
        except BaseException:
            await intake.close()
            raise
        return _IntakeOwner(intake, self._clock), intake.next_inbox

    async def close(self) -> None:
        """Close the readers of the log."""
        if self._started:
            await self._log.stop()

    async def _inbox_position(self, tp: TopicPartition, position: int) -> int:
        # It names the group to ask what was committed, and does not join it.
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=self.group,
            enable_auto_commit=False,
            isolation_level="read_committed",
        )
        await consumer.start()
        try:
            return await inbox_position(consumer, tp, position, self.group)
        finally:
            await consumer.stop()
