"""How much memory a streams worker needs for the state of all rules: the demo's mix, of as many accounts as are asked.

``python -m benchmarks.streams_memory`` folds events from its standard input, a line each, in an engine for
each partition, and prints how many accounts it holds and the largest size that the process had, in MB.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Raw

from benchmarks.harness import PROJECT
from benchmarks.streams_load import PARTITIONS
from engage.events import codec
from engage.events.envelope import PARTITION_SUBJECT, Event
from engage.interpreter import tune
from engage.log.partitioning import partition_of
from engage.rules.engine import ACTIVATED, Engine
from engage.services.kafka_rules import MOST_AWAKE
from streams import RULES

_BATCH = 8_000


def megabytes(mix: Sequence[Event[Raw]], accounts: int) -> tuple[int, float]:
    """How many accounts a worker held, ``accounts`` at least, and the MB that it took at most."""
    command = [sys.executable, "-m", "benchmarks.streams_memory"]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        for value in _spread(mix, accounts):
            process.stdin.write(value + b"\n")
        process.stdin.close()
        held, size = process.stdout.read().split()
    return int(held), float(size)


def _spread(mix: Sequence[Event[Raw]], accounts: int) -> Iterator[bytes]:
    """Each event as often as there must be copies of its account."""
    subjects = {event.subject for event in mix if not event.subject.startswith(PARTITION_SUBJECT)}
    copies = -(-accounts // len(subjects))
    for event in mix:
        if event.subject.startswith(PARTITION_SUBJECT):
            yield codec.encode(event)
            continue
        for copy in range(copies):
            yield codec.encode(msgspec.structs.replace(event, subject=f"{event.subject}-{copy}"))


def main() -> None:
    """Fold what comes, as a worker would."""
    tune()
    engines = [Engine(partition, RULES) for partition in range(PARTITIONS)]
    for engine in engines:
        engine.cells.most_awake = MOST_AWAKE
    read = codec.reader(engines[0].wanted)
    ends = [0] * PARTITIONS
    held: set[str] = set()
    for number, value in enumerate(sys.stdin.buffer):
        event = read(value)
        name = event.subject
        ours = name.startswith(PARTITION_SUBJECT)
        home = int(name.removeprefix(PARTITION_SUBJECT)) if ours else partition_of(name, PARTITIONS)
        event.partition, event.offset = home, ends[home]
        ends[home] += 1
        engine = engines[home]
        engine.fold(event)
        if event.type == ACTIVATED:
            engine.activate(event, engine.predecessor(event.data))
        if not ours:
            held.add(name)
        if number % _BATCH == 0:
            for each in engines:
                deque(each.cells.changes(), maxlen=0)
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(f"{len(held)} {size}\n")


if __name__ == "__main__":
    main()
