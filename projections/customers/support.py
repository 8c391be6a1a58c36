"""How soon do customers get a first answer and a solution, against the service level, and do solutions hold?

By the month in which a ticket was opened and by its priority; chats have lines of their own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import cast

from msgspec import Struct, field

from engage.events.catalogue.follow_up import Priority
from engage.events.catalogue.support import ChatEnded
from engage.events.envelope import Event, is_account
from engage.views.aggregate import Aggregate
from projections.customers.tickets import ANSWER_WITHIN, RESOLVE_WITHIN, Ticket, tickets

CHAT = "chat"
CHAT_ANSWER_WITHIN = timedelta(minutes=2)
"""The service level for the first answer in a chat."""

EDGES = [1.1**step for step in range(200)]
"""Where the histograms' bars begin, in seconds: each bar is a tenth wider than the one before, up to five years.

A percentile is told as the middle of its bar, so it is within 5 % of the true one. What took less than a second is in
bar 0, before the first edge.
"""


class SupportShare(Struct):
    """Tickets that were opened in one month with one priority, or the chats of a month.

    month_priority: "YYYY-MM|priority"
    month: the month (UTC) in which they were opened, "YYYY-MM"
    priority: low, normal, high, urgent, or chat
    opened: how many there are
    answered: how many were answered
    answered_in_time: how many were answered within the service level
    answered_late: how many were answered late, or are not answered though that is due
    resolved: how many are resolved now
    resolved_in_time: how many were resolved within the service level
    resolved_late: how many were resolved late, or are not resolved though that is due
    settled: how many were ever said to be resolved
    reopened: how many were ever reopened
    answer_seconds: how many waited how long for the first answer, by the histogram's bar
    resolution_seconds: how many took how long to be resolved, by the histogram's bar
    """

    month_priority: str
    month: str = ""
    priority: str = ""
    opened: int = 0
    answered: int = 0
    answered_in_time: int = 0
    answered_late: int = 0
    resolved: int = 0
    resolved_in_time: int = 0
    resolved_late: int = 0
    settled: int = 0
    reopened: int = 0
    answer_seconds: dict[str, int] = field(default_factory=dict)
    resolution_seconds: dict[str, int] = field(default_factory=dict)


class Support(Struct):
    """How soon the tickets of a month and priority, or its chats, were answered and resolved.

    month_priority: "YYYY-MM|priority"
    month: the month (UTC) in which they were opened, "YYYY-MM"
    priority: low, normal, high, urgent, or chat
    opened: how many there are
    waiting: how many were never answered; percentiles cannot know how long these will have waited
    unresolved: how many are not resolved now; of chats, how many are not said to have ended well
    answer_p50: seconds after which half of those answered had their first answer, within 5 %; null if none was answered
    answer_p90: seconds after which nine in ten of them had it, within 5 %; null if none was answered
    answer_level: the service level for a first answer, in seconds
    answered_in_time: share within that level of those answered or due, 0-1; null while there are none
    resolution_p50: seconds after which half of those resolved were resolved, within 5 %; null if none was
    resolution_p90: seconds after which nine in ten of them were, within 5 %; null if none was
    resolution_level: the service level for the solution, in seconds; null for chats
    resolved_in_time: share within that level of those resolved or due, 0-1; null while there are none, and for chats
    reopened: share of those ever resolved that were reopened, 0-1; null while there are none, and for chats
    """

    month_priority: str
    month: str = ""
    priority: str = ""
    opened: int = 0
    waiting: int = 0
    unresolved: int = 0
    answer_p50: float | None = None
    answer_p90: float | None = None
    answer_level: float = 0.0
    answered_in_time: float | None = None
    resolution_p50: float | None = None
    resolution_p90: float | None = None
    resolution_level: float | None = None
    resolved_in_time: float | None = None
    reopened: float | None = None


support = Aggregate("support", version=1, row=SupportShare, reads=Support, of=tickets)


@support.of_row
def ticket_share(row: Ticket) -> list[SupportShare]:
    """What one ticket adds to its month; nothing while nobody has told us when it was opened."""
    if row.opened_at is None:
        return []
    share = _share(row.opened_at, row.priority)
    share.answered = int(row.answered_at is not None)
    share.answered_in_time, share.answered_late = int(row.answered_late is False), int(row.answered_late is True)
    share.resolved = int(row.resolved_at is not None)
    share.resolved_in_time, share.resolved_late = int(row.resolved_late is False), int(row.resolved_late is True)
    share.settled, share.reopened = int(bool(row.resolutions or row.reopened)), int(row.reopened > 0)
    share.answer_seconds, share.resolution_seconds = _bar(row.answer_seconds), _bar(row.resolution_seconds)
    return [share]


@support.on(ChatEnded)
def chat_share(event: Event[ChatEnded]) -> list[SupportShare]:
    """What one chat adds to its month; one in which nobody answered missed the service level."""
    if not is_account(event.subject):
        return []
    data = event.data
    share = _share(event.time, CHAT)
    share.answered = int(data.wait is not None)
    in_time = data.wait is not None and data.wait <= CHAT_ANSWER_WITHIN.total_seconds()
    share.answered_in_time, share.answered_late = int(in_time), int(not in_time)
    share.answer_seconds = _bar(data.wait)
    if data.resolved:
        share.resolved, share.resolution_seconds = 1, _bar(data.duration)
    return [share]


@support.read
def told(shares: list[SupportShare]) -> Iterable[Support]:
    """Percentiles and shares of each month and priority."""
    for one in shares:
        chat = one.priority == CHAT
        priority = cast(Priority, one.priority)
        yield Support(
            month_priority=one.month_priority,
            month=one.month,
            priority=one.priority,
            opened=one.opened,
            waiting=one.opened - one.answered,
            unresolved=one.opened - one.resolved,
            answer_p50=percentile(one.answer_seconds, 0.5),
            answer_p90=percentile(one.answer_seconds, 0.9),
            answer_level=(CHAT_ANSWER_WITHIN if chat else ANSWER_WITHIN[priority]).total_seconds(),
            answered_in_time=_part(one.answered_in_time, one.answered_in_time + one.answered_late),
            resolution_p50=percentile(one.resolution_seconds, 0.5),
            resolution_p90=percentile(one.resolution_seconds, 0.9),
            resolution_level=None if chat else RESOLVE_WITHIN[priority].total_seconds(),
            resolved_in_time=_part(one.resolved_in_time, one.resolved_in_time + one.resolved_late),
            reopened=_part(one.reopened, one.settled),
        )


def percentile(bars: dict[str, int], share: float) -> float | None:
    """The seconds within which this ``share`` (0-1) of what the histogram counts lies; None when it is empty."""
    wanted, seen = share * sum(bars.values()), 0
    for bar in sorted(map(int, bars)):
        seen += bars[str(bar)]
        if seen >= wanted:
            return 0.0 if bar == 0 else EDGES[bar - 1] * 1.1**0.5
    return None


def _bar(seconds: float | None) -> dict[str, int]:
    return {} if seconds is None else {str(bisect_right(EDGES, seconds)): 1}


def _share(opened: datetime, priority: str) -> SupportShare:
    month = opened.astimezone(UTC).strftime("%Y-%m")
    return SupportShare(f"{month}|{priority}", month, priority, 1)


def _part(some: int, of: int) -> float | None:
    return some / of if of else None
