"""What the tests of the streams worker share: workers as processes, and the pure engine's word on the same log."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

from msgspec import Raw

from engage.events import codec
from engage.events.envelope import Event
from engage.log.contract import Record, Taken
from engage.log.topics import BrokerUnavailableError
from engage.rules.decisions import TYPES as DECISIONS
from engage.rules.engine import ACTIVATED, Engine
from engage.rules.policy import PolicySettings
from engage.services.intake import Stamp
from engage.services.partition_runner import PartitionRunner
from engage.testing.log_contract import order, records_of
from tests.log.kafka_platform import KafkaPlatform
from tests.servers import PROJECT
from tests.streams_worker.probes import FRAGILE, RULES

PATIENCE = 60.0
BATCH = 30
PAUSE = 0.1


@contextmanager
def worker(platform: KafkaPlatform, home: Path, metrics_port: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """A streams worker in a process of its own, ended when the block is left."""
    module = "tests.streams_worker.process"
    command = [sys.executable, "-m", module, str(home), platform.bootstrap, platform.topics.prefix, str(metrics_port)]
    with (home / "worker.log").open("ab") as told, subprocess.Popen(command, cwd=PROJECT, stderr=told) as process:
        try:
            yield process
        finally:
            process.kill()


@asynccontextmanager
async def supervised(platform: KafkaPlatform, home: Path) -> AsyncIterator[list[int]]:
    """A streams worker that is started again whenever it ends; the codes it has ended with so far."""
    ended: list[int] = []

    async def keep() -> None:
        while True:
            with worker(platform, home) as process:
                ended.append(await asyncio.to_thread(process.wait))

    keeping = asyncio.create_task(keep())
    try:
        yield ended
    finally:
        assert not keeping.done(), keeping.exception()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


def pure(partition: int, records: Sequence[Record]) -> list[bytes]:
    """What a fresh engine decides on the same records, as bytes, without a look at the decisions among them."""
    engine = Engine(partition, RULES, PolicySettings(quiet_hours=None))
    runner = PartitionRunner(engine, Stamp(partition), 0, lambda end: [each for each in records if each.offset < end])
    return [codec.encode(decision) for decision in runner.fold(records)]


def on_log(records: Sequence[Record]) -> list[bytes]:
    """The decisions among the records as they were when the rules sent them: without what intake stamps on them."""
    found = []
    for record in records:
        event = codec.decode(record.value)
        if event.type in DECISIONS:
            event.recorded = event.inboxoffset = None
            found.append(codec.encode(event))
    return found


async def settled(platform: KafkaPlatform) -> dict[int, list[Record]]:
    """Every record by partition, once the log has all that was published and all that the pure engine decides on it."""
    await platform.settle()
    logs: dict[int, list[Record]] = {}
    try:
        async with asyncio.timeout(PATIENCE):
            for partition in range(platform.log.partitions):
                while True:
                    end = await platform.log.end(partition)
                    records = logs[partition] = await records_of(platform.log, partition)
                    if len(on_log(records)) >= len(pure(partition, records)):
                        break
                    await platform.log.wait({partition: end}, 1.0)
    except TimeoutError:
        pass  # the comparison says what is missing
    return logs


async def active(platform: KafkaPlatform) -> None:
    """Wait until every rule speaks on every partition: what is published from now on is decided on."""
    async with asyncio.timeout(PATIENCE):
        for partition in range(platform.log.partitions):
            while True:
                end = await platform.log.end(partition)
                logs = {partition: await records_of(platform.log, partition)}
                if len(events(logs, ACTIVATED)) > len(RULES):  # the policy is activated beside the rules
                    break
                await platform.log.wait({partition: end}, 1.0)


def assert_as_decided_by_the_pure_engine(logs: dict[int, list[Record]]) -> None:
    """The decisions on the log are the pure engine's, in its order and to the byte: none missing, none twice."""
    for partition, records in logs.items():
        decided, expected = on_log(records), pure(partition, records)
        assert Counter(decided) == Counter(expected), f"partition {partition}"
        assert decided == expected, f"partition {partition}: the same, but in another order"


def assert_each_once(logs: dict[int, list[Record]], orders: int) -> None:
    """So many orders were acknowledged, and each is on the log once; what was on its way when the shop shut may be."""
    counted = Counter(event.id for event in events(logs, "Order Completed"))
    assert {name: times for name, times in counted.items() if times > 1} == {}
    assert {f"order-{number}" for number in range(orders)} - set(counted) == set()


def events(logs: dict[int, list[Record]], *types: str) -> list[Event[Raw]]:
    """The events of these types on all partitions."""
    found = [codec.decode(record.value) for records in logs.values() for record in records]
    return [event for event in found if event.type in types]


class Shop:
    """Publishes orders without end while the block runs; what was answered is in the inbox."""

    def __init__(self, platform: KafkaPlatform) -> None:
        self._platform = platform
        self._work: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()
        self.orders = 0

    async def __aenter__(self) -> Shop:
        self._work = asyncio.create_task(self._publish())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._work
        assert not self._work.done(), self._work.exception()
        self._work.cancel()
        await asyncio.gather(self._work, return_exceptions=True)

    async def more_is_on_the_log(self, times: int = 1) -> None:
        """Wait until the log has taken what the shop publishes from now on, so many batches of it."""
        for _ in range(times):
            before = self.orders
            async with asyncio.timeout(PATIENCE), self._news:
                await self._news.wait_for(partial(self._published, before + 2 * BATCH))
            await self._platform.passed(dict(self._platform.highest))

    def _published(self, orders: int) -> bool:
        return self.orders >= orders

    async def _insist(self, batch: list[bytes]) -> None:
        while True:
            try:
                answers = await self._platform.publish(batch)
            except BrokerUnavailableError as error:
                assert "do the same again" in str(error)
            else:
                assert all(isinstance(answer, Taken) for answer in answers)
                return

    async def _publish(self) -> None:
        while True:
            numbers = range(self.orders, self.orders + BATCH)
            batch = [order(number, account_of(number)) for number in numbers]
            await asyncio.shield(self._insist(batch))
            self.orders += BATCH
            async with self._news:
                self._news.notify_all()
            await asyncio.sleep(PAUSE)


def account_of(number: int) -> str:
    """One in twenty is an account at which a rule breaks."""
    return f"{FRAGILE if number % 20 == 0 else 'account'}-{number % 60}"


async def decided(platform: KafkaPlatform, more_than: int) -> int:
    """Wait until the log holds more decisions than that; how many."""
    async with asyncio.timeout(PATIENCE):
        while True:
            ends = {partition: await platform.log.end(partition) for partition in range(platform.log.partitions)}
            found = sum([len(on_log(await records_of(platform.log, partition))) for partition in ends])
            if found > more_than:
                return found
            await asyncio.sleep(PAUSE)
