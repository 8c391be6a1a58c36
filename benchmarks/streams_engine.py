"""The engine alone, without Kafka, over the demo's mix: how many events a second, and as plain Python where they go.

Run: ``python -m benchmarks.streams_engine 100000``, with ``ENGAGE_PURE=1`` as plain Python; it prints JSON.
"""

from __future__ import annotations

import cProfile
import json
import pstats
import sys
import time
from collections import deque
from typing import Any

from benchmarks.streams_load import PARTITIONS, lived
from engage import compiled
from engage.events import codec
from engage.log.partitioning import partition_of
from engage.rules.engine import ACTIVATED, Engine
from streams import RULES

_ROUNDS = 3
_PARTS = ("checked_request", "_id_of", "decide_on", "_fire", "_hand", "changes")


def _folded(values: list[bytes]) -> float:
    """Seconds that one partition's records take."""
    engine = Engine(0, RULES)
    read = codec.reader(engine.wanted)
    begun = time.perf_counter()
    for offset, value in enumerate(values):
        event = read(value)
        event.partition, event.offset = 0, offset
        engine.fold(event)
        if event.type == ACTIVATED:
            engine.activate(event, engine.predecessor(event.data))
    deque(engine.cells.changes(), maxlen=0)
    return time.perf_counter() - begun


def _shares(values: list[bytes]) -> dict[str, float]:
    """Per cent of the engine's time in its larger parts; of what is compiled a profiler sees nothing."""
    profile = cProfile.Profile()
    profile.enable()
    _folded(values)
    profile.disable()
    stats: dict[Any, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    cumulative = {name: entry[3] for (_, _, name), entry in stats.items()}
    return {
        f"profile, % of the engine's time in {name}": 100 * cumulative[name] / cumulative["_folded"] for name in _PARTS
    }


def main(count: int) -> None:
    """Measure the first ``count`` events."""
    events = lived(count)
    values = [codec.encode(event) for event in events if event.subject.startswith("partition:0")]
    values += [codec.encode(event) for event in events if partition_of(event.subject, PARTITIONS) == 0]
    del events
    rate = len(values) / min(_folded(values) for _ in range(_ROUNDS))
    runs = "compiled" if compiled.found() else "plain Python"
    figures = {f"demo's mix: the engine alone, {runs}, events/s": rate}
    print(json.dumps(figures if compiled.found() else figures | _shares(values)))


if __name__ == "__main__":
    main(int(sys.argv[1]))
