"""The workers that ``benchmarks.streams`` times, each a process of its own that prints events a second and ends.

python -m benchmarks.streams_contenders NAME BOOTSTRAP PREFIX EVENTS; with 0 events it is one of several, and goes on.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import faust
import orjson
from aiokafka import TopicPartition

from benchmarks.streams_load import LoneKey
from benchmarks.streams_profile import WorkerProfile
from engage.log.topics import Topics
from engage.rules.policy import PolicySettings
from engage.services.edge import Edge
from engage.services.kafka_transaction import FencedProducer
from engage.services.rules_changelog import Place, load, written
from engage.services.streams_claims import StreamsClaims
from engage.services.streams_shares import Owner
from engage.settings import Settings
from streams import RULES
from streams.worker import StreamsApp, run, sharing_app

TOLD = "told"
"""Begins the lines of ``Told``."""
STEP = 20
"""Events that ``Told`` may keep to itself."""

_loads = orjson.loads


class Meter:
    """Times from the first event to the last one, then ends the process; with a ``profile``, says what that says."""

    def __init__(self, events: int, profile: WorkerProfile | None = None) -> None:
        self.left = events
        self._events = events
        self._begun = 0.0
        self._profile = profile

    def begin(self) -> None:
        """The first event is here."""
        if not self._begun:
            self._begun = time.perf_counter()
            if self._profile:
                self._profile.begin()

    def done(self, count: int) -> None:
        """So many are done, committed if that is what the contender does."""
        self.left -= count
        if self.left <= 0:
            rate = self._events / (time.perf_counter() - self._begun)
            sys.stdout.write(f"{orjson.dumps(self._profile.shares()).decode() if self._profile else rate}\n")
            sys.stdout.flush()
            os._exit(0)


class Told(Meter):
    """Tells whoever has started several workers, in lines, the moment and how many events more are done by then."""

    def __init__(self) -> None:
        super().__init__(0)
        self._untold = 0

    def begin(self) -> None:
        """The first event is here."""
        if not self._begun:
            self._begun = time.monotonic()
            self._tell()

    def done(self, count: int) -> None:
        """So many are done; up to ``STEP`` are told later."""
        self._untold += count
        if self._untold >= STEP:
            self._tell()

    def _tell(self) -> None:
        sys.stdout.write(f"{TOLD} {time.monotonic()} {self._untold}\n")
        sys.stdout.flush()
        self._untold = 0


class Counting:
    """Count and sum per account; state and source offset in one fenced transaction a batch."""

    def __init__(self, producer: FencedProducer, topic: str, meter: Meter) -> None:
        self._producer = producer
        self._topic = topic
        self._meter = meter
        self._state: dict[str, list[float]] = {}

    async def take(self, records: Sequence[Any], now: datetime) -> None:
        self._meter.begin()
        changed: dict[str, list[float]] = {}
        for record in records:
            event = _loads(record.value)
            account = event["subject"]
            cell = changed.get(account)
            if cell is None:
                cell = changed[account] = self._state.setdefault(account, [0, 0])
            cell[0] += 1
            cell[1] += event["data"]["total"]
        cells = [("count", account, orjson.dumps(cell)) for account, cell in changed.items()]
        place = Place("", records[-1].offset + 1, b"")
        await self._producer.commit([(self._topic, written(place, cells))])
        self._meter.done(len(records))

    async def idle(self, now: datetime) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        await self._producer.close()


class Timed:
    """The rules of a partition, timed."""

    def __init__(self, owner: Owner, meter: Meter) -> None:
        self._owner = owner
        self._meter = meter

    async def take(self, records: Sequence[Any], now: datetime) -> None:
        self._meter.begin()
        await self._owner.take(records, now)
        self._meter.done(len(records))

    async def idle(self, now: datetime) -> None:
        """The clock of today has no say in a history."""

    async def close(self) -> None:
        await self._owner.close()


def counting(bootstrap: str, topics: Topics, meter: Meter) -> StreamsApp:
    """Count and sum through the worker's own batch path."""

    async def claim(tp: TopicPartition) -> tuple[Owner, int]:
        producer = await FencedProducer(bootstrap, f"{topics.prefix}-count-{tp.partition}", tp.partition).claim()
        stored = await load(bootstrap, topics.rules_state, tp.partition)
        return Counting(producer, topics.rules_state, meter), stored.place.position if stored.place else 0

    return _app(bootstrap, topics, claim)


def rules(bootstrap: str, topics: Topics, meter: Meter) -> StreamsApp:
    """All rules and the policy, as the worker runs them."""

    def now() -> datetime:
        return datetime.now(UTC)

    claims = StreamsClaims(bootstrap, topics, Edge(LoneKey(), now), RULES, PolicySettings(), now)

    async def claim(tp: TopicPartition) -> tuple[Owner, int]:
        owner, position = await claims.claim(tp)
        return Timed(owner, meter), position

    return _app(bootstrap, topics, claim)


def stock(bootstrap: str, topics: Topics, meter: Meter, *, summing: bool) -> faust.App:
    """Faust as it comes: an agent with a table, a task for each event."""
    app = faust.App(
        group_of("stock", topics),
        broker=f"aiokafka://{bootstrap}",
        datadir=tempfile.mkdtemp(),
        store="memory://",
        topic_partitions=4,
        value_serializer="raw",
        web_enabled=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
    )
    source = app.topic(topics.interactions)
    table = app.Table("counts", default=lambda: [0, 0], partitions=4)

    @app.agent(source)
    async def count(events: Any) -> None:
        async for value in events:
            meter.begin()
            event = _loads(value)
            cell = table[event["subject"]]
            table[event["subject"]] = [cell[0] + 1, cell[1] + event["data"]["total"] if summing else 0]
            meter.done(1)

    return app


def _app(bootstrap: str, topics: Topics, claim: Any) -> StreamsApp:
    settings = Settings(home=tempfile.mkdtemp(), log=f"kafka://{bootstrap}", topics=topics.prefix)
    app = sharing_app(settings, group_of("ours", topics), {"work": topics.interactions}, claim)
    app.closing = _nothing
    return app


def group_of(name: str, topics: Topics) -> str:
    """The consumer group of a contender's workers."""
    return f"{topics.prefix}-{'stock' if name.startswith('stock') else 'ours'}"


async def _nothing() -> None:
    return None


def main() -> None:
    """Run one contender."""
    name, bootstrap, prefix, events = sys.argv[1:]
    topics = Topics(prefix)
    profile = WorkerProfile() if name == "rules-profile" else None
    meter = Meter(int(events), profile) if int(events) else Told()
    if name == "counting":
        run(counting(bootstrap, topics, meter))
    elif name in ("rules", "rules-profile"):
        run(rules(bootstrap, topics, meter))
    else:
        faust.Worker(
            stock(bootstrap, topics, meter, summing=name == "stock-summing"), loglevel="ERROR", redirect_stdouts=False
        ).execute_from_commandline()


if __name__ == "__main__":
    main()
