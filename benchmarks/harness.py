"""What every benchmark does alike: run contenders in turn, take medians, print a table, write the results."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
RESULTS = PROJECT / "benchmarks/results"


def kafka() -> str:
    """Where a real broker answers: ``BENCH_KAFKA``, or else the one of scripts/local-kafka, started if it is not."""
    if given := os.environ.get("BENCH_KAFKA"):
        return given
    command = (sys.executable, PROJECT / "scripts/local-kafka", "start")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def medians(contenders: Mapping[str, Callable[[], float]], rounds: int = 5) -> dict[str, float]:
    """The median of ``rounds`` figures of each contender, run in turn so that a noisy moment hits all alike."""
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            figures[name].append(run())
    return {name: statistics.median(values) for name, values in figures.items()}


def report(name: str, unit: str, figures: Mapping[str, float], ratios: Mapping[str, tuple[float, str]]) -> None:
    """Print figures and ratios (value, what was asked for) and write ``results/<name>.json``."""
    out = sys.stdout
    out.write(f"{name} ({unit})\n")
    for contender, value in figures.items():
        out.write(f"  {contender:<46} {value:>12,.2f}\n")
    for ratio, (value, asked) in ratios.items():
        out.write(f"  {ratio:<46} {value:>12.2f}   asked: {asked}\n")
    content: dict[str, Any] = {
        "unit": unit,
        "figures": {contender: round(value, 3) for contender, value in figures.items()},
        "ratios": {ratio: {"value": round(value, 3), "asked": asked} for ratio, (value, asked) in ratios.items()},
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
