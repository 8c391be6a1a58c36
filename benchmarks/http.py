"""Publishing and reading over HTTP, one server process with everything on, against bare loops and endpoints.

``engage up`` runs as it is: events are checked, de-duplicated exactly, sealed, decided on by every rule in the same
transaction, durable before the answer, and folded into every read model behind it. The load comes from this process.
What it is held against does less: the bare loop inserts the same rows with the same durability and a unique id and
neither listens nor checks; the bare endpoint parses and keeps nothing. Run: ``python -m benchmarks.http``; with
``--overload 600`` the overload lasts ten minutes, ``--no-kafka`` leaves Kafka out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import http_bare
from benchmarks.harness import PROJECT, kafka, report
from benchmarks.http_load import Told, batches, closed, events, get, singles, steady
from benchmarks.http_parts import parts

ROUNDS = 3
BATCHED, SINGLE, READS = 48_000, 8_000, 8_000
BATCH_CONNECTIONS, SINGLE_CONNECTIONS, READ_CONNECTIONS = 16, 64, 16
STEADY_SECONDS = 10
OVERLOAD_CONNECTIONS = 256
_ENGAGE = Path(sys.executable).parent / "engage"


class Server:
    """A process that serves on ``port``."""

    def __init__(self, process: subprocess.Popen[Any], port: int) -> None:
        self.process = process
        self.port = port

    def get(self, path: str) -> bytes:
        """The body of an answer."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}") as answer:
            body: bytes = answer.read()
            return body

    def settle(self) -> None:
        """Wait until everything that follows from what was published is done: follow-ups, their relay, read models."""
        before: list[int] = []
        while True:
            told = json.loads(self.get("/v1/status"))
            ends = [partition["end"] for partition in told["log"]]
            left = told["desk_behind"] + told["relay_waiting"] + sum(view["behind"] for view in told["views"])
            if left == 0 and ends == before:
                return
            before = ends
            time.sleep(0.5)

    def cpu_seconds(self) -> float:
        """Processor time that it has used, without the process that folds the read models."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Bytes that are in memory of it, and of the process that folds the read models."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        statuses = [Path(f"/proc/{one}/status").read_text() for one in (pid, *children)]
        return sum(int(found[1]) * 1024 for one in statuses if (found := re.search(r"VmRSS:\s+(\d+) kB", one)))


@contextmanager
def engage(home: Path, **settings: str) -> Iterator[Server]:
    """``engage up``."""
    environment = os.environ | {"ENGAGE_HOME": str(home)} | settings
    if settings:
        subprocess.run([_ENGAGE, "topics", "create"], env=environment, check=True, capture_output=True)
    command = [_ENGAGE, "up", "--port", "0"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"serves at http://127\.0\.0\.1:(\d+)", line):
                break
        else:
            raise RuntimeError("engage does not serve")
        # Its further words go nowhere, but must be read, or it would wait for a reader.
        with subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL):
            try:
                yield Server(process, int(found[1]))
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait()


@contextmanager
def bare(told: bytes) -> Iterator[Server]:
    """The bare application."""
    command = [sys.executable, "-m", "benchmarks.http_bare"]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(told)
        process.stdin.close()
        try:
            yield Server(process, int(process.stdout.readline()))
        finally:
            process.kill()


def load(server: Server, requests: list[bytes], connections: int) -> Told:
    """Every request as fast as it goes; all must have been answered 200."""
    told = uvloop.run(closed(server.port, requests, connections))
    assert set(told.statuses) == {200}, told.statuses
    return told


def logged(home: Path, count: int) -> list[bytes]:
    """The newest rows of a log that came from outside."""
    db = sqlite3.connect(home / "log.db")
    found = db.execute('SELECT value FROM log WHERE instr(value, \'"source":"urn:shop\') > 0 LIMIT ?', (count,))
    rows = [value for (value,) in found]
    db.close()
    return rows


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
        with bare(server.get(f"/v1/accounts/{account}")) as peer:
            for round_ in range(1, ROUNDS + 1):
                before = server.cpu_seconds()
                told = load(server, batches(events(BATCHED, round_)), BATCH_CONNECTIONS)
                note("batches of 100 into SQLite", BATCHED / told.whole)
                note("processor, us an event in batches", (server.cpu_seconds() - before) / BATCHED * 1e6)
                note("bare loop, batches of 100", http_bare.rows(logged(home, BATCHED), 100))
                server.settle()
                requests = singles(events(SINGLE, 100 + round_))
                before = server.cpu_seconds()
                told = load(server, requests, SINGLE_CONNECTIONS)
                note("single events into SQLite", SINGLE / told.whole)
                note("processor, us a single event", (server.cpu_seconds() - before) / SINGLE * 1e6)
                note("bare endpoint, single events", SINGLE / load(peer, requests, SINGLE_CONNECTIONS).whole)
                server.settle()
                requests = [get(f"/v1/accounts/{account}")] * READS
                note("one account read", READS / load(server, requests, READ_CONNECTIONS).whole)
                note("bare endpoint, the same bytes", READS / load(peer, requests, READ_CONNECTIONS).whole)
        rate = statistics.median(found["single events into SQLite"]) / 2
        requests = singles(events(int(rate * STEADY_SECONDS), 200))
        told = uvloop.run(steady(server.port, requests, rate, SINGLE_CONNECTIONS))
        note("p99 at half the top rate, ms", told.percentile(0.99) * 1e3)
        server.settle()
        growth, statuses = overload(server, options.overload)
        note("memory after overload / before", growth)
        sys.stderr.write(f"answers under overload: {statuses}\n")
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
        "batches into SQLite / bare loop": ("batches of 100 into SQLite", "bare loop, batches of 100", ">= 0.7"),
        "single events / bare endpoint": ("single events into SQLite", "bare endpoint, single events", ">= 0.4"),
        "one account / bare endpoint": ("one account read", "bare endpoint, the same bytes", ">= 0.5"),
        "batches into Kafka / into SQLite": ("batches of 100 into Kafka", "batches of 100 into SQLite", ">= 1"),
    }
    told_ratios = {
        name: (figures[ours] / figures[theirs], asked)
        for name, (ours, theirs, asked) in ratios.items()
        if ours in figures
    }
    told_ratios["p99 at half the top rate, ms"] = (figures["p99 at half the top rate, ms"], "<= 25")
    told_ratios["memory after overload / before"] = (figures["memory after overload / before"], "flat: about 1")
    report("http", "requests or events a second, unless said otherwise", figures, told_ratios)


if __name__ == "__main__":
    main()
