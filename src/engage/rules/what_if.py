"""How what some rules would have decided on a history (``both_ways``) differs from what others would have. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

from engage.events.catalogue.follow_up import SkipReason

Difference = Literal["new", "gone", "earlier", "later", "asked", "skipped", "another_reason"]
"""``asked``: it was skipped before and is asked for now. ``skipped``: the other way round. ``another_reason``: it is
skipped as before, and not for the same reason."""

GAP = timedelta(days=45)
"""Two decisions on the same matter are one that moved if less than two of these lie between them, else two."""


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
