"""How a score stood at the ends of the last weeks: enough to say how it has changed in four of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import Struct

from engage.events.envelope import EPOCH

WEEK = timedelta(weeks=1)
_WEEK_SECONDS = WEEK.total_seconds()
SPAN = 4 * WEEK
"""What a trend looks back."""
_KEPT = 5
"""Weeks' ends: what the moment ``SPAN`` ago lies between is always among them."""

Score = Callable[[datetime], float | None]


class Weekly(Struct, array_like=True, gc=False):
    """The score (0-100) as it stood when week ``week`` began; weeks since 1970-01-01 UTC."""

    week: int
    score: float


def week_of(moment: datetime) -> int:
    """The number of the week that ``moment`` lies in."""
    return int(moment.timestamp() // _WEEK_SECONDS)  # exact: a float tells the microseconds before a week's begin


def remember(kept: list[Weekly], since: datetime, until: datetime, score: Score) -> None:
    """Keep how the score stood at each week's begin after ``since`` up to ``until``; unknown scores leave a gap."""
    last = week_of(until)
    for week in range(max(week_of(since) + 1, last - _KEPT + 1), last + 1):
        stood = score(EPOCH + week * WEEK)
        if stood is not None:
            kept.append(Weekly(week, stood))
    while kept and kept[0].week <= last - _KEPT:
        del kept[0]


def before(kept: list[Weekly], as_of: datetime, moment: datetime, score: Score) -> float | None:
    """The score ``SPAN`` before ``moment``, between two weeks' ends in proportion; None if it was unknown.

    ``score`` says it for any time from ``as_of`` on, since when nothing has happened.
    """
    then = moment - SPAN
    if then >= as_of:
        return score(then)
    week = week_of(then)
    stood = after = None
    for one in kept:
        if one.week == week:
            stood = one.score
        elif one.week == week + 1:
            after = one.score
    if stood is None:
        return None
    ends = EPOCH + (week + 1) * WEEK
    if ends > as_of:
        after = score(ends)
    return stood if after is None else stood + (after - stood) * ((then - ends + WEEK) / WEEK)
