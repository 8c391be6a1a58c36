"""Projecting processes that are joined, killed and paused: every event counts once, and the topics are the tables."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from engage.store.views import ViewStore
from tests.log.kafka_platform import KafkaPlatform
from tests.projections_worker.given import PATIENCE, projected, publish, town, worker
from tests.services.shop_views import spend

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(300)]


@pytest.fixture
async def platform(kafka: str) -> AsyncIterator[KafkaPlatform]:
    async with town(kafka) as platform:
        yield platform


async def test_one_that_joins_and_one_that_is_killed(platform: KafkaPlatform, home: Path, postgres_url: str) -> None:
    with worker(platform, home, postgres_url) as first:
        await publish(platform, 0, 200)
        await projected(platform, postgres_url)
        with worker(platform, home, postgres_url) as second:
            await publish(platform, 200, 400)
            await projected(platform, postgres_url)
            first.send_signal(signal.SIGKILL)
            await publish(platform, 400, 600)
            await projected(platform, postgres_url)
            second.terminate()
            assert await asyncio.to_thread(second.wait, 30) == 0


async def test_one_that_was_thought_dead_writes_nothing_wrong(
    platform: KafkaPlatform, home: Path, postgres_url: str
) -> None:
    with worker(platform, home, postgres_url) as zombie:
        await publish(platform, 0, 100)
        await projected(platform, postgres_url)
        await publish(platform, 100, 300)
        zombie.send_signal(signal.SIGSTOP)
        with worker(platform, home, postgres_url):
            await projected(platform, postgres_url)
            zombie.send_signal(signal.SIGCONT)
            await publish(platform, 300, 500)
            await projected(platform, postgres_url)
            zombie.terminate()
            assert await asyncio.to_thread(zombie.wait, 30) == 0


async def test_killed_at_any_moment(platform: KafkaPlatform, home: Path, postgres_url: str, rounds: int) -> None:
    chance = random.Random(20261124)
    for number in range(rounds):
        with worker(platform, home, postgres_url) as process:
            first = 300 * number
            await publish(platform, first, first + 100)
            if number:
                await projected(platform, postgres_url)
            work = asyncio.create_task(publish(platform, first + 100, first + 300))
            await asyncio.sleep(chance.uniform(0, 0.7))  # the moment of the blow, not a wait for something
            process.send_signal(signal.SIGKILL)
            await work
    with worker(platform, home, postgres_url):
        await projected(platform, postgres_url)


async def test_far_behind_it_folds_in_processes_of_its_own_and_may_be_killed_at_that(
    platform: KafkaPlatform, home: Path, postgres_url: str
) -> None:
    told = home / "worker.log"

    async def forked(times: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while not told.exists() or told.read_text().count("a fork has folded") < times:
                await asyncio.sleep(0.01)

    await publish(platform, 0, 600)
    await platform.settle()
    with worker(platform, home, postgres_url, "forked") as process:
        await forked(1)
        process.send_signal(signal.SIGKILL)
    before = told.read_text().count("a fork has folded")
    with worker(platform, home, postgres_url, "forked") as process:
        await publish(platform, 600, 800)
        await projected(platform, postgres_url)
        assert told.read_text().count("a fork has folded") > before
        process.terminate()
        assert await asyncio.to_thread(process.wait, 30) == 0


async def test_a_poison_event_parks_its_row_and_nobody_waits(
    platform: KafkaPlatform, home: Path, postgres_url: str
) -> None:
    await publish(platform, 0, 200, poison="acc-3")
    with worker(platform, home, postgres_url):
        await projected(platform, postgres_url)
    with closing(ViewStore(postgres_url)) as store:
        rows = {row.account: row.orders for row in store.select(spend)}
    assert rows == {f"acc-{number}": 5 for number in range(40) if number != 3}
