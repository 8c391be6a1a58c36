"""A log on Kafka whose partitions are worked on one step at a time, in any order, by owners that may be lost."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Raw

from engage.events import codec
from engage.events.catalogue.base import EventData
from engage.events.catalogue.identity import IdentityLinked, IdentityUnlinked
from engage.events.envelope import Event
from engage.events.linking import BEGINS_ANEW, SOURCE, Links
from engage.log.kafka_publisher import KafkaPublisher
from engage.rules.policy import PolicySettings
from engage.rules.rule import Rule
from engage.services.edge import Edge
from engage.services.kafka_partition import PartitionIntake
from engage.services.kafka_rules import PartitionRules
from engage.testing.keyring import MemoryKeyring
from engage.testing.log_contract import order, records_of
from tests.log.kafka_platform import PARTITIONS, KafkaPlatform


def now() -> datetime:
    return datetime.now(UTC)


def link(visitor: str, account: str, *, said: int = 0, cause: str | None = None) -> Event[Raw]:
    return _word(visitor, IdentityLinked(account=account), said, cause)


def unlink(visitor: str, account: str, *, said: int = 0) -> Event[Raw]:
    return _word(visitor, IdentityUnlinked(account=account), said, None)


def _word(subject: str, data: EventData, said: int, cause: str | None) -> Event[Raw]:
    word = codec.new_event(data, id=f"{type(data).__name__}-{said}", source=SOURCE, subject=subject, time=now())
    word.causationid = cause
    return word


def orders(account: str, *numbers: int) -> list[bytes]:
    return [order(number, account=account) for number in numbers]


class Stepping:
    """Intake of a whole log, by hand."""

    def __init__(self, platform: KafkaPlatform, consumer: Any, publisher: KafkaPublisher) -> None:
        self.platform = platform
        self.owners: dict[int, PartitionIntake] = {}
        self.words = publisher
        self.rules: dict[int, PartitionRules] = {}
        self._consumer = consumer
        self._keyring = MemoryKeyring()

    async def claim(self, partition: int) -> None:
        """Take a partition over; its owner, if it has one, is lost in the middle of whatever it did."""
        platform = self.platform
        edge = Edge(self._keyring, now)
        before = self.owners.get(partition)
        self.owners[partition] = owner = await PartitionIntake.claim(
            partition, platform.bootstrap, platform.topics, platform.log, edge
        )
        if before is not None:
            await before.close()
        self._consumer.seek(TopicPartition(platform.topics.inbox, partition), owner.next_inbox)

    async def take(self, partition: int, most: int) -> bool:
        """Take up to ``most`` inbox records of a partition; whether there were any."""
        tp = TopicPartition(self.platform.topics.inbox, partition)
        found = (await self._consumer.getmany(tp, timeout_ms=5, max_records=most)).get(tp, [])
        if found:
            await self.owners[partition].take(found, now)
        return bool(found)

    async def retell(self, partition: int) -> bool:
        """Tell a page of the past once more; whether any was to be told."""
        retells = self.owners[partition].retells
        if retells:
            await self.owners[partition].retell()
        return retells

    async def settle(self) -> None:
        """Work until the inbox is taken and nothing is left to be told once more."""
        async with asyncio.timeout(60):
            while await self._work() or not await self._all_taken():
                pass

    async def _work(self) -> bool:
        taken = await asyncio.gather(*(self.take(partition, 1_000) for partition in self.owners))
        retold = await asyncio.gather(*(self.retell(partition) for partition in self.owners))
        decided = await asyncio.gather(*map(self._decide, self.rules))
        return any(taken + retold + decided)

    async def decide(self, rules: Sequence[Rule[Any, Any]]) -> None:
        """Let rules decide from here on, wherever intake is at work."""
        platform = self.platform
        for partition in self.owners:
            self.rules[partition] = await PartitionRules.claim(
                partition, platform.bootstrap, platform.topics, platform.log, rules, PolicySettings()
            )
            tp = TopicPartition(platform.topics.interactions, partition)
            self._consumer.assign([*self._consumer.assignment(), tp])
            self._consumer.seek(tp, 0)
            for other in self.owners:
                inbox = TopicPartition(platform.topics.inbox, other)
                self._consumer.seek(inbox, self.owners[other].next_inbox)

    async def _decide(self, partition: int) -> bool:
        tp = TopicPartition(self.platform.topics.interactions, partition)
        found = (await self._consumer.getmany(tp, timeout_ms=5)).get(tp, [])
        if found:
            await self.rules[partition].take(found, now())
        await self.rules[partition].idle(now())
        return bool(found)

    async def _all_taken(self) -> bool:
        topics = self.platform.topics
        tps = [TopicPartition(topics.inbox, partition) for partition in self.owners]
        tps += [TopicPartition(topics.interactions, partition) for partition in self.rules]
        ends = await self._consumer.end_offsets(tps)
        return all([await self._consumer.position(tp) >= ends[tp] for tp in tps])

    async def events(self) -> list[Event[Raw]]:
        """Every record of the log but the ticks, partition after partition."""
        log = self.platform.log
        records = await asyncio.gather(*(records_of(log, partition, 5_000) for partition in range(log.partitions)))
        found = [codec.decode(record.value) for partition in records for record in partition]
        return [event for event in found if not event.subject.startswith("partition:")]


@asynccontextmanager
async def stepping(platform: KafkaPlatform, partitions: Iterable[int] = range(PARTITIONS)) -> AsyncIterator[Stepping]:
    """Owners of all partitions, who do only what they are told."""
    tps = [TopicPartition(platform.topics.inbox, partition) for partition in partitions]
    async with (
        AIOKafkaConsumer(bootstrap_servers=platform.bootstrap, isolation_level="read_committed") as consumer,
        KafkaPublisher(platform.bootstrap, platform.topics) as publisher,
    ):
        consumer.assign(tps)
        made = Stepping(platform, consumer, publisher)
        try:
            for tp in tps:
                await made.claim(tp.partition)
            yield made
        finally:
            for intake in made.owners.values():
                await intake.close()
            for rules in made.rules.values():
                await rules.close()


def in_effect(events: Iterable[Event[Raw]]) -> Counter[tuple[str, str]]:
    """How often each order counts, by account: what stands behind the last record that began its account anew."""
    streams: dict[str, Counter[str]] = {}
    for event in events:
        stream = streams.setdefault(event.subject, Counter())
        if event.type in BEGINS_ANEW and not event.is_copy:
            stream.clear()
        elif event.linkedto is None and event.type == "Order Completed":
            stream[event.id] += 1
    return Counter({(account, one): count for account, stream in streams.items() for one, count in stream.items()})


def links_on(events: Iterable[Event[Raw]]) -> Links:
    """Who is linked to whom by what the log says."""
    links = Links()
    for event in events:
        links.fold(event)
    return links
