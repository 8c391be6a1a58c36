"""Where a streams worker's time goes while it decides: clocks around the steps of a batch, a few readings for each.

A profiler that looks at every call makes the engine, which is all small calls, look larger than it is.
"""

from __future__ import annotations

import asyncio
import time
import types
from collections import defaultdict
from collections.abc import Callable, Generator
from typing import Any

from engage.services import kafka_rules
from engage.services.kafka_transaction import FencedProducer
from engage.services.partition_runner import PartitionRunner

_clock = time.perf_counter


class WorkerProfile:
    """Seconds of the worker's main thread by step; its reader of Kafka is a thread of its own."""

    def __init__(self) -> None:
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._begun = self._cpu = self._own = 0.0

    def begin(self) -> None:
        """Put the clocks in; call it in the worker's loop, once, when its first batch is here."""
        self._listing(kafka_rules, "_part", "decoding", plain=True)
        self._awaiting(PartitionRunner, "follow", "the engine")
        self._listing(kafka_rules, "_changed", "encoding what changed")
        self._listing(kafka_rules, "written", "encoding what changed")
        self._listing(kafka_rules, "_outgoing", "encoding decisions", plain=True)
        self._awaiting(FencedProducer, "_queue", "packing records for Kafka")
        loop: Any = asyncio.get_running_loop()
        self._listing(loop._selector, "select", "waiting for Kafka", plain=True)
        self._begun, self._cpu, self._own = _clock(), time.process_time(), time.thread_time()

    def shares(self) -> dict[str, float]:
        """Per cent of the time since ``begin``; the reader's is what the process used beside the main thread."""
        whole = _clock() - self._begun
        shares = {step: 100 * seconds / whole for step, seconds in self._spent.items()}
        shares["Faust, transactions and the rest"] = 100 - sum(shares.values())
        beside = time.process_time() - self._cpu - (time.thread_time() - self._own)
        return shares | {"beside it, reading from Kafka": 100 * beside / whole}

    def _listing(self, home: Any, name: str, step: str, *, plain: bool = False) -> None:
        inner: Callable[..., Any] = getattr(home, name)

        def timed(*args: Any) -> Any:
            begun = _clock()
            found = inner(*args) if plain else list(inner(*args))
            self._spent[step] += _clock() - begun
            return found

        setattr(home, name, timed)

    def _awaiting(self, home: Any, name: str, step: str) -> None:
        inner: Callable[..., Any] = getattr(home, name)

        @types.coroutine
        def timed(*args: Any) -> Generator[Any, Any, Any]:
            # Step by step: while it waits, the worker does something else.
            steps = inner(*args).__await__()
            failed: BaseException | None = None
            while True:
                begun = _clock()
                try:
                    awaited = steps.throw(failed) if failed else next(steps)
                except StopIteration as end:
                    return end.value
                finally:
                    self._spent[step] += _clock() - begun
                try:
                    failed = None
                    yield awaited
                except BaseException as error:
                    failed = error

        setattr(home, name, timed)
