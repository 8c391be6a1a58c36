"""What rules would have decided on a history, and how that differs from what others would have.

Pure. The decisions on the log are passed over: they are those of the rules of then. What people did stays, and closes a
follow-up only if the very same one was asked for; any other is open until it expires.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Raw, Struct

from engage.events.catalogue import type_of
from engage.events.catalogue.clock import ClockTicked
from engage.events.catalogue.follow_up import FollowUpRequested, SkipReason
from engage.events.envelope import EPOCH, PARTITION_SUBJECT, Event
from engage.rules.deciding import Basis
from engage.rules.decisions import TYPES as DECISIONS
from engage.rules.engine import ACTIVATED, Engine

Difference = Literal["new", "gone", "earlier", "later", "asked", "skipped", "another_reason"]
"""``asked``: it was skipped before and is asked for now. ``skipped``: the other way round. ``another_reason``: it is
skipped as before, and not for the same reason."""

GAP = timedelta(days=45)
"""Two decisions on the same matter are one that moved if less than two of these lie between them, else two."""

_TICK = type_of(ClockTicked)
_NOTHING = Raw(b"{}")
_PASSED_OVER = frozenset((*DECISIONS, ACTIVATED))


class Decided(Struct, frozen=True):
    """A follow-up that was asked for, or skipped for a ``reason``, at ``at`` on the log's time."""

    account: str
    rule: str
    about: str
    at: datetime
    id: str
    reason: SkipReason | None = None


class Changed(Struct, frozen=True):
    """How a decision differs: what it was ``before`` and is ``after``, None where there is none."""

    difference: Difference
    before: Decided | None
    after: Decided | None


class RuleChange(Struct):
    """What the difference comes to for one rule: follow-ups asked for before and after, and how many of each kind."""

    rule: str
    before: int = 0
    after: int = 0
    differences: dict[str, int] = {}


class AsIf:
    """A fresh engine that decides on a partition's history as if all its rules had spoken from the first record on.

    A wake fires at its own time, as it does where time is told.
    """

    def __init__(self, engine: Engine) -> None:
        active = {one.rule: Basis(one.rule_version, one.settings, 0) for one in engine.activations()}
        engine.resume(active, 0, ())
        self._engine = engine
        self._tick = _tick_of(engine.partition)
        self._last: Event[Any] | None = None
        self.decided: list[Decided] = []

    def fold(self, event: Event[Any]) -> None:
        """The next record of the partition."""
        if event.type in _PASSED_OVER:
            return
        if self._engine.cells.may_be_due(event.now):  # looked at here: at most records nothing is due
            self._wake(event.now, event)
        if decisions := self._engine.fold(event):
            self._keep(decisions)
        self._last = event

    def pass_time(self, until: datetime) -> None:
        """Nothing more comes: what is due by then comes about."""
        if self._last is not None:
            self._wake(until, self._last)

    def _wake(self, until: datetime, event: Event[Any]) -> None:
        """What comes due up to then, each told of by a tick of its own moment at the place of ``event``."""
        cells, tick = self._engine.cells, self._tick
        while cells.may_be_due(until) and (due := cells.next_due()) is not None and due <= until:
            tick.time = tick.recorded = due
            tick.offset = event.offset
            self._keep(self._engine.fold(tick))

    def _keep(self, decisions: Iterable[Event[Any]]) -> None:
        for one in decisions:
            data = one.data
            reason = None if isinstance(data, FollowUpRequested) else data.reason
            self.decided.append(Decided(one.subject, data.rule, data.about, one.time, one.id, reason))


def differences(before: Iterable[Decided], after: Iterable[Decided]) -> list[Changed]:
    """How ``after`` differs from ``before``, in the order of time, matched by account, rule and subject matter."""
    found: list[Changed] = []
    matters = (_by_matter(before), _by_matter(after))
    for matter in matters[0].keys() | matters[1].keys():
        was, now = (each.get(matter, []) for each in matters)
        if was != now:
            found += _compared(was, now)
    return in_order(found)


def in_order(changed: Iterable[Changed]) -> list[Changed]:
    """In the order of time."""
    return sorted(changed, key=_order)


def by_rule(asked: Mapping[str, tuple[int, int]], changed: Iterable[Changed]) -> list[RuleChange]:
    """The numbers, a rule each, by its name; ``asked`` counts the follow-ups of each, before and after."""
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for one in changed:
        kinds[_either(one).rule][one.difference] += 1
    names = sorted(asked.keys() | kinds.keys())
    return [RuleChange(name, *asked.get(name, (0, 0)), dict(sorted(kinds[name].items()))) for name in names]


def _tick_of(partition: int) -> Event[Any]:
    """A tick to be set to each moment in turn: the engine keeps nothing of it, and to make one takes as long."""
    return Event(
        specversion="1.0",
        id="tick",
        source="engage/clock",
        type=_TICK,
        subject=f"{PARTITION_SUBJECT}{partition}",
        time=EPOCH,
        data=_NOTHING,
        recorded=EPOCH,
        partition=partition,
    )


def _by_matter(decisions: Iterable[Decided]) -> dict[tuple[str, str, str], list[Decided]]:
    found: dict[tuple[str, str, str], list[Decided]] = {}
    for one in decisions:
        found.setdefault((one.account, one.rule, one.about), []).append(one)
    return found


def _compared(was: Sequence[Decided], now: Sequence[Decided]) -> Iterator[Changed]:
    for before, after in _aligned(was, now):
        if (difference := _difference(before, after)) is not None:
            yield Changed(difference, before, after)


def _difference(before: Decided | None, after: Decided | None) -> Difference | None:
    if before is None or after is None:
        one = before or after
        assert one is not None, "what is aligned is there on one side at least"
        if one.reason is not None:
            return None  # a "no" more or less says nothing by itself
        return "new" if before is None else "gone"
    if before.reason is None and after.reason is None:
        return None if before.at == after.at else "earlier" if after.at < before.at else "later"
    if before.reason == after.reason:
        return None
    return "asked" if after.reason is None else "skipped" if before.reason is None else "another_reason"


def _aligned(was: Sequence[Decided], now: Sequence[Decided]) -> Iterator[tuple[Decided | None, Decided | None]]:
    """Both in order, side by side, so that they lie as little apart as they can (Needleman and Wunsch, 1970).

    One without a counterpart costs ``GAP``; two cost the time between them, and a moment if one is a "no", so that of
    two decisions of one moment those of a kind go together.
    """
    gap, unlike = GAP.total_seconds(), 1.0

    def apart(before: Decided, after: Decided) -> float:
        return abs((after.at - before.at).total_seconds()) + unlike * (
            (before.reason is None) != (after.reason is None)
        )

    costs = [[gap * column for column in range(len(now) + 1)]]
    for row, before in enumerate(was, 1):
        costs.append([gap * row])
        for column, after in enumerate(now, 1):
            together = costs[row - 1][column - 1] + apart(before, after)
            costs[row].append(min(together, costs[row - 1][column] + gap, costs[row][column - 1] + gap))
    pairs: list[tuple[Decided | None, Decided | None]] = []
    row, column = len(was), len(now)
    while row or column:
        here = costs[row][column]
        if row and column and here == costs[row - 1][column - 1] + apart(was[row - 1], now[column - 1]):
            row, column = row - 1, column - 1
            pairs.append((was[row], now[column]))
        elif row and here == costs[row - 1][column] + gap:
            row -= 1
            pairs.append((was[row], None))
        else:
            column -= 1
            pairs.append((None, now[column]))
    return reversed(pairs)


def _either(changed: Changed) -> Decided:
    one = changed.after or changed.before
    assert one is not None, "it was there before, or is now"
    return one


def _order(changed: Changed) -> tuple[datetime, str, str, str]:
    one = _either(changed)
    return (one.at, one.account, one.rule, one.about)
