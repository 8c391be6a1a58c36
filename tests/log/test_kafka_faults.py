"""Intake workers that are killed or paused: every event is on the log exactly once, and nobody writes too late."""

import asyncio
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial

import pytest

from engage.events import codec
from engage.log.contract import Answer, Taken
from engage.log.topics import BrokerUnavailableError
from engage.services.edge import Edge
from engage.services.kafka_intake import KafkaIntake
from engage.testing.keyring import MemoryKeyring
from engage.testing.log_contract import ids_on, order, records_of
from tests.log.kafka_platform import KafkaPlatform, kafka_platform
from tests.servers import PROJECT, KafkaBroker

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(900)]

BATCH = 200
PAUSE = 0.02


@pytest.fixture
async def platform(kafka: str) -> AsyncIterator[KafkaPlatform]:
    async with kafka_platform(kafka, partitions=4) as platform:
        yield platform


@contextmanager
def worker(platform: KafkaPlatform) -> Iterator[subprocess.Popen[bytes]]:
    """An intake worker in a process of its own, ended when the block is left."""
    command = [sys.executable, "-m", "tests.log.intake_worker", platform.bootstrap, platform.topics.prefix]
    with subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


class Shop:
    """Publishes orders without end while the block runs, and remembers which were taken."""

    def __init__(self, platform: KafkaPlatform) -> None:
        self._platform = platform
        self._work: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()
        self.orders: list[str] = []

    async def __aenter__(self) -> "Shop":
        self._work = asyncio.create_task(self._publish())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._work
        assert not self._work.done(), self._work.exception()
        self._work.cancel()
        await asyncio.gather(self._work, return_exceptions=True)

    async def published_next(self) -> dict[int, int]:
        """The newest token of each partition, once every partition has a newer one than now."""
        before = dict(self._platform.highest)
        async with asyncio.timeout(60), self._news:
            await self._news.wait_for(lambda: all(self._platform.highest[each] > before[each] for each in before))
        return dict(self._platform.highest)

    async def _insist(self, batch: list[bytes]) -> list[Answer]:
        while True:
            try:
                return await self._platform.publish(batch)
            except BrokerUnavailableError as error:
                assert "do the same again" in str(error)

    async def _publish(self) -> None:
        while True:
            first = len(self.orders)
            batch = [order(number, f"account-{number % 50}") for number in range(first, first + BATCH)]
            answers = await asyncio.shield(self._insist(batch))
            assert all(isinstance(answer, Taken) for answer in answers)
            self.orders += [f"order-{number}" for number in range(first, first + BATCH)]
            async with self._news:
                self._news.notify_all()
            await asyncio.sleep(PAUSE)


async def written_after(platform: KafkaPlatform, before: dict[int, int]) -> None:
    """Wait until intake has gone beyond where it ``reached`` before, in a partition at least."""
    async with asyncio.timeout(60):
        while await reached(platform) == before:
            ends = {partition: await platform.log.end(partition) for partition in before}
            await platform.log.wait(ends, 0.1)


async def reached(platform: KafkaPlatform) -> dict[int, int]:
    return {partition: await platform.reached(partition) for partition in range(platform.log.partitions)}


async def assert_exactly_once(platform: KafkaPlatform, orders: list[str]) -> None:
    counted = Counter(await ids_on(platform.log))
    assert {name: times for name, times in counted.items() if times > 1} == {}
    # A batch on its way when the shop stopped may have been taken too; what was answered must be there.
    assert set(orders) - set(counted) == set()
    for partition in range(platform.log.partitions):
        records = await records_of(platform.log, partition)
        recorded = [record.recorded for record in records]
        assert recorded == sorted(recorded)
        offsets = [codec.decode(record.value).inboxoffset or 0 for record in records]
        assert offsets == sorted(set(offsets)), "each inbox record left at most one log record, in order"


async def test_a_killed_worker_loses_nothing_and_doubles_nothing(platform: KafkaPlatform, rounds: int) -> None:
    chance = random.Random(20260301)
    async with Shop(platform) as shop:
        for _ in range(rounds):
            before = await reached(platform)
            with worker(platform) as process:
                await written_after(platform, before)
                await asyncio.sleep(chance.uniform(0, 0.5))
                process.send_signal(signal.SIGKILL)
                assert process.wait(10) == -signal.SIGKILL
    with worker(platform) as last:
        await platform.settle()
        last.terminate()
        assert await asyncio.to_thread(last.wait, 20) == 0
    assert len(shop.orders) > BATCH
    await assert_exactly_once(platform, shop.orders)


async def test_a_worker_that_was_thought_dead_writes_nothing_when_it_wakes(
    platform: KafkaPlatform, rounds: int
) -> None:
    async with Shop(platform) as shop:
        for _ in range(1 + rounds // 10):
            with worker(platform) as zombie:
                await written_after(platform, await reached(platform))
                zombie.send_signal(signal.SIGSTOP)
                with worker(platform):
                    # What the shop publishes from here on, only the successor can bring onto the log.
                    await platform.passed(await shop.published_next())
                    zombie.send_signal(signal.SIGCONT)
                    # It ends by itself when it had a batch in hand, and joins again when it had none: both are right.
                    await platform.passed(await shop.published_next())
                    zombie.terminate()
                    assert await asyncio.to_thread(zombie.wait, 20) is not None
    with worker(platform):
        await platform.settle()
    await assert_exactly_once(platform, shop.orders)


async def test_a_broker_that_crashes_loses_nothing_that_it_had_taken(
    platform: KafkaPlatform, broker: KafkaBroker
) -> None:
    async with Shop(platform) as shop:
        with worker(platform) as process:
            await written_after(platform, await reached(platform))
            broker.kill()
            await asyncio.to_thread(broker.start)
            await platform.passed(await shop.published_next())
            process.terminate()
            await asyncio.to_thread(process.wait, 30)
    with worker(platform):
        await platform.settle()
    await assert_exactly_once(platform, shop.orders)


@asynccontextmanager
async def colleague(platform: KafkaPlatform) -> AsyncIterator[KafkaIntake]:
    """An intake worker in the test's own process, so that the test sees what it owns."""
    stop = asyncio.Event()
    edge = Edge(MemoryKeyring(), lambda: datetime.now(UTC))
    worker = KafkaIntake(platform.bootstrap, edge, topics=platform.topics)
    work = asyncio.create_task(worker.run(stop))
    try:
        yield worker
    finally:
        stop.set()
        await work


def shared(first: KafkaIntake, second: KafkaIntake) -> bool:
    return len(first.owned) == len(second.owned) == 2


async def eventually(platform: KafkaPlatform, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await platform.log.wait({0: await platform.log.end(0)}, 0.05)


async def test_workers_that_come_and_go_share_the_partitions_and_lose_nothing(
    platform: KafkaPlatform, rounds: int
) -> None:
    everything = frozenset(range(platform.log.partitions))
    async with Shop(platform) as shop, colleague(platform) as first:
        for _ in range(rounds):
            await eventually(platform, lambda: first.owned == everything)
            async with colleague(platform) as second:
                await eventually(platform, partial(shared, first, second))
                assert first.owned | second.owned == everything
                await platform.passed(await shop.published_next())
        await eventually(platform, lambda: first.owned == everything)
        await platform.passed(await shop.published_next())
    async with colleague(platform):
        await platform.settle()
    await assert_exactly_once(platform, shop.orders)
