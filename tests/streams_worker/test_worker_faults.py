"""Streams workers that are killed, paused, joined and robbed of their state: the decisions are the pure engine's."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from engage.events import codec
from engage.log.topics import create_topics
from tests.log.inbox import records_in
from tests.log.kafka_platform import KafkaPlatform, kafka_platform
from tests.streams_worker.given import (
    PATIENCE,
    Shop,
    assert_as_decided_by_the_pure_engine,
    decided,
    events,
    on_log,
    settled,
    worker,
)
from tests.streams_worker.probes import FRAGILE

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(900)]


@pytest.fixture
async def platform(kafka: str) -> AsyncIterator[KafkaPlatform]:
    async with kafka_platform(kafka, partitions=4) as platform:
        yield platform


async def ended(process, seconds: float = 30) -> int:
    return await asyncio.to_thread(process.wait, seconds)


async def members(platform: KafkaPlatform) -> int:
    """How many workers share the partitions, 0 while they are being shared out."""
    admin = AIOKafkaAdminClient(bootstrap_servers=platform.bootstrap)
    await admin.start()
    try:
        (answer,) = await admin.describe_consumer_groups([f"{platform.topics.prefix}-streams"])
        ((_, _, state, _, _, found, *_),) = answer.groups
        return len([member for member in found if member[4]]) if state == "Stable" else 0
    finally:
        await admin.close()


async def shared_by(platform: KafkaPlatform, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while await members(platform) != count:
            await platform.log.wait({0: await platform.log.end(0)}, 0.2)


async def test_a_killed_worker_loses_no_decision_and_makes_none_twice(
    platform: KafkaPlatform, home: Path, rounds: int
) -> None:
    chance = random.Random(20260404)
    seen = 0
    async with Shop(platform) as shop:
        for _ in range(rounds):
            with worker(platform, home) as process:
                seen = await decided(platform, more_than=seen)
                await asyncio.sleep(chance.uniform(0, 0.7))
                process.send_signal(signal.SIGKILL)
                assert await ended(process) == -signal.SIGKILL
    with worker(platform, home):
        logs = await settled(platform)
    assert shop.orders > 100
    assert_as_decided_by_the_pure_engine(logs)


async def test_a_worker_that_was_thought_dead_writes_nothing_when_it_wakes(platform: KafkaPlatform, home: Path) -> None:
    async with Shop(platform) as shop:
        with worker(platform, home) as zombie:
            await decided(platform, more_than=0)
            zombie.send_signal(signal.SIGSTOP)
            with worker(platform, home) as successor:
                await shop.more_is_on_the_log(2)
                zombie.send_signal(signal.SIGCONT)
                await shop.more_is_on_the_log(2)
                # With a batch in hand it was fenced and ended, with none it joined again: both are right.
                zombie.terminate()
                assert await ended(zombie) in (0, 1)
                await shop.more_is_on_the_log()
                assert successor.poll() is None
    with worker(platform, home):
        logs = await settled(platform)
    assert_as_decided_by_the_pure_engine(logs)


async def test_workers_that_come_and_go_share_the_partitions(platform: KafkaPlatform, home: Path, rounds: int) -> None:
    async with Shop(platform) as shop:
        with worker(platform, home) as first:
            await shared_by(platform, 1)
            for _ in range(1 + rounds // 10):
                with worker(platform, home) as second:
                    await shared_by(platform, 2)
                    await shop.more_is_on_the_log()
                    second.terminate()
                    assert await ended(second) == 0
                await shared_by(platform, 1)
                await shop.more_is_on_the_log()
            assert first.poll() is None, "nobody was fenced who left in good order"
    with worker(platform, home):
        logs = await settled(platform)
    assert_as_decided_by_the_pure_engine(logs)


async def test_lost_state_is_folded_again_and_nothing_is_decided_twice(platform: KafkaPlatform, home: Path) -> None:
    async with Shop(platform):
        with worker(platform, home):
            await decided(platform, more_than=200)
    admin = AIOKafkaAdminClient(bootstrap_servers=platform.bootstrap)
    await admin.start()
    await admin.delete_topics([platform.topics.rules_state])
    await admin.close()
    await create_topics(platform.bootstrap, 4, topics=platform.topics)
    with worker(platform, home):
        first = await settled(platform)
        async with Shop(platform) as shop:
            shop.orders = 100_000
            await shop.more_is_on_the_log()
            await decided(platform, more_than=sum(len(on_log(records)) for records in first.values()))
        logs = await settled(platform)
    assert_as_decided_by_the_pure_engine(logs)
    # The inbox too: none was even sent again.
    sent: Counter[bytes] = Counter()
    for partition in range(4):
        sent.update(record.value for record in await records_in(platform.bootstrap, platform.topics.inbox, partition))
    decisions = [value for value in sent if codec.decode(value).source == "engage/rules" and b"follow_up" in value]
    assert len(decisions) > 200
    assert all(sent[value] == 1 for value in decisions)


async def test_a_rule_that_breaks_parks_its_account_and_tells_why(platform: KafkaPlatform, home: Path) -> None:
    async with Shop(platform) as shop:
        with worker(platform, home) as process:
            await decided(platform, more_than=100)
            await shop.more_is_on_the_log()
            assert process.poll() is None
    with worker(platform, home):
        logs = await settled(platform)
    assert_as_decided_by_the_pure_engine(logs)
    fragile = {event.subject for event in events(logs, "Order Completed") if event.subject.startswith(FRAGILE)}
    letters = []
    for partition in range(4):
        letters += await records_in(platform.bootstrap, platform.topics.dead_letters, partition)
    assert sorted(letter.key.decode() for letter in letters) == sorted(fragile), "once for each account"
    headers = dict(letters[0].headers)
    assert headers["engage-consumer"] == b"rule fragile"
    assert b"ZeroDivisionError: it broke" in headers["engage-faults"]
    partition, offset = int(headers["engage-partition"]), int(headers["engage-offset"])
    assert letters[0].value in [record.value for record in logs[partition] if record.offset == offset]
    others = events(logs, "follow_up.requested")
    assert {event.subject for event in others} >= fragile, "other rules go on with the account"
