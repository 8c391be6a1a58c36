"""The worker while the ground shakes: a broker that crashes, and fellows that come and go faster than shares settle."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.log.kafka_platform import KafkaPlatform, kafka_platform
from tests.servers import KafkaBroker
from tests.streams_worker.given import (
    Shop,
    assert_as_decided_by_the_pure_engine,
    assert_each_once,
    decided,
    settled,
    supervised,
    worker,
)

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(900)]


@pytest.fixture
async def platform(kafka: str) -> AsyncIterator[KafkaPlatform]:
    async with kafka_platform(kafka, partitions=4) as platform:
        yield platform


async def test_a_broker_that_crashes_loses_nothing_that_was_acknowledged(
    platform: KafkaPlatform, home: Path, broker: KafkaBroker, rounds: int
) -> None:
    chance = random.Random(20260505)
    async with supervised(platform, home):
        async with Shop(platform) as shop:
            await decided(platform, more_than=0)
            for _ in range(2 + rounds // 10):
                await asyncio.sleep(chance.uniform(0, 0.5))
                await asyncio.to_thread(broker.kill)
                await asyncio.to_thread(broker.start)
                await shop.more_is_on_the_log()
        logs = await settled(platform)
    assert_each_once(logs, shop.orders)
    assert_as_decided_by_the_pure_engine(logs)


async def test_a_rebalance_storm_loses_nothing_and_doubles_nothing(
    platform: KafkaPlatform, home: Path, rounds: int
) -> None:
    chance = random.Random(20260506)
    async with supervised(platform, home):
        async with Shop(platform) as shop:
            seen = await decided(platform, more_than=0)
            for _ in range(rounds):
                with ExitStack() as crew:
                    joining = [crew.enter_context(worker(platform, home)) for _ in range(2)]
                    # About as long as it takes to join: some are struck before, some while shares are handed out.
                    for one in joining:
                        await asyncio.sleep(chance.uniform(1, 3))
                        one.send_signal(chance.choice([signal.SIGTERM, signal.SIGKILL]))
            await shop.more_is_on_the_log()
            await decided(platform, more_than=seen)
        logs = await settled(platform)
    assert_each_once(logs, shop.orders)
    assert_as_decided_by_the_pure_engine(logs)
