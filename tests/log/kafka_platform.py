"""A log on a real broker with its intake running in the test's own process."""

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from msgspec import Raw

from engage.events import codec
from engage.events.envelope import Event
from engage.log.contract import Answer, Duplicate, Taken
from engage.log.kafka import KafkaLog
from engage.log.kafka_publisher import KafkaPublisher
from engage.log.topics import Topics, create_topics
from engage.services.edge import Edge
from engage.services.kafka_intake import run_intake
from engage.testing.keyring import MemoryKeyring

PARTITIONS = 3
DEADLINE = 60.0
_numbers = itertools.count()


def fresh_topics() -> Topics:
    """Names that no other test on the broker uses."""
    return Topics(f"t{uuid.uuid4().hex[:8]}-{next(_numbers)}")


class KafkaPlatform:
    """A log under its own prefix; ``highest`` is the newest token of each partition."""

    def __init__(self, bootstrap: str, topics: Topics, log: KafkaLog, publisher: KafkaPublisher) -> None:
        self.bootstrap = bootstrap
        self.topics = topics
        self.log = log
        self.publisher = publisher
        self.highest: dict[int, int] = {}
        self._seen: dict[int, tuple[int, int]] = {}

    async def publish(self, events: Sequence[bytes | Event[Raw]]) -> list[Answer]:
        answers = await self.publisher.publish(events)
        for answer in answers:
            if isinstance(answer, Taken | Duplicate):
                self.expect(answer.token.partition, answer.token.offset)
        return answers

    def expect(self, partition: int, offset: int) -> None:
        """Something lies in the inbox there that ``settle`` shall wait for."""
        self.highest[partition] = max(offset, self.highest.get(partition, -1))

    async def settle(self) -> None:
        """Wait until the log has passed every inbox position that was handed out."""
        await self.passed(self.highest)

    async def passed(self, tokens: Mapping[int, int]) -> None:
        """Wait until the log has passed these inbox positions, by partition."""
        async with asyncio.timeout(DEADLINE):
            for partition, offset in tokens.items():
                while await self.reached(partition) < offset:
                    await self.log.wait({partition: self._seen[partition][0]}, 0.5)

    async def reached(self, partition: int) -> int:
        """The inbox offset of the partition's last log record, -1 if there is none."""
        position, reached = self._seen.get(partition, (0, -1))
        end = await self.log.end(partition)
        while position < end:
            batch = await self.log.read(partition, position, 10_000)
            if batch.records:
                offset = codec.decode(batch.records[-1].value).inboxoffset
                assert offset is not None, "a record that intake appended says where it was in the inbox"
                reached = offset
            position = batch.next_position
        self._seen[partition] = position, reached
        return reached


@asynccontextmanager
async def kafka_platform(bootstrap: str, partitions: int = PARTITIONS) -> AsyncIterator[KafkaPlatform]:
    """An empty log under a prefix of its own; nothing takes in until ``intake`` does."""
    topics = fresh_topics()
    await create_topics(bootstrap, partitions, topics=topics)
    edge = Edge(MemoryKeyring(), lambda: datetime.now(UTC))
    async with KafkaLog(bootstrap, topics) as log, KafkaPublisher(bootstrap, topics, edge=edge) as publisher:
        yield KafkaPlatform(bootstrap, topics, log, publisher)


@asynccontextmanager
async def intake(platform: KafkaPlatform) -> AsyncIterator[None]:
    """Intake at work while the block runs; what ends it early fails the test."""
    stop = asyncio.Event()
    work = asyncio.create_task(run_intake(platform.bootstrap, MemoryKeyring(), stop, topics=platform.topics))
    try:
        yield
    finally:
        stop.set()
        with suppress(asyncio.CancelledError):
            await work
