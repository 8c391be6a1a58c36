"""The streams worker against Faust as it comes, on a real broker, and how long a decision takes.

Count and sum per account through the worker's own batch path, fenced and transactional, against an agent with a table;
all rules on the demo's mix against an agent with a table that only counts. Each run is a process of its own, timed from
its first event to its last commit. The latency is that of one worker with both agents: from just before an event is
published to the moment a reader of committed records sees the decision in the inbox; publisher and reader share the
machine with broker and worker. State is recovered from its changelog, as a worker's claim does it, against a table of
stock Faust; and a process holds the state of all rules for as many accounts as a worker should. Two workers on the two
cores that they, the broker and all else share say what a second worker brings there. Run:
``python -m benchmarks.streams`` (it starts the broker of scripts/local-kafka).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Raw

from benchmarks.harness import PROJECT, kafka, medians, report
from benchmarks.streams_load import PARTITIONS, fill, lived, orders
from benchmarks.streams_memory import megabytes
from benchmarks.streams_recovery import recovery, stock_recovery
from benchmarks.streams_together import WORKERS, together
from engage.events import codec
from engage.events.catalogue.commerce import OrderCompleted
from engage.events.catalogue.deliveries import DeliveryReceived
from engage.events.envelope import Event
from engage.log.kafka_publisher import KafkaPublisher
from engage.log.topics import Topics, create_topics
from engage.rules.decisions import TYPES as DECISIONS

ROUNDS, TOGETHER = 3, 2
ORDERS, LIVED, STOCK = 240_000, 100_000, 20_000
CELLS, ACCOUNTS = 200_000, 100_000
RATE, SECONDS, WARM_UP = 1_000, 24, 6
_STEP = 10
_READY_SECONDS = 60.0


def _topics() -> Topics:
    return Topics(f"bench-{uuid.uuid4().hex[:8]}")


async def _filled(bootstrap: str, events: list[Event[Raw]]) -> Topics:
    topics = _topics()
    await create_topics(bootstrap, PARTITIONS, topics=topics)
    await asyncio.sleep(1)
    await fill(bootstrap, topics, events)
    return topics


def _contender(name: str, bootstrap: str, events: Callable[[], list[Event[Raw]]], count: int) -> Callable[[], float]:
    """Times the contender over the first ``count`` of ``events``."""
    return lambda: float(_said(name, bootstrap, events(), count))


def _said(name: str, bootstrap: str, events: list[Event[Raw]], count: int) -> str:
    """The last word of a contender that is run over a log of its own."""
    topics = asyncio.run(_filled(bootstrap, events))
    command = [sys.executable, "-m", "benchmarks.streams_contenders", name, bootstrap, topics.prefix, str(count)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stdout}{done.stderr}")
    return done.stdout.strip().splitlines()[-1]


def _happened(number: int) -> Event[Raw]:
    """One in ten is a late delivery; the third of a supplier makes a rule speak."""
    now = datetime.now(UTC)
    data: Any = OrderCompleted(order_id=f"o-{number}", total=10.0)
    account = f"acc-{number % 1_000}"
    if number % 10 == 0:
        account = f"late-{number // 30}"
        promised = now - timedelta(days=30 + number % 7)
        data = DeliveryReceived(
            delivery_id=f"d-{number}", promised=promised, received=now, units_ordered=1, units_received=1
        )
    return codec.new_event(data, id=f"e-{number}", source="urn:engage:benchmark", subject=account, time=now)


async def _latencies(bootstrap: str) -> list[float]:
    """Milliseconds from publishing to the decision, for each decision after the warm-up."""
    topics = _topics()
    await create_topics(bootstrap, PARTITIONS, topics=topics)
    settings = {
        "ENGAGE_HOME": tempfile.mkdtemp(),
        "ENGAGE_LOG": f"kafka://{bootstrap}",
        "ENGAGE_TOPICS": topics.prefix,
    }
    command = [sys.executable, "-m", "engage", "worker", "streams"]
    reader = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", enable_auto_commit=False, fetch_max_wait_ms=5
    )
    worker = await asyncio.create_subprocess_exec(*command, env=os.environ | settings, stderr=subprocess.DEVNULL)
    try:
        async with KafkaPublisher(bootstrap, topics) as publisher, reader:
            await _active(reader, topics)
            return await _measured(publisher, reader)
    finally:
        worker.send_signal(signal.SIGTERM)
        await worker.wait()


async def _active(reader: Any, topics: Topics) -> None:
    """Wait until every partition has its rules active on the log."""
    logs = [TopicPartition(topics.interactions, partition) for partition in range(PARTITIONS)]
    async with asyncio.timeout(_READY_SECONDS):
        ends = [0]
        while not all(ends):
            ends = list((await reader.end_offsets(logs)).values())
            await asyncio.sleep(0.2)
    inbox = [TopicPartition(topics.inbox, partition) for partition in range(PARTITIONS)]
    reader.assign(inbox)
    for tp, end in (await reader.end_offsets(inbox)).items():
        reader.seek(tp, end)


async def _measured(publisher: KafkaPublisher, reader: Any) -> list[float]:
    sent: dict[str, float] = {}
    found: list[float] = []
    publishing = asyncio.create_task(_publish(publisher, sent))
    until = time.perf_counter() + SECONDS + 2
    begun = time.perf_counter() + WARM_UP
    while time.perf_counter() < until:
        for records in (await reader.getmany(timeout_ms=20)).values():
            seen = time.perf_counter()
            for record in records:
                event = codec.decode(record.value)
                published = sent.get(event.causationid or "")
                if event.type in DECISIONS and published is not None and published > begun:
                    found.append((seen - published) * 1_000)
    await publishing
    return found


async def _publish(publisher: KafkaPublisher, sent: dict[str, float]) -> None:
    begun = time.perf_counter()
    under_way = set()
    for first in range(0, RATE * SECONDS, _STEP):
        await asyncio.sleep(max(0.0, begun + first / RATE - time.perf_counter()))
        batch = [_happened(number) for number in range(first, first + _STEP)]
        sent.update(dict.fromkeys((event.id for event in batch), time.perf_counter()))
        task = asyncio.create_task(publisher.publish(batch))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)


def _engine_alone(**environment: str) -> dict[str, float]:
    """What ``benchmarks.streams_engine`` measures of the engine without Kafka, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.streams_engine", str(LIVED)]
    done = subprocess.run(command, cwd=PROJECT, env=os.environ | environment, capture_output=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> None:
    """Run the contenders and write ``benchmarks/results/streams.json``."""
    bootstrap = kafka()
    mix = lived(LIVED)
    figures = medians(
        {
            "count and sum: stock agent + Table, events/s": _contender(
                "stock-summing", bootstrap, lambda: orders(STOCK), STOCK
            ),
            "count and sum: this worker's batches, events/s": _contender(
                "counting", bootstrap, lambda: orders(ORDERS), ORDERS
            ),
            "demo's mix: stock agent + Table counting, events/s": _contender(
                "stock", bootstrap, lambda: mix[-STOCK:], STOCK
            ),
            "demo's mix: all rules, events/s": _contender("rules", bootstrap, lambda: mix, len(mix)),
            "recovery: stock Table, records/s": partial(stock_recovery(STOCK), bootstrap),
            "recovery: this worker's cells, records/s": partial(recovery(mix[:STOCK], CELLS), bootstrap),
        },
        ROUNDS,
    )
    stock_sum, ours_sum, stock_count, ours_rules, stock_back, ours_back = figures.values()
    a_core = medians(
        {
            f"a worker a core, demo's mix: {WORKERS} stock workers counting, events/s": partial(
                together, "stock", bootstrap, mix[-STOCK:]
            ),
            f"a worker a core, demo's mix: {WORKERS} workers with all rules, events/s": partial(
                together, "rules", bootstrap, mix
            ),
        },
        TOGETHER,
    )
    stock_a_core, ours_a_core = a_core.values()
    shares: dict[str, float] = json.loads(_said("rules-profile", bootstrap, mix, len(mix)))
    waits = [sorted(asyncio.run(_latencies(bootstrap))) for _ in range(ROUNDS)]
    alone = _engine_alone() | _engine_alone(ENGAGE_PURE="1")
    held, size = megabytes(mix, ACCOUNTS)
    half = statistics.median(wait[len(wait) // 2] for wait in waits)
    most = statistics.median(wait[len(wait) * 99 // 100] for wait in waits)
    report(
        "streams",
        "events/s; latency in ms",
        figures
        | alone
        | {f"demo's mix, % of the worker's time: {step}": share for step, share in shares.items()}
        | {"decisions timed in a run": statistics.median(map(len, waits)), "accounts held in memory": held},
        {
            "count and sum, ours / stock": (ours_sum / stock_sum, ">= 45"),
            "all rules / stock that only counts": (ours_rules / stock_count, ">= 10"),
            f"a worker a core: {WORKERS} / one stock worker": (ours_a_core / stock_count, "nothing"),
            f"a worker a core: {WORKERS} / {WORKERS} stock workers": (ours_a_core / stock_a_core, "nothing"),
            "recovery, ours / stock per record": (ours_back / stock_back, ">= 15"),
            f"all rules' state of {ACCOUNTS} accounts, MB": (size, "<= 1200"),
            f"publish to decision at {RATE} events/s, p50 ms": (half, "<= 100"),
            f"publish to decision at {RATE} events/s, p99 ms": (most, "<= 250"),
        },
    )


if __name__ == "__main__":
    main()
