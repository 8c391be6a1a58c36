"""What a kill -9 costs: the streams worker and Faust as it comes, killed alike while orders keep arriving.

Each counts orders per account and answers each order with a record, while the harness writes orders to the inbox of a
real broker, kills the worker at random moments (the same for all) and starts it again. Then every order should have one
answer, and each account's count, as a restart would read it back, should be the number of its orders. Ours goes all the
way: intake, log, rules, policy. Run: ``python -m benchmarks.faults`` (it starts the broker of scripts/local-kafka).
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.faults_contenders import (
    OURS,
    PARTITIONS,
    STOCK,
    STOCK_EXACTLY_ONCE,
    answers_topic,
    counting,
    group,
)
from benchmarks.harness import kafka, report
from engage.events import codec
from engage.events.catalogue.commerce import OrderCompleted
from engage.log.partitioning import partition_of
from engage.log.topics import Topics, create_topics
from engage.rules.decisions import TYPES as DECISIONS
from engage.rules.engine import ACTIVATED
from engage.services.rules_changelog import committed, load

KILLS = 3
ACCOUNTS = 200
RATE, STEP = 500, 10
_PATIENCE = 45.0
_QUIET = 12.0
_SEED = 20260401


class Load:
    """Orders that keep arriving; ``sent`` are those that the broker has acknowledged, by account."""

    def __init__(self, producer: Any, topics: Topics) -> None:
        self.sent: Counter[str] = Counter()
        self.orders = 0
        self._producer = producer
        self._topics = topics

    async def run(self) -> None:
        """Write orders until cancelled."""
        begun = time.perf_counter()
        while True:
            await asyncio.sleep(max(0.0, begun + self.orders / RATE - time.perf_counter()))
            await asyncio.shield(self._step())

    async def _step(self) -> None:
        numbers = range(self.orders, self.orders + STEP)
        self.orders += STEP
        futures = [await self._send(number) for number in numbers]
        await asyncio.gather(*futures)
        self.sent.update(f"account-{number % ACCOUNTS}" for number in numbers)

    async def _send(self, number: int) -> Any:
        account, name = f"account-{number % ACCOUNTS}", f"order-{number}"
        data = OrderCompleted(order_id=name, total=10.0)
        event = codec.new_event(data, id=name, source="urn:benchmark", subject=account, time=datetime.now(UTC))
        home = partition_of(account, PARTITIONS)
        return await self._producer.send(self._topics.inbox, codec.encode(event), account.encode(), partition=home)


class Answers:
    """Follows a topic: how often each order was answered, of what is committed."""

    def __init__(self, consumer: Any, read: Callable[[bytes], str | None]) -> None:
        self.counts: Counter[str] = Counter()
        self.active = 0
        self._consumer = consumer
        self._read = read
        self._news = asyncio.Condition()

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            for records in (await self._consumer.getmany(timeout_ms=100)).values():
                for record in records:
                    answered = self._read(record.value)
                    if answered == ACTIVATED:
                        self.active += 1
                    elif answered is not None:
                        self.counts[answered] += 1
            async with self._news:
                self._news.notify_all()

    async def reach(self, condition: Callable[[], bool], seconds: float = _PATIENCE) -> None:
        """Wait for it, but not for ever: a contender that hangs has lost what it does not answer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async with self._news:
                    await self._news.wait_for(condition)

    async def fall_silent(self, orders: int) -> None:
        """Wait until every order is answered, or nothing comes any more: at first a worker has to recover."""
        seen = self.counts.total()
        await self.reach(lambda: self.counts.total() > seen or len(self.counts) >= orders)
        seen = -1
        while len(self.counts) < orders and seen != self.counts.total():
            seen = self.counts.total()
            await self.reach(lambda: len(self.counts) >= orders, _QUIET)


@asynccontextmanager
async def _worker(name: str, bootstrap: str, topics: Topics, home: str) -> AsyncIterator[Any]:
    command = [sys.executable, "-m", "benchmarks.faults_contenders", name, bootstrap, topics.prefix, home]
    with (Path(home) / "worker.log").open("ab") as told:
        process = await asyncio.create_subprocess_exec(*command, stdout=told, stderr=told)
    try:
        yield process
    finally:
        await _end(process, signal.SIGKILL)


async def _end(process: Any, how: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # some end by themselves
        process.send_signal(how)
    await process.wait()


@asynccontextmanager
async def _in_background(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _history(name: str, bootstrap: str) -> dict[str, float]:
    """One contender through the history of kills; what it has lost and doubled."""
    topics, home, chance = Topics(f"bench-{uuid.uuid4().hex[:8]}"), tempfile.mkdtemp(), random.Random(_SEED)
    await create_topics(bootstrap, PARTITIONS, topics=topics)
    watched = topics.interactions if name == OURS else answers_topic(topics)
    if name != OURS:
        await _create(bootstrap, watched)
    consumer = AIOKafkaConsumer(
        watched, bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    answers = Answers(consumer, _decision if name == OURS else bytes.decode)
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer, consumer:
        load_ = Load(producer, topics)
        async with _in_background(answers.run()):
            if name == OURS:  # rules fold in silence what came before they were activated
                async with _worker(name, bootstrap, topics, home):
                    await answers.reach(lambda: answers.active >= 2 * PARTITIONS)
            async with _in_background(load_.run()):
                for _ in range(KILLS):
                    async with _worker(name, bootstrap, topics, home) as process:
                        before = answers.counts.total()
                        await answers.reach(lambda before=before: answers.counts.total() > before)  # type: ignore[misc]
                        await asyncio.sleep(chance.uniform(0.5, 3))
                        await _end(process, signal.SIGKILL)
            for _ in range(KILLS):
                async with _worker(name, bootstrap, topics, home) as process:
                    await answers.fall_silent(load_.orders)
                    by_itself = process.returncode is not None
                    await _end(process, signal.SIGTERM)
                if not by_itself:
                    break
    counts = await (_our_counts if name == OURS else _stock_counts)(bootstrap, topics)
    return _compared(load_, answers.counts, counts)


async def _create(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    finally:
        await admin.close()


def _compared(load_: Load, answers: Mapping[str, int], counts: Mapping[str, int]) -> dict[str, float]:
    off = [counts.get(account, 0) - sent for account, sent in load_.sent.items()]
    return {
        "orders": load_.orders,
        "orders without an answer": sum(f"order-{number}" not in answers for number in range(load_.orders)),
        "answers too many": sum(times - 1 for times in answers.values()),
        "counted too few": -sum(each for each in off if each < 0),
        "counted too many": sum(each for each in off if each > 0),
    }


def _decision(value: bytes) -> str | None:
    event = codec.decode(value)
    if event.type in DECISIONS:
        return str(msgspec.json.decode(event.data)["about"])
    return ACTIVATED if event.type == ACTIVATED else None


async def _our_counts(bootstrap: str, topics: Topics) -> dict[str, int]:
    counts = {}
    for partition in range(PARTITIONS):
        for rule, account, cell in (await load(bootstrap, topics.rules_state, partition)).cells:
            if rule == counting.name:
                counts[account] = int(orjson.loads(cell)["state"]["count"])
    return counts


async def _stock_counts(bootstrap: str, topics: Topics) -> dict[str, int]:
    counts: dict[str, int] = {}
    for partition in range(PARTITIONS):
        changelog = TopicPartition(f"{group(topics)}-counts-changelog", partition)
        async for records in committed(bootstrap, changelog):
            counts.update((orjson.loads(record.key), orjson.loads(record.value)) for record in records)
    return counts


def main() -> None:
    """Run the contenders and write ``benchmarks/results/faults.json``."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it warns of topics that were made a moment ago
    bootstrap = kafka()
    figures: dict[str, float] = {}
    titles = {
        OURS: "this worker",
        STOCK: "stock agent + Table",
        STOCK_EXACTLY_ONCE: "stock, exactly_once",
    }
    for name, title in titles.items():
        found = asyncio.run(_history(name, bootstrap))
        figures |= {f"{title}: {what}": value for what, value in found.items()}
    ours = [value for what, value in figures.items() if what.startswith("this worker") and not what.endswith("orders")]
    report(
        "faults",
        f"orders, {KILLS} kill -9 while they arrive at {RATE} a second",
        figures,
        {"lost or doubled by this worker": (sum(ours), "0")},
    )


if __name__ == "__main__":
    main()
