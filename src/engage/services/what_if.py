"""What if other rules, or other settings, had run on this history? Folded both ways, one process a partition.

It reads the log and nothing else: nothing that appends, publishes or sends is made here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime
from functools import partial

from msgspec import Struct

from engage.events import codec
from engage.log.contract import Log
from engage.rules.both_ways import BothWays, Way
from engage.rules.what_if import Changed, RuleChange, by_rule, differences, in_order
from engage.services.by_partition import Progress, Told, by_partition
from engage.services.configuration import Configured
from engage.services.supposing import Supposed

OpenLog = Callable[[], AbstractAsyncContextManager[Log]]
House = Callable[[], Configured]

_PAGE = 2_000


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
    """What is different in a partition: ``asked`` counts follow-ups by rule and week (``_monday``), before and after.

    It is compared where it was folded: an account has one partition, and to bring all decisions together took longer
    than to make them.
    """

    records: int
    asked: dict[tuple[str, int], tuple[int, int]]
    changes: list[Changed]


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

    What waits for a time up to ``now`` is decided too. ``open_log`` and ``house`` are called in other processes too
    (``by_partition``), so they can be pickled. ConfigurationError if what is supposed cannot be.
    """
    supposed.over(house())  # said here, not by a process that ends
    ends = asyncio.run(_ends(open_log))
    task = Task(open_log, house, supposed, now, since, until)
    folded = by_partition(partial(_fold, task), ends, progress)
    changes = in_order(one for each in folded for one in each.changes)
    rules, weeks = _summed(folded, changes)
    return WhatIf(sum(one.records for one in folded), rules, changes, weeks)


class Task(Struct, frozen=True):
    """What each process is given: how to open the log, the house's rules, what is supposed of them, and the times."""

    open_log: OpenLog
    house: House
    supposed: Supposed
    now: datetime
    since: datetime | None = None
    until: datetime | None = None


async def fold_partition(task: Task, partition: int, end: int, told: Told) -> Folded:
    """One partition's history up to position ``end``, both ways; ``told`` gets the position after each page."""
    house = task.house()
    both = BothWays(partition, *(Way(one.rules, one.policy) for one in (house, task.supposed.over(house))))
    read = codec.reader(both.wanted)
    records = position = 0
    async with task.open_log() as log:
        while position < end:
            batch = await log.read(partition, position, min(_PAGE, end - position))
            for record in batch.records:
                try:  # rules pass over what is no event of the log as well
                    event = read(record.value)
                except codec.NO_EVENT:
                    continue
                if event.recorded is None:
                    continue
                event.partition, event.offset = partition, record.offset
                both.fold(event)
            records += len(batch.records)
            position = batch.next_position
            told(min(position, end))
    both.pass_time(task.now)
    # Matched over all of time, so that what only moved over an edge is not taken for new.
    changes = [one for one in differences(*both.apart()) if _touches(one, task.since, task.until)]
    return Folded(records, _asked(both, task), changes)


def _fold(task: Task, partition: int, end: int, told: Told) -> Folded:
    return asyncio.run(fold_partition(task, partition, end, told))


async def _ends(open_log: OpenLog) -> list[int]:
    async with open_log() as log:
        return [await log.end(partition) for partition in range(log.partitions)]


def _within(moment: datetime, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or moment >= since) and (until is None or moment < until)


def _touches(changed: Changed, since: datetime | None, until: datetime | None) -> bool:
    return any(_within(one.at, since, until) for one in (changed.before, changed.after) if one is not None)


def _asked(both: BothWays, task: Task) -> dict[tuple[str, int], tuple[int, int]]:
    alike, before, after = (
        Counter(
            (one.rule, (one.at.toordinal() - 1) // 7)
            for one in decided
            if one.reason is None and _within(one.at, task.since, task.until)
        )
        for decided in (both.alike, both.before, both.after)
    )
    places = alike.keys() | before.keys() | after.keys()
    return {place: (alike[place] + before[place], alike[place] + after[place]) for place in places}


def _summed(
    folded: Iterable[Folded], changes: Sequence[Changed]
) -> tuple[list[RuleChange], dict[str, tuple[int, int]]]:
    """The numbers by rule, and by week those of the rules that differ."""
    counts: dict[str, list[int]] = {}
    weeks: dict[int, list[int]] = {}
    differ = {one.rule for changed in changes for one in (changed.before, changed.after) if one is not None}
    for each in folded:
        for (rule, week), pair in each.asked.items():
            sums = [counts.setdefault(rule, [0, 0])]
            if rule in differ:
                sums.append(weeks.setdefault(week, [0, 0]))
            for numbers in sums:
                numbers[0] += pair[0]
                numbers[1] += pair[1]
    by_week = {_monday(week): (weeks[week][0], weeks[week][1]) for week in sorted(weeks)}
    return by_rule({rule: (was, now_is) for rule, (was, now_is) in counts.items()}, changes), by_week


def _monday(week: int) -> str:
    """The Monday of a week, counted from that of 1 January of the year 1."""
    return date.fromordinal(7 * week + 1).isoformat()
