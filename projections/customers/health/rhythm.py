"""Whether a customer keeps to their own buying rhythm: slower than usual says more of them than slow does.

It stands beside the score and does not weigh in it: on the CDNOW purchases up to 1997-09-30 any weight of it moved the
AUC by less than 0.001 (0.7477 without, 0.7483 at its best), so purchasing alone carries the score. It does not fade as
other components do either, for its pace is each customer's own. ``streams/customers/win_back.py`` asks at 25.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from engage.events.catalogue.commerce import OrderCompleted
from engage.events.envelope import Event
from engage.views.evidence import DAY, Judged, Markings, Reason
from engage.views.health import Explanation, Moved, in_words

NAME, ASKS = "rhythm", "Whether they keep their own buying rhythm"
DAYS_KEPT = 8
LEAST_GAP, MOST_GAP = 20.0, 120.0
"""Days: who bought on two days of one week has no rhythm of days yet, and nobody is waited for for years."""

markings = Markings()


class Buyer(Judged, Protocol):
    """A row that also keeps on which days (ordinals, UTC, in order, the latest ones) the account bought."""

    bought_on: list[int]


@markings.on(OrderCompleted)
def bought(row: Buyer, event: Event[OrderCompleted]) -> None:
    """A day on which they bought; several orders of a day are one."""
    day = event.time.astimezone(UTC).toordinal()
    days = row.bought_on
    if day in days:
        return
    insort(days, day)
    del days[:-DAYS_KEPT]
    if days[-1] == day:
        reason = Reason(event.id, event.time, event.type, f"day {day}", 100.0)
        row.reasons[NAME] = [reason]
        reason.contribution = round(_points(days, event.time), 2)


def value(days: Sequence[int], moment: datetime) -> float | None:
    """100 up to one mean gap between purchase days after the last, halved by each further one; unknown before two."""
    return _kept(days[-1], _gap(days), moment) if len(days) > 1 else None


def explain(row: Buyer, moment: datetime) -> Explanation | None:
    """What the rhythm says at ``moment``, and what the last purchase did for it."""
    found = value(row.bought_on, moment)
    if found is None:
        return None
    days = row.bought_on
    gap = (days[-1] - days[0]) / (len(days) - 1)
    told = f"about every {gap:.0f} days, the last {_silence(days[-1], moment):.0f} days ago"
    moved = [
        Moved(reason.event_id, reason.time.astimezone(UTC), reason.type, round(_points(days, moment), 2))
        for reason in row.reasons.get(NAME, ())
    ]
    return Explanation(NAME, found, 0.0, f"{in_words(ASKS, found)} ({told})", moved)


def _points(days: Sequence[int], moment: datetime) -> float:
    """What the last purchase day moved: against how it would stand had they been silent since the one before."""
    if len(days) < 2:
        return 0.0
    gap = _gap(days)
    return _kept(days[-1], gap, moment) - _kept(days[-2], gap, moment)


def _kept(last: int, gap: float, moment: datetime) -> float:
    late = max(_silence(last, moment) / gap - 1.0, 0.0)
    return 100.0 * 2.0 ** -min(late, 1_000.0)  # type: ignore[no-any-return]


def _gap(days: Sequence[int]) -> float:
    return min(max((days[-1] - days[0]) / (len(days) - 1), LEAST_GAP), MOST_GAP)


def _silence(last: int, moment: datetime) -> float:
    """Whole days and parts of one since the last purchase day began."""
    midnight = datetime.fromordinal(last).replace(tzinfo=UTC)
    return max((moment - midnight).total_seconds() / DAY, 0.0)
