"""Publishing and reading over HTTP, one server process with everything on, against bare loops and endpoints.

``engage up`` runs as it is: events are checked, de-duplicated exactly, sealed, decided on by every rule in the same
transaction, durable before the answer, and folded into every read model behind it. The load comes from this process.
What it is held against does less: the bare loop inserts the same rows with the same durability and a unique id and
neither listens nor checks; the bare endpoint parses and keeps nothing. Batches are held against the bare loop on a log
that has grown (``benchmarks.http_grown``), and besides, as nobody's log stays, on one that is nearly empty. Run:
``python -m benchmarks.http``; with ``--overload 600`` the overload lasts ten minutes, ``--no-kafka`` leaves Kafka out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import uuid
from contextlib import closing
from pathlib import Path

import uvloop

from benchmarks import http_bare
from benchmarks.harness import kafka, report
from benchmarks.http_grown import GROWN, Outside, grown
from benchmarks.http_load import batches, closed, events, get, singles, steady
from benchmarks.http_parts import parts
from benchmarks.http_servers import Server, bare, engage, load

ROUNDS = 3
BATCHED, SINGLE, READS = 48_000, 20_000, 24_000
BATCH_CONNECTIONS, READ_CONNECTIONS = 16, 16
SINGLE_CONNECTIONS, MANY_CONNECTIONS = 64, 512
"""As many as wait for the same sync of the disk; and as many as RudderStack's gateway was measured with."""
STEADY_SECONDS = 10
P99 = f"p99 at half the top rate of {SINGLE_CONNECTIONS} connections, ms"
P99_OF_MANY = f"p99 at half the top rate of {MANY_CONNECTIONS} connections, ms"
OVERLOAD_CONNECTIONS = 256


def overload(server: Server, seconds: float) -> tuple[float, dict[int, int]]:
    """How its memory at the end compares to that of the beginning, and the answers by status."""
    statuses: dict[int, int] = {}
    memory: list[int] = []
    begin, seed = time.monotonic(), 1_000
    while (since := time.monotonic() - begin) < seconds:
        seed += 1
        told = uvloop.run(closed(server.port, batches(events(10_000, seed)), OVERLOAD_CONNECTIONS))
        for status, count in told.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
        if since > seconds / 6 or not memory:  # caches are full by then
            memory.append(server.memory())
    third = max(1, len(memory) // 3)
    return max(memory[-third:]) / max(memory[:third]), statuses


def main() -> None:
    """Run the contenders and write ``benchmarks/results/http.json``."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--overload", type=float, default=60.0, help="seconds of overload")
    asked.add_argument("--no-kafka", action="store_true")
    options = asked.parse_args()
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)
        sys.stderr.write(f"{name}: {value:,.1f}\n")

    with tempfile.TemporaryDirectory() as folder, engage(home := Path(folder)) as server:
        load(server, batches(events(5_000, 0)), BATCH_CONNECTIONS)
        server.settle()
        account = json.loads(events(1, 0)[0])["subject"]
        with bare(server.get(f"/v1/accounts/{account}")) as peer, closing(Outside(home)) as outside:
            for round_ in range(1, ROUNDS + 1):
                outside.fresh()
                before = server.cpu_seconds()
                told = load(server, batches(events(BATCHED, round_)), BATCH_CONNECTIONS)
                note("batches of 100 into SQLite", BATCHED / told.whole)
                note("processor, us an event in batches", (server.cpu_seconds() - before) / BATCHED * 1e6)
                server.settle()
                note("bare loop into an empty table", http_bare.rows(outside.fresh(), 100))
                requests = singles(events(SINGLE, 100 + round_))
                before = server.cpu_seconds()
                told = load(server, requests, SINGLE_CONNECTIONS)
                note("single events into SQLite", SINGLE / told.whole)
                note("processor, us a single event", (server.cpu_seconds() - before) / SINGLE * 1e6)
                note("bare endpoint, single events", SINGLE / load(peer, requests, SINGLE_CONNECTIONS).whole)
                server.settle()
                requests = singles(events(SINGLE, 150 + round_))
                note("single events of many", SINGLE / load(server, requests, MANY_CONNECTIONS).whole)
                note("bare endpoint, single events of many", SINGLE / load(peer, requests, MANY_CONNECTIONS).whole)
                server.settle()
                requests = [get(f"/v1/accounts/{account}")] * READS
                note("one account read", READS / load(server, requests, READ_CONNECTIONS).whole)
                note("bare endpoint, the same bytes", READS / load(peer, requests, READ_CONNECTIONS).whole)
        for seed, whose, name in ((200, "single events into SQLite", P99), (210, "single events of many", P99_OF_MANY)):
            rate = statistics.median(found[whose]) / 2
            for round_ in range(ROUNDS):
                requests = singles(events(int(rate * STEADY_SECONDS), seed + round_))
                note(name, uvloop.run(steady(server.port, requests, rate, MANY_CONNECTIONS)).percentile(0.99) * 1e3)
                server.settle()
        growth, statuses = overload(server, options.overload)
        note("memory after overload / before", growth)
        sys.stderr.write(f"answers under overload: {statuses}\n")
    grown(note, ROUNDS, BATCHED, BATCH_CONNECTIONS)
    for part, microseconds in uvloop.run(parts()).items():
        note(part, microseconds)
    if not options.no_kafka:
        settings = {"ENGAGE_LOG": f"kafka://{kafka()}", "ENGAGE_TOPICS": f"bench{uuid.uuid4().hex[:8]}"}
        with tempfile.TemporaryDirectory() as folder, engage(Path(folder), **settings) as server:
            for round_ in range(ROUNDS + 1):
                told = load(server, batches(events(BATCHED, 300 + round_)), BATCH_CONNECTIONS)
                if round_:
                    note("batches of 100 into Kafka", BATCHED / told.whole)
    figures = {name: statistics.median(values) for name, values in found.items()}
    ratios = {
        f"batches / bare loop, {GROWN:,} events there": (
            "batches of 100 into a grown log",
            "bare loop into a grown table",
            ">= 0.7",
        ),
        "batches / bare loop into an empty table": (
            "batches of 100 into SQLite",
            "bare loop into an empty table",
            "for comparison",
        ),
        f"single events of {SINGLE_CONNECTIONS} connections / bare endpoint": (
            "single events into SQLite",
            "bare endpoint, single events",
            ">= 0.4",
        ),
        f"single events of {MANY_CONNECTIONS} connections / bare endpoint": (
            "single events of many",
            "bare endpoint, single events of many",
            "for comparison",
        ),
        "one account / bare endpoint": ("one account read", "bare endpoint, the same bytes", ">= 0.5"),
        "batches into Kafka / into SQLite": ("batches of 100 into Kafka", "batches of 100 into SQLite", ">= 1"),
    }
    told_ratios = {
        name: (figures[ours] / figures[theirs], asked)
        for name, (ours, theirs, asked) in ratios.items()
        if ours in figures
    }
    told_ratios[P99] = (figures[P99], "<= 25")
    told_ratios[P99_OF_MANY] = (figures[P99_OF_MANY], "for comparison")
    told_ratios["memory after overload / before"] = (figures["memory after overload / before"], "flat: about 1")
    report("http", "requests or events a second, unless said otherwise", figures, told_ratios)


if __name__ == "__main__":
    main()
