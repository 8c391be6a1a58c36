"""Decoding log records against ``orjson.loads`` of the same bytes, on the demo's mix.

``orjson.loads`` gives dictionaries of strings; ours gives the typed envelope with real moments, and the typed data.
Run: ``python -m benchmarks.codec``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import orjson

from benchmarks.harness import medians, report
from engage.demo.history import history
from engage.events import codec

ROUNDS = 7


def _mix() -> list[bytes]:
    today = date(2026, 11, 1)
    events = history(today=today, now=datetime(2026, 11, 1, 18, tzinfo=UTC), scale=0.1)
    values = []
    for event in events:
        event.recorded = event.time
        values.append(codec.encode(event))
    return values


def _rate(values: list[bytes], decode: Callable[[bytes], Any]) -> float:
    begin = time.perf_counter()
    for value in values:
        decode(value)
    return len(values) / (time.perf_counter() - begin)


def main() -> None:
    """Run the contenders and write ``benchmarks/results/codec.json``."""
    values = _mix()
    figures = medians(
        {
            "orjson.loads": lambda: _rate(values, orjson.loads),
            "typed envelope": lambda: _rate(values, codec.decode),
            "typed envelope and data": lambda: _rate(values, codec.reader()),
        },
        ROUNDS,
    )
    plain, envelope, typed = figures.values()
    report(
        "codec",
        "events/s",
        figures,
        {
            "time of typed envelope / orjson.loads": (plain / envelope, "<= 0.6"),
            "time with typed data / orjson.loads": (plain / typed, "<= 1.0"),
        },
    )


if __name__ == "__main__":
    main()
