"""How long the whole demo takes to load, and how much memory its processes take together at most.

Memory is what Linux calls the proportional set size: pages that several processes share are counted once. It is looked
at four times a second, of every process that the command begins. Run: ``python -m benchmarks.demo`` (on Linux).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from benchmarks.harness import PROJECT, report

_LOOK_SECONDS = 0.25


def loaded(home: str, *options: str) -> tuple[float, float, float]:
    """Events, seconds and the peak in MB of a demo that is loaded into the empty folder ``home``."""
    command = [sys.executable, "-m", "engage", "demo", "--once", "--json", *options]
    most = 0.0
    with subprocess.Popen(
        command, cwd=PROJECT, env=os.environ | {"ENGAGE_HOME": home}, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        while process.poll() is None:
            most = max(most, sum(map(_megabytes, set(_tree(process.pid)))))
            time.sleep(_LOOK_SECONDS)
        told = msgspec.json.decode(process.stdout.read())
    return told["events"], told["seconds"], most


def _tree(pid: int) -> Iterator[int]:
    """A process and all that it began; none of those that have ended."""
    yield pid
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from _tree(int(child))


def _megabytes(pid: int) -> float:
    """The proportional set size of a process, 0 if it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    """Load the demo and write ``benchmarks/results/demo.json``."""
    with tempfile.TemporaryDirectory() as home:
        events, seconds, most = loaded(home, *sys.argv[1:])
    report(
        "demo",
        "events, seconds, MB",
        {"events": events},
        {"seconds to load": (seconds, "about 60"), "peak of all processes, MB": (most, "<= 400")},
    )


if __name__ == "__main__":
    main()
