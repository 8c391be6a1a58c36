"""How fast a partition's state comes back after a failure: ours at its claim, and a table of stock Faust's.

``python -m benchmarks.streams_recovery ours|stock BOOTSTRAP PREFIX RECORDS`` is the process that recovers: it prints
records a second. Ours counts from before the last owner is fenced, with all that a claim does; stock Faust's from when
its partition is assigned.
"""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from itertools import islice, repeat
from typing import Any

import faust
import msgspec
import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from msgspec import Raw

from benchmarks.harness import PROJECT
from engage.events import codec
from engage.events.envelope import PARTITION_SUBJECT, Event
from engage.interpreter import tune
from engage.log.kafka import KafkaLog
from engage.log.topics import Topics, create_topics
from engage.rules.engine import ACTIVATED, Engine
from engage.rules.policy import PolicySettings
from engage.services.kafka_rules import PartitionRules
from engage.services.kafka_transaction import FencedProducer, Outgoing
from engage.services.rules_changelog import Place, written
from streams import RULES

_CHUNK = 8_000
_SECONDS = 100
_TABLE = "counts"


def recovery(mix: Sequence[Event[Raw]], records: int) -> Callable[[str], float]:
    """Times the claim of a partition with so many cells, made of the demo's mix; for a broker's address."""
    basis, cells = _cells(mix, records)

    async def fill(bootstrap: str, topics: Topics) -> None:
        layout = await create_topics(bootstrap, 1, topics=topics)
        producer = await FencedProducer(bootstrap, f"{topics.prefix}-rules-0", 0).claim()
        log = [Outgoing(event.subject.encode(), codec.encode(event)) for event in mix[:1]]
        await producer.commit([(topics.interactions, log)])
        for first in range(0, len(cells), _CHUNK):
            place = Place(layout.generation, 1, basis)
            await producer.commit([(topics.rules_state, written(place, cells[first : first + _CHUNK]))])
        await producer.close()

    return lambda bootstrap: _timed("ours", bootstrap, fill, records)


def stock_recovery(records: int) -> Callable[[str], float]:
    """Times stock Faust's recovery of a table with so many keys; for a broker's address."""

    async def fill(bootstrap: str, topics: Topics) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        changelog = _changelog(topics)
        await admin.create_topics([NewTopic(topics.interactions, 1, 1), NewTopic(changelog, 1, 1)])
        await admin.close()
        # Not in a transaction: its marker is counted by Faust, and waited for without end.
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
            sent = [
                await producer.send(changelog, orjson.dumps([number, 10.0]), orjson.dumps(f"acc-{number:06d}"))
                for number in range(records)
            ]
            await asyncio.gather(*sent)

    return lambda bootstrap: _timed("stock", bootstrap, fill, records)


def _cells(mix: Sequence[Event[Raw]], count: int) -> tuple[bytes, list[tuple[str, str, bytes]]]:
    """The basis, and so many cells of all rules after the demo's mix, of as many copies of its accounts as it takes."""
    engine = Engine(0, RULES)
    ours = f"{PARTITION_SUBJECT}0"
    for offset, event in enumerate(mix):
        if event.subject.startswith(PARTITION_SUBJECT) and event.subject != ours:
            continue
        here = codec.decode(codec.encode(event))
        here.partition, here.offset = 0, offset
        engine.fold(here)
        if here.type == ACTIVATED:
            opened = codec.open_data(here)
            engine.activate(opened, engine.predecessor(opened.data))
    kept = [(rule, account, value) for rule, account, value in engine.cells.changes() if value is not None]
    copies = (
        (rule, f"{account}-{copy}", value)
        for copy, all_kept in enumerate(repeat(kept))
        for rule, account, value in all_kept
    )
    return msgspec.msgpack.encode(engine.basis), list(islice(copies, count))


def _timed(name: str, bootstrap: str, fill: Any, records: int) -> float:
    topics = Topics(f"bench-{uuid.uuid4().hex[:8]}")
    asyncio.run(fill(bootstrap, topics))
    command = [sys.executable, "-m", "benchmarks.streams_recovery", name, bootstrap, topics.prefix, str(records)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=_SECONDS)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stdout}{done.stderr}")
    return float(done.stdout.strip().splitlines()[-1])


def _changelog(topics: Topics) -> str:
    """What Faust calls the changelog of its table."""
    return f"{topics.prefix}-{_TABLE}-changelog"


async def _ours(bootstrap: str, topics: Topics, records: int) -> float:
    tune()
    log = KafkaLog(bootstrap, topics)
    await log.start()
    begun = time.perf_counter()
    owner = await PartitionRules.claim(0, bootstrap, topics, log, RULES, PolicySettings())
    took = time.perf_counter() - begun
    held = len(owner._engine.cells)
    await owner.close()
    await log.stop()
    if held != records:
        raise RuntimeError(f"{held} cells came back of {records}")
    return records / took


def _stock(bootstrap: str, topics: Topics, records: int) -> None:
    app = faust.App(
        topics.prefix,
        broker=f"aiokafka://{bootstrap}",
        datadir=tempfile.mkdtemp(),
        store="memory://",
        topic_partitions=1,
        web_enabled=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
    )
    table = app.Table(_TABLE, default=lambda: [0, 0], partitions=1)
    begun = 0.0

    @app.on_partitions_assigned.connect  # type: ignore[arg-type]
    async def begin(*_: Any, **more: Any) -> None:
        nonlocal begun
        begun = time.perf_counter()

    @table.on_recover
    async def end() -> None:
        took = time.perf_counter() - begun
        sys.stdout.write(f"{records / took}\n" if len(table) == records else f"{len(table)} came back of {records}\n")
        sys.stdout.flush()
        os._exit(0)

    faust.Worker(
        app, loglevel="ERROR", quiet=True, redirect_stdouts=False, stdout=io.StringIO()
    ).execute_from_commandline()


def main() -> None:
    """Recover once."""
    name, bootstrap, prefix, records = sys.argv[1:]
    if name == "ours":
        sys.stdout.write(f"{asyncio.run(_ours(bootstrap, Topics(prefix), int(records)))}\n")
    else:
        _stock(bootstrap, Topics(prefix), int(records))


if __name__ == "__main__":
    main()
