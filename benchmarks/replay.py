"""Looking back on a log of a million events: what-if against the bare engine, and read models as they stood.

The log is the demo's history, so many times over for as many customers, recorded as it happened, in SQLite. The bare
engine folds what lies in memory: it decodes a record, hands it to the rules, and neither reads, compares nor tells.
What-if answers for every record both ways, from the first process that it starts to its answer: its rate counts each
twice. With one setting that differs most of that is folded once for both ways; with every rule another, nothing is.
Run: ``python -m benchmarks.replay``; ``--records 100000`` for a shorter log.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec import Raw, structs

from benchmarks.harness import PROJECT, medians, report
from engage import bootstrap
from engage.demo.history import history
from engage.events import codec
from engage.events.envelope import Event
from engage.interpreter import tune
from engage.log.contract import Record
from engage.log.partitioning import partition_of
from engage.log.sqlite import SqliteLog, Writes
from engage.rules.deciding import Basis
from engage.rules.engine import Engine
from engage.services.as_of import as_of
from engage.services.prefix import ends_at
from engage.services.projector import Projector
from engage.services.reading import WHOLE, Reading
from engage.services.snapshots import Snapshots
from engage.services.supposing import Supposed
from engage.services.what_if import what_if
from engage.services.whole_as_of import whole_as_of
from engage.settings import Settings
from engage.store.views import ViewStore
from projections.shared.account_health import account_health
from projections.shared.timeline import timeline
from streams import RULES

RECORDS = 1_000_000
ROUNDS = 3
ACCOUNTS = 20
NOW = datetime(2026, 11, 1, 18, tzinfo=UTC)
SUPPOSED = Supposed(settings=("rules.win-back.at_least=90d",))
EVERY_RULE = Supposed(paths=tuple(str(PROJECT / "streams" / folder) for folder in ("customers", "partners")))
"""The same rules from their files once more: what-if takes each of them for another."""
_COMMIT = 20_000


def lived(count: int) -> Iterator[Event[Raw]]:
    """The demo's history for so many times its customers as ``count`` events need, in the order of time."""
    whole = history(today=date(2026, 11, 1), now=NOW, scale=1.0)
    events = list(whole)
    times = -(-count // len(events))
    for event in islice(events, count // times):
        for time_ in range(times):
            yield structs.replace(
                event, subject=f"{event.subject}.{time_}", id=f"{event.id}.{time_}", recorded=event.time
            )


def fill(path: Path, count: int) -> None:
    """A log of ``count`` events at ``path``."""
    with closing(SqliteLog(path)) as log, log.hurried():
        ends = dict.fromkeys(range(log.partitions), 0)
        coming = lived(count)
        while events := list(islice(coming, _COMMIT)):
            writes = Writes()
            for event in events:
                partition = partition_of(event.subject, log.partitions)
                writes.records.append(Record(partition, ends[partition], event.now, codec.encode(event)))
                ends[partition] += 1
                writes.ends[partition] = (ends[partition], event.now)
            log.commit(writes)


def bare(path: Path) -> float:
    """Records per second of the engine alone, on one partition."""
    with closing(SqliteLog(path, read_only=True)) as log:
        records = list(log.scan(0))
    engine = Engine(0, RULES)
    engine.resume({one.rule: Basis(one.rule_version, one.settings, 0) for one in engine.activations()}, 0, ())
    read = codec.reader(engine.wanted)
    gc.disable()  # as what-if has it
    began = time.perf_counter()
    for record in records:
        event = read(record.value)
        event.partition, event.offset = 0, record.offset
        engine.fold(event)
    taken = time.perf_counter() - began
    gc.enable()
    return len(records) / taken


def supposed(settings: Settings, what: Supposed) -> float:
    """Records per second, each of them counted both ways."""
    began = time.perf_counter()
    found = what_if(partial(bootstrap.reading_log, settings), partial(bootstrap.rules, settings), what, NOW)
    assert bool(found.changes) == (what is SUPPOSED), "another setting makes a difference, another file makes none"
    return 2 * found.records / (time.perf_counter() - began)


async def accounts(settings: Settings, store: ViewStore) -> list[float]:
    """Milliseconds that an account's page takes as it stood half a year ago, one after the other."""
    then, taken = NOW - timedelta(days=182), list[float]()
    async with bootstrap.reading_log(settings) as log:
        entries = store.select(timeline, {"type": "Order Completed"}, limit=ACCOUNTS)
        for account in dict.fromkeys(entry.account for entry in entries):
            began = time.perf_counter()
            async with as_of(log, WHOLE, then, NOW, account=account, store=store) as made:
                assert Reading(made, lambda: then).account(account) is not None
            taken.append(1_000 * (time.perf_counter() - began))
    return taken


async def wholes(settings: Settings, snapshots: Snapshots) -> dict[str, float]:
    """Records per second of a whole model folded from the start, and seconds for it where there are snapshots."""
    then = NOW - timedelta(days=182)
    async with bootstrap.reading_log(settings) as log:
        records = sum((await ends_at(log, then)).values())

        @asynccontextmanager
        async def taken(moment: datetime) -> Any:
            began = time.perf_counter()
            async with whole_as_of(log, account_health, moment, NOW, snapshots) as made:
                assert made.count(account_health)
                yield time.perf_counter() - began

        async with taken(then) as first, taken(then) as again, taken(then + timedelta(days=7)) as later:
            return {
                "account_health as of then, from the start, records/s": records / first,
                "the same again, ms": 1_000 * again,
                "a week later, by the nearest snapshot, ms": 1_000 * later,
            }


async def live(settings: Settings) -> float:
    """Fold the timeline, which says where an account's records stand; records per second."""
    began = time.perf_counter()
    async with bootstrap.reading_log(settings) as log:
        with closing(bootstrap.view_store(settings)) as store:
            done = await (await Projector.opened(log, store, [timeline])).catch_up()
    return done / (time.perf_counter() - began)


def main() -> None:
    """Run it and write ``benchmarks/results/replay.json``."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--records", type=int, default=RECORDS)
    count = asked.parse_args().records
    tune()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=folder)
        path = bootstrap.log_path(settings)
        fill(path, count)
        figures = medians(
            {
                "the bare engine, one process, records/s": lambda: bare(path),
                "what-if with another setting, both ways, records/s": lambda: supposed(settings, SUPPOSED),
                "what-if with every rule another, both ways, records/s": lambda: supposed(settings, EVERY_RULE),
            },
            rounds=ROUNDS,
        )
        engine, both, apart = figures.values()
        figures["timeline folded live, records/s"] = asyncio.run(live(settings))
        with closing(bootstrap.view_store(settings)) as store:
            pages = asyncio.run(accounts(settings, store))
        figures |= {"an account as of then, ms, median": statistics.median(pages), "an account, ms, most": max(pages)}
        whole = asyncio.run(wholes(settings, bootstrap.snapshots(settings)))
    cores = os.cpu_count() or 1
    report(
        "replay",
        f"a log of {count:,} records, {cores} cores",
        figures | whole,
        {
            "what-if / the bare engine times the cores": (both / (engine * cores), ">= 0.8"),
            "the same with every rule another": (apart / (engine * cores), "not asked"),
            "an account as of then, seconds, most": (max(pages) / 1_000, "a fraction of a second"),
        },
    )


if __name__ == "__main__":
    main()
