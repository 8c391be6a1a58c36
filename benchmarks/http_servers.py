"""The processes that ``benchmarks.http`` asks: ``engage up`` as it is, and the bare application."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.harness import PROJECT
from benchmarks.http_load import Told, closed

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
        statuses = [Path(f"/proc/{one}/status").read_text() for one in self._pids()]
        return sum(int(found[1]) * 1024 for one in statuses if (found := re.search(r"VmRSS:\s+(\d+) kB", one)))

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """It does nothing meanwhile, nor does the process that folds the read models."""
        pids = self._pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def _pids(self) -> list[int]:
        """The process, and that which folds the read models."""
        pid = self.process.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


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
