"""Does the win-back rule call who has really gone? On real purchases, against calling after a fixed 60 days of silence.

The shipped rule runs through ``PartitionRunner``, fed with the purchases as they were lived, up to the calibration's
end. A call is right when the customer bought nothing from its moment until the outcome's end. Everybody has consented
and nobody is held out, for the rule is asked about and not the policy; there are no quiet hours, for the file does not
know the hour of a purchase.

A 60-day rule calls far more often, so which of its calls to take decides what it looks like. ``SAME_DAYS`` is the peer:
whenever win-back calls somebody, it calls somebody too, the one who has most lately completed 60 days of a silence in
which it has not called. So both make as many calls, on the same days, which leave the same time to come back in. Both
call only who has bought on two days or more. Around it stand: all its calls; as many calls to those who have been
silent longest (easier to be right about, but later: see the days of silence); and as many with customers of a single
purchase day, of whom most never come back and whom win-back, having no rhythm to go by, leaves alone. ``LONGER`` is
the shortest fixed silence, in whole days, that by itself makes no more calls than win-back: what patience alone can do.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import msgspec
from msgspec import Struct

from engage.events import codec
from engage.events.catalogue import type_of
from engage.events.catalogue.consent import ConsentGiven
from engage.events.catalogue.follow_up import FollowUpRequested
from engage.rules.engine import Engine
from engage.rules.policy import PolicySettings
from engage.services.intake import Stamp
from engage.services.partition_runner import PartitionRunner
from engage.services.purchase_history import (
    HELD_OUT,
    SOURCE,
    Period,
    Purchase,
    by_customer,
    days_of,
    end_of,
    in_order,
    order_of,
    read,
    start_of,
)
from engage.services.records import read_event
from streams.customers.win_back import rule

WIN_BACK = "win-back, as shipped"
SAME_DAYS = "60 days, as many calls on the same days"
LONGEST = "60 days, as many calls, longest silent first"
SINGLES = "60 days, as many calls, single purchases too"
EVERY = "60 days, every call"
LONGER = "a longer fixed silence, every call"
FIXED = timedelta(days=60)
_LONGEST_DAYS = 365


class Call(Struct, frozen=True):
    """A customer is called; ``silent`` since their last purchase day."""

    customer: str
    at: datetime
    silent: timedelta


class Silence(Struct, frozen=True):
    """A customer has, when ``passed``, bought nothing for a fixed time; ``ends`` when they buy again, if ever."""

    customer: str
    passed: datetime
    ends: datetime | None


class Called(Struct, frozen=True):
    """What came of a way to call: how many calls to how many customers, after how many days of silence (median).

    ``gone`` of the calls were right: the customer bought nothing until the end. ``share`` is theirs, 0-1.
    """

    calls: int
    customers: int
    silent_days: float
    gone: int
    share: float


class Compared(Struct, frozen=True):
    """The calls made up to the calibration's end, by each way to call."""

    period: Period
    ways: dict[str, Called]


class WinBackBenchmark(Struct, frozen=True):
    """What ``engage benchmark win-back`` shows."""

    purchases: int
    periods: list[Compared]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        result: dict[str, Any] = msgspec.to_builtins(self)
        return result


def run(path: Path) -> WinBackBenchmark:
    """The benchmark on the purchases in ``path``; ValueError when it cannot be read as such, naming the line."""
    purchases = in_order(read(path))
    return WinBackBenchmark(len(purchases), compare(purchases, HELD_OUT))


def compare(purchases: Sequence[Purchase], periods: Sequence[Period]) -> list[Compared]:
    """Each period's calls and what came of them; ``purchases`` and ``periods`` are in order."""
    days = {customer: days_of(history) for customer, history in by_customer(purchases).items()}
    bought = {customer: [start_of(day) for day in known] for customer, known in days.items()}
    every_call = list(_calls(purchases, bought, periods[-1].calibration))
    found = []
    for period in periods:
        until = end_of(period.calibration)
        calls = [call for call in every_call if call.at < until]
        moments = [call.at for call in calls]
        lapsed, anybody = _silences(bought, until, least=2), _silences(bought, until, least=1)
        ways = {
            WIN_BACK: calls,
            SAME_DAYS: _as_many(moments, lapsed, longest_first=False),
            LONGEST: _as_many(moments, lapsed, longest_first=True),
            SINGLES: _as_many(moments, anybody, longest_first=False),
            EVERY: [Call(silence.customer, silence.passed, FIXED) for silence in lapsed],
            LONGER: _patient(len(calls), bought, until),
        }
        told = {way: _called(each, bought, end_of(period.outcome)) for way, each in ways.items()}
        found.append(Compared(period, told))
    return found


def _calls(purchases: Sequence[Purchase], bought: Mapping[str, list[datetime]], until: date) -> Iterator[Call]:
    """What the shipped rule asked for up to the end of that day, in order, had it heard of these purchases as lived."""
    policy = PolicySettings(quiet_hours=None, holdout=0.0)
    runner = PartitionRunner(Engine(0, [rule], policy), Stamp(0), 0, lambda _: ())
    consenting = ConsentGiven(channel="email", purpose="marketing")
    for purchase in purchases:
        if purchase.day > until:
            break
        order = order_of(purchase)
        if order.time == bought[purchase.customer][0]:
            consent = codec.new_event(
                consenting,
                id=f"consent-{purchase.line}",
                source=SOURCE,
                subject=purchase.customer,
                time=order.time,
            )
            runner.admit(consent, order.time, as_lived=True)
        runner.admit(order, order.time, as_lived=True)
    while (due := runner.engine.cells.next_due()) and due < end_of(until):
        runner.tick(due)
    requested = type_of(FollowUpRequested)
    for event in map(read_event, runner.taken()):
        if event.type == requested:
            known = bought[event.subject]
            yield Call(event.subject, event.now, event.now - known[bisect_left(known, event.now) - 1])


def _patient(count: int, bought: Mapping[str, list[datetime]], until: datetime) -> list[Call]:
    """Every call of the shortest fixed silence that makes no more than ``count`` calls: the longer, the fewer."""

    def calls(days: int) -> list[Call]:
        fixed = timedelta(days=days)
        return [Call(each.customer, each.passed, fixed) for each in _silences(bought, until, least=2, fixed=fixed)]

    tried = range(FIXED.days, _LONGEST_DAYS)
    return calls(tried[0] + bisect_left(tried, -count, key=lambda days: -len(calls(days))))


def _silences(
    bought: Mapping[str, list[datetime]], until: datetime, least: int, fixed: timedelta = FIXED
) -> list[Silence]:
    """Every silence of ``fixed`` completed before ``until`` after ``least`` purchase days or more, as they came.

    Those of one day stand in an order drawn by lot: the file's numbers follow the day of the first purchase, and would
    choose by that.
    """
    found = []
    for customer, days in bought.items():
        for last, then in zip(days[least - 1 :], [*days[least:], None], strict=False):
            passed = last + fixed
            if passed < until and (then is None or then >= passed):
                found.append(Silence(customer, passed, then))
    Random(0).shuffle(found)
    return sorted(found, key=lambda silence: silence.passed)


def _as_many(moments: Sequence[datetime], silences: Sequence[Silence], *, longest_first: bool) -> list[Call]:
    """At each moment a call to somebody silent still and not yet called in this silence; if nobody is left, none."""
    waiting: deque[Silence] = deque()
    calls, heard = [], 0
    for at in moments:
        while heard < len(silences) and silences[heard].passed <= at:
            waiting.append(silences[heard])
            heard += 1
        while waiting:
            chosen = waiting.popleft() if longest_first else waiting.pop()
            if chosen.ends is None or chosen.ends >= at:
                calls.append(Call(chosen.customer, at, at - chosen.passed + FIXED))
                break
    return calls


def _called(calls: Sequence[Call], bought: Mapping[str, list[datetime]], end: datetime) -> Called:
    gone = sum(not _bought_between(bought[call.customer], call.at, end) for call in calls)
    days = median(call.silent / timedelta(days=1) for call in calls) if calls else 0.0
    return Called(len(calls), len({call.customer for call in calls}), days, gone, gone / max(len(calls), 1))


def _bought_between(days: Sequence[datetime], start: datetime, end: datetime) -> bool:
    following = bisect_left(days, start)
    return following < len(days) and days[following] < end
