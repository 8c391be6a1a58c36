"""What if other rules, or other settings, had run on this history? Folded twice over, one process a partition.

It reads the log and nothing else: nothing that appends, publishes or sends is made here.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from engage.events import codec
from engage.log.contract import Log
from engage.rules.engine import Engine
from engage.rules.what_if import AsIf, Changed, Decided, RuleChange, by_rule, differences
from engage.services.configuration import Configured
from engage.services.supposing import Supposed

OpenLog = Callable[[], AbstractAsyncContextManager[Log]]
House = Callable[[], Configured]
Progress = Callable[[int, int], None]
"""Gets the records folded so far, and how many there are."""

_PAGE = 2_000
_LOOK_SECONDS = 0.2


class WhatIf(Struct, frozen=True):
    """How what is supposed differs from the house as it is: ``records`` folded, numbers by rule, and each change.

    ``weeks`` are the follow-ups of the rules that differ, by the week (its Monday) in which they were asked for: before
    and after.
    """

    records: int
    rules: list[RuleChange]
    changes: list[Changed]
    weeks: dict[str, tuple[int, int]]


class Folded(Struct, frozen=True):
    """What a partition's history was decided to mean, by the house as it is and as it is supposed to be."""

    records: int
    before: list[Decided]
    after: list[Decided]


def what_if(
    open_log: OpenLog,
    house: House,
    supposed: Supposed,
    now: datetime,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    progress: Progress | None = None,
) -> WhatIf:
    """Fold all of the log and compare what is decided from ``since`` on and before ``until``; blocking.

    What waits for a time up to ``now`` is decided too. ``open_log`` and ``house`` are called in other processes too, so
    they can be pickled. ConfigurationError if what is supposed cannot be.
    """
    supposed.over(house())  # said here, not by a process that ends
    ends = asyncio.run(_ends(open_log))
    folded = list(_in_processes(Task(open_log, house, supposed, now), ends, progress))
    before = [one for each in folded for one in each.before]
    after = [one for each in folded for one in each.after]
    was, now_is = ([one for one in side if _within(one.at, since, until)] for side in (before, after))
    # Matched over all of time, so that what only moved over an edge is not taken for new.
    changes = [one for one in differences(before, after) if _touches(one, since, until)]
    return WhatIf(
        sum(one.records for one in folded), by_rule(was, now_is, changes), changes, _weeks(was, now_is, changes)
    )


class Task(Struct, frozen=True):
    """What each process is given: how to open the log, the house's rules, what is supposed of them, and the time."""

    open_log: OpenLog
    house: House
    supposed: Supposed
    now: datetime


async def fold_partition(task: Task, partition: int, end: int, told: Callable[[int], None]) -> Folded:
    """One partition's history up to position ``end``, both ways; ``told`` gets the position after each page."""
    house = task.house()
    sides = [AsIf(Engine(partition, one.rules, one.policy)) for one in (house, task.supposed.over(house))]
    read = codec.reader()
    records = position = 0
    async with task.open_log() as log:
        while position < end:
            batch = await log.read(partition, position, min(_PAGE, end - position))
            for record in batch.records:
                event = read(record.value)
                event.partition, event.offset = partition, record.offset
                for side in sides:
                    side.fold(event)
            records += len(batch.records)
            position = batch.next_position
            told(min(position, end))
    for side in sides:
        side.pass_time(task.now)
    return Folded(records, *(side.decided for side in sides))


def _in_processes(task: Task, ends: Sequence[int], progress: Progress | None) -> Iterator[Folded]:
    context = multiprocessing.get_context("spawn")
    reached = context.Array("q", len(ends))
    workers = min(len(ends), os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(reached,)) as pool:
        running = [pool.submit(_run, task, partition, end) for partition, end in enumerate(ends)]
        try:
            while wait(running, _LOOK_SECONDS).not_done:
                if progress is not None:
                    progress(sum(reached[:]), sum(ends))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        yield from (one.result() for one in running)


_reached: Any = None


def _begin(reached: Any) -> None:
    global _reached  # it can reach a process of the pool by no other way
    _reached = reached


def _run(task: Task, partition: int, end: int) -> Folded:
    def told(position: int) -> None:
        _reached[partition] = position

    return asyncio.run(fold_partition(task, partition, end, told))


async def _ends(open_log: OpenLog) -> list[int]:
    async with open_log() as log:
        return [await log.end(partition) for partition in range(log.partitions)]


def _within(moment: datetime, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or moment >= since) and (until is None or moment < until)


def _touches(changed: Changed, since: datetime | None, until: datetime | None) -> bool:
    return any(_within(one.at, since, until) for one in (changed.before, changed.after) if one is not None)


def _weeks(
    before: Iterable[Decided], after: Iterable[Decided], changes: Iterable[Changed]
) -> dict[str, tuple[int, int]]:
    differ = {one.rule for changed in changes for one in (changed.before, changed.after) if one is not None}
    was, is_now = (
        Counter(_monday(one.at) for one in side if one.reason is None and one.rule in differ)
        for side in (before, after)
    )
    return {week: (was[week], is_now[week]) for week in sorted(was.keys() | is_now.keys())}


def _monday(moment: datetime) -> str:
    day = moment.date()
    return (day - timedelta(days=day.weekday())).isoformat()
