"""The projector against a loop written by hand, SQL event by event, and a library's runner; and how soon a view knows.

Count and sum per account from a real broker into SQLite; all read models on the demo's mix into SQLite and PostgreSQL,
each held against one view of the same mix that is kept by one SQL statement and transaction an event in the same
database, and is exactly-once as ours are: the position of the log moves in that transaction. The quickest way to do so
that we know is what counts, in PostgreSQL one statement for both; two statements, and no position, are told as well.
Each run is a process of its own, timed with its connections, and long enough that these are a twentieth of it or less.
The latency is from just before an event is published to the moment a reader that waits with its token is let through:
on Kafka by way of the streams worker, and embedded with a process that folds beside, as ``engage up`` has it.
Run: ``python -m benchmarks.projections`` (it starts the broker of scripts/local-kafka).
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from msgspec import Raw

from benchmarks.harness import medians, report
from benchmarks.streams_load import PARTITIONS, fill, lived, orders
from engage import bootstrap
from engage.cli import folding
from engage.events import codec
from engage.events.catalogue.commerce import OrderCompleted
from engage.events.envelope import Event
from engage.interpreter import answer, tune
from engage.log.contract import Taken
from engage.log.topics import Topics, create_topics
from engage.services.waiting import Waiting
from projections.shared.account_health import account_health
from tests.servers import fresh_database, kafka_broker, postgres_server

PROJECT = Path(__file__).resolve().parent.parent
ROUNDS = 3
ORDERS, FEWER, LIVED = 1_000_000, 400_000, 60_000
ORDERS_BY_EVENT, BY_EVENT, BY_EVENT_POSTGRESQL, LIBRARY = 200_000, 60_000, 10_000, 5_000
RATE, SECONDS, WARM_UP = 1_000, 40, 10
"""The warm-up is not measured: while brokers and workers are new, what is published waits for up to two seconds."""
_BATCH = 10


def _topics() -> Topics:
    return Topics(f"bench-{uuid.uuid4().hex[:8]}")


async def _filled(kafka: str, events: list[Event[Raw]]) -> Topics:
    topics = _topics()
    await create_topics(kafka, PARTITIONS, topics=topics)
    await asyncio.sleep(1)
    await fill(kafka, topics, events)
    return topics


def _said(name: str, kafka: str, topics: Topics, count: int, **environment: str) -> list[str]:
    """What a contender prints, line by line."""
    command = [sys.executable, "-m", "benchmarks.projections_contenders", name, kafka, topics.prefix, str(count)]
    done = subprocess.run(
        command, cwd=PROJECT, env=os.environ | environment, capture_output=True, text=True, timeout=600
    )
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stdout}{done.stderr}")
    return done.stdout.splitlines()


def _run(name: str, kafka: str, topics: Topics, count: int, views: str = "", placed: str = "") -> tuple[float, float]:
    """Events per second, and the most memory in MB."""
    rate, memory = _said(name, kafka, topics, count, BENCH_VIEWS=views, BENCH_PLACED=placed)[-2:]
    return float(rate), float(memory)


def _profile(kafka: str, topics: Topics, count: int) -> dict[str, float]:
    """Per cent of the processor time by step, all read models on SQLite."""
    shares: dict[str, float] = msgspec.json.decode(_said("all_models", kafka, topics, count, BENCH_PROFILE="1")[-3])
    return {f"profile of all read models on SQLite, % {step}": share for step, share in shares.items()}


def _on_postgresql(name: str, server: str, kafka: str, topics: Topics, count: int, placed: str = "") -> float:
    with fresh_database(server) as url:
        return _run(name, kafka, topics, count, url, placed)[0]


def _order(number: int) -> Event[Raw]:
    data = OrderCompleted(order_id=f"o-{number}", total=10.0)
    account, now = f"acc-{number % 1_000}", datetime.now(UTC)
    return codec.new_event(data, id=f"e-{number}", source="urn:engage:benchmark", subject=account, time=now)


async def _latencies(settings: dict[str, str], workers: list[str]) -> list[float]:
    """Milliseconds from publishing to reading, at ``RATE`` events a second, one reader in every batch of ten."""
    commands = [[sys.executable, "-m", "engage", "worker", name] for name in workers]
    environment = os.environ | settings
    running = [
        await asyncio.create_subprocess_exec(*command, env=environment, stderr=subprocess.DEVNULL)
        for command in commands
    ]
    try:
        ours = bootstrap.settings(settings)
        beside = () if workers else folding.command(ours)
        async with bootstrap.platform(ours, folding=beside) as platform:
            answer()
            return await _measured(platform, works=not workers)
    finally:
        for one in running:
            if one.returncode is None:
                one.send_signal(signal.SIGTERM)
            await one.wait()


async def _measured(platform: Any, *, works: bool) -> list[float]:
    waiting: Waiting = platform.waiting
    stop, found, readers = asyncio.Event(), list[float](), set[asyncio.Task[None]]()
    work = asyncio.create_task(platform.run(stop)) if works else None

    async def read(token: str, since: float, counts: bool) -> None:
        await waiting.until(token, [account_health], 30)
        if counts:
            found.append((time.perf_counter() - since) * 1_000)

    async with waiting.listening():
        [first] = await platform.publish([_order(0)])
        await waiting.until(str(first.token), [account_health], 60)  # everyone is up and at work
        begun = time.perf_counter()
        for number in range(1, RATE * SECONDS, _BATCH):
            due = begun + number / RATE
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            since = time.perf_counter()
            answers = await platform.publish([_order(number + more) for more in range(_BATCH)])
            assert isinstance(answers[-1], Taken)
            counts = since - begun > WARM_UP
            readers.add(asyncio.create_task(read(str(answers[-1].token), since, counts)))
        await asyncio.gather(*readers)
    stop.set()
    if work:
        await work
    return found


def _quantiles(latencies: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(latencies, n=100)
    return cuts[49], cuts[98]


def main() -> None:
    """Run the contenders and write ``benchmarks/results/projections.json``."""
    tune()
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory(prefix="pg") as data,
        kafka_broker(Path(folder) / "kafka") as broker,
        postgres_server(Path(data)) as server,
    ):
        kafka = broker.address
        few = asyncio.run(_filled(kafka, orders(FEWER)))
        many = asyncio.run(_filled(kafka, orders(ORDERS)))
        mix = asyncio.run(_filled(kafka, lived(LIVED)))

        def each(placed: str = "") -> float:
            return _run("mix_by_event", kafka, mix, BY_EVENT, placed=placed)[0]

        def each_on_postgresql(placed: str = "") -> float:
            name = "mix_by_event_postgresql"
            return _on_postgresql(name, server, kafka, mix, BY_EVENT_POSTGRESQL, placed)

        contenders: dict[str, Callable[[], float]] = {
            "count and sum: the projector": lambda: _run("ours", kafka, many, ORDERS)[0],
            "count and sum: a loop by hand": lambda: _run("by_hand", kafka, many, ORDERS)[0],
            "count and sum: SQL event by event": lambda: _run("by_event", kafka, many, ORDERS_BY_EVENT)[0],
            "count and sum: SQL event by event, PostgreSQL": lambda: _on_postgresql(
                "by_event_postgresql", server, kafka, few, BY_EVENT_POSTGRESQL
            ),
            "count and sum: eventsourcing's runner": lambda: _on_postgresql("library", server, kafka, few, LIBRARY),
            "all read models, SQLite": lambda: _run("all_models", kafka, mix, LIVED)[0],
            "all read models, PostgreSQL": lambda: _on_postgresql("all_models", server, kafka, mix, LIVED),
            "one view of the mix event by event, SQLite": lambda: each("one"),
            "one view of the mix event by event, PostgreSQL": lambda: each_on_postgresql("one"),
            "the same as two statements, PostgreSQL": lambda: each_on_postgresql("two"),
            "the same without its position, SQLite": each,
            "the same without its position, PostgreSQL": each_on_postgresql,
        }
        figures = medians(contenders, rounds=ROUNDS)
        profile = _profile(kafka, mix, LIVED)
        short = _run("ours", kafka, few, FEWER)[1]
        long = _run("ours", kafka, many, ORDERS)[1]
        with fresh_database(server) as url:
            settings = {
                "ENGAGE_HOME": str(Path(folder) / "home"),
                "ENGAGE_LOG": f"kafka://{kafka}",
                "ENGAGE_TOPICS": _topics().prefix,
                "ENGAGE_VIEWS": url,
            }
            topics = bootstrap.topics(bootstrap.settings(settings))
            asyncio.run(create_topics(kafka, PARTITIONS, topics=topics))
            on_kafka = _quantiles(asyncio.run(_latencies(settings, ["streams", "projections"])))
        embedded = _quantiles(uvloop.run(_latencies({"ENGAGE_HOME": str(Path(folder) / "embedded")}, [])))
    mine, hand, by_event, _, runner, sqlite, postgresql, one_sqlite, one_postgresql, in_two, *_ = figures.values()
    memory = {f"memory after {FEWER:,} events, MB": short, f"memory after {ORDERS:,} events, MB": long}
    report(
        "projections",
        "events/s; latency in ms; memory in MB",
        figures | memory | profile,
        {
            "the projector / a loop by hand": (mine / hand, ">= 0.9"),
            "the projector / SQL event by event": (mine / by_event, ">= 6"),
            "the projector / eventsourcing's runner": (mine / runner, ">= 50"),
            "all read models on SQLite / one view of it event by event": (sqlite / one_sqlite, ">= 4"),
            "all read models on PostgreSQL / one view of it event by event": (postgresql / one_postgresql, ">= 4"),
            "all read models on PostgreSQL / the same as two statements": (postgresql / in_two, "for information"),
            "memory, long / short": (long / short, "about 1"),
            "publish to view on Kafka at 1000 events/s, p50 ms": (on_kafka[0], "<= 100"),
            "publish to view on Kafka at 1000 events/s, p99 ms": (on_kafka[1], "<= 250"),
            "publish to view embedded at 1000 events/s, p50 ms": (embedded[0], "<= 10"),
            "publish to view embedded at 1000 events/s, p99 ms": (embedded[1], "<= 25"),
        },
    )


if __name__ == "__main__":
    main()
