"""One process a partition, as many at once as there are cores: for what is folded from a log that is only read."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from engage.services.forking import context, deaf_to_interrupts, forks, sendable

T = TypeVar("T")
Told = Callable[[int], None]
"""Gets the position up to which a partition is folded."""
Progress = Callable[[int, int], None]
"""Gets the records folded so far, and how many there are."""

_LOOK_SECONDS = 0.2


class PartitionUnfoldedError(RuntimeError):
    """A process ended without saying what it made of its partition; the message says which, and how it ended."""

    def __init__(self, partition: int, code: int | None) -> None:
        how = f"signal {-code}" if code is not None and code < 0 else f"code {code}"
        super().__init__(
            f"partition {partition} was not folded: its process ended with {how}; "
            "see whether the machine has the memory for it, then give the same command again"
        )


def by_partition(fold: Callable[[int, int, Told], T], ends: Sequence[int], progress: Progress | None = None) -> list[T]:
    """What ``fold`` makes of each partition up to its end, in a process of its own; blocking.

    They are forks of this process while it has one thread, which spares them a second of imports; it may have no
    connection open then to what they read. ``fold`` and what it makes can be pickled. What it raises is raised here;
    PartitionUnfoldedError where it cannot say. However this ends, none of them is left.
    """
    forked, made_by = forks(), context()
    turns = made_by.Semaphore(os.cpu_count() or 1)
    reached = [0] * len(ends)
    made: dict[int, T] = {}
    running: dict[Connection, tuple[int, Any]] = {}
    try:
        # All at once, before ``progress`` begins a thread; the longest first, so that none is left alone at the end.
        for partition in sorted(range(len(ends)), key=lambda partition: -ends[partition]):
            ours, theirs = made_by.Pipe(duplex=False)
            inherited = [*running, ours] if forked else []
            args = fold, partition, ends[partition], turns, theirs, inherited
            process = made_by.Process(target=_run, args=args, daemon=True)
            running[ours] = partition, process
            with deaf_to_interrupts():
                process.start()
            theirs.close()
        while running:
            for heard in wait([*running], _LOOK_SECONDS):
                assert isinstance(heard, Connection), "only these are waited for"
                partition, process = running[heard]
                kind, said = _heard(heard)
                if kind == "at":
                    reached[partition] = said
                    continue
                process.join()
                if kind == "failed":
                    raise said
                if kind == "nothing":
                    raise PartitionUnfoldedError(partition, process.exitcode)
                made[partition] = said
                heard.close()
                del running[heard]
            if progress is not None:
                progress(sum(reached), sum(ends))
    finally:
        begun = [process for _, process in running.values() if process.pid is not None]
        for process in begun:
            process.kill()
        for process in begun:
            process.join()
        for connection in running:
            connection.close()
    return [made[partition] for partition in range(len(ends))]


def _heard(connection: Connection) -> tuple[str, Any]:
    try:
        said: tuple[str, Any] = connection.recv()
    except EOFError:
        return "nothing", None
    return said


def _run(
    fold: Callable[[int, int, Told], Any],
    partition: int,
    end: int,
    turns: Any,
    telling: Connection,
    inherited: Sequence[Connection],
) -> None:
    for reading in inherited:  # while one of us could read it, nobody would see that who asked was killed
        reading.close()
    gc.disable()  # a fold makes no cycles, and to look for them among ever more cells takes a tenth of its time
    said: tuple[str, Any]
    with turns:
        try:
            said = ("made", fold(partition, end, lambda position: telling.send(("at", position))))
        except Exception as error:
            said = ("failed", sendable(error))
        with suppress(OSError):  # who asked is gone
            telling.send(said)
    os._exit(0)  # to take apart what was folded, object by object, takes a tenth of the time of folding it
