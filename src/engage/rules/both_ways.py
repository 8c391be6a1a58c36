"""One history folded two ways at once: what both have in common is folded once, an account's policy until they part.

Pure. A rule of the same code, version and settings makes the same of an account's events whatever else there is, so one
engine holds every rule of both ways, those that differ twice, under names of their own. The policy hears them all: its
memory of an account is one until a rule of one way alone speaks of it, and two from there on. On the demo's history
with one rule that differs, this takes little more than half the time of two engines.

The decisions on the log are passed over: they are those of the rules of then. What people did stays, and closes a
follow-up only if the very same one was asked for; any other is open until it expires.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from copy import copy
from datetime import datetime
from functools import partial
from typing import Any

from msgspec import Raw, Struct
from msgspec.structs import replace

from engage.events.catalogue import type_of
from engage.events.catalogue.clock import ClockTicked
from engage.events.catalogue.follow_up import FollowUpRequested
from engage.events.envelope import EPOCH, PARTITION_SUBJECT, Event
from engage.rules import policy
from engage.rules.cell import Cell, Row, RuleCells
from engage.rules.cells import Cells
from engage.rules.deciding import Basis, Deciding, Observer
from engage.rules.decisions import TYPES as DECISIONS
from engage.rules.decisions import Proposal
from engage.rules.engine import ACTIVATED, Engine
from engage.rules.mending import Hushed
from engage.rules.policy import PolicySettings, PolicyState
from engage.rules.rule import Rule
from engage.rules.what_if import Decided

_BEFORE, _AFTER = "\x01", "\x02"
"""Behind the name of what belongs to one way alone. They sort before all that names are made of, so rules are woken in
the same order as under their own names."""
_POLICY_AFTER = policy.NAME + _AFTER
_TICK = type_of(ClockTicked)
_NOTHING = Raw(b"{}")
_PASSED_OVER = frozenset((*DECISIONS, ACTIVATED))


class Way(Struct, frozen=True):
    """The rules and the policy's settings of one way."""

    rules: Sequence[Rule[Any, Any]]
    policy: PolicySettings = PolicySettings()


class BothWays:
    """Decides on a partition's history as if all rules of a way had spoken from the first record on.

    A wake fires at its own time, as it does where time is told. Rules that are in both ways stand in the same order in
    both. ``wanted`` are the event types whose data is to be opened. What is decided comes in three lists: ``alike`` of
    accounts before the ways part, ``before`` and ``after`` of those from there on.
    """

    def __init__(self, partition: int, before: Way, after: Way) -> None:
        rules = list(_joined(before.rules, after.rules))
        engine = Engine(partition, rules, before.policy, deciding=partial(_BothDeciding, before, after))
        engine.resume({one.rule: Basis(one.rule_version, one.settings, 0) for one in engine.activations()}, 0, ())
        deciding = engine.deciding
        assert isinstance(deciding, _BothDeciding), "it was made so"
        self.wanted = engine.wanted
        self.alike, self.before, self.after = deciding.alike, deciding.before, deciding.after
        self._parted = deciding.parted
        self._engine = engine
        self._tick = _tick_of(partition)
        self._last: Event[Any] | None = None

    def apart(self) -> tuple[list[Decided], list[Decided]]:
        """All decisions, before and after, on the accounts on which the ways have parted: no other can differ."""
        common = [one for one in self.alike if one.account in self._parted]
        return [*common, *self.before], [*common, *self.after]

    def fold(self, event: Event[Any]) -> None:
        """The next record of the partition."""
        if event.type in _PASSED_OVER:
            return
        if self._engine.cells.may_be_due(event.now):  # looked at here: at most records nothing is due
            self._wake(event.now, event)
        self._engine.fold(event)
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
            self._engine.fold(tick)


class _BothDeciding(Deciding):
    """The policies of both ways over the same ``cells``; what they decide is kept here, and no event comes of it."""

    def __init__(
        self,
        before: Way,
        after: Way,
        cells: Cells,
        settings: PolicySettings,
        rules: Container[str],
        hushed: Hushed,
    ) -> None:
        super().__init__(cells, settings, {rule.name for rule in before.rules}, hushed)
        cells.add(_POLICY_AFTER, PolicyState)
        names = {rule.name for rule in after.rules}
        self._second = Deciding(cells, after.policy, names, hushed, _POLICY_AFTER)
        self._differ = before.policy != after.policy
        self._speaking = {rule.name: Basis(rule.version, {}, 0) for way in (before, after) for rule in way.rules}
        self.parted: set[str] = set()
        self.alike: list[Decided] = []
        self.before: list[Decided] = []
        self.after: list[Decided] = []

    def decide_on(self, proposals: list[Proposal], basis: Mapping[str, Basis]) -> list[Event[Any]]:
        """Each way's word on its own proposals."""
        parted = self.parted
        for one in proposals:
            if (self._differ or one.rule[-1] in (_BEFORE, _AFTER)) and one.account not in parted:
                self._part(one.account)
        if not parted or parted.isdisjoint([one.account for one in proposals]):
            self.alike += _told(super().decide_on(proposals, self._speaking))
            return []
        alike: list[Proposal] = []
        before: list[Proposal] = []
        after: list[Proposal] = []
        for one in proposals:
            if one.account not in parted:
                alike.append(one)
                continue
            mark = one.rule[-1]
            if mark in (_BEFORE, _AFTER):
                one = replace(one, rule=one.rule[:-1])
            if mark != _AFTER:
                before.append(one)
            if mark != _BEFORE:
                after.append(one)
        self.alike += _told(super().decide_on(alike, self._speaking))
        self.before += _told(super().decide_on(before, self._speaking))
        self.after += _told(self._second.decide_on(after, self._speaking))
        return []

    def hear(self, row: Row, observer: Observer, event: Event[Any]) -> None:
        """See ``Deciding.hear``."""
        super().hear(row, observer, event)
        if row.account in self.parted:
            self._second.hear(row, observer, event)

    def hearing(self, row: Row) -> Sequence[RuleCells]:
        """See ``Deciding.hearing``."""
        first = super().hearing(row)
        return [*first, *self._second.hearing(row)] if row.account in self.parted else first

    def released(
        self, cells: RuleCells, cell: Cell[PolicyState], due: datetime, event: Event[Any], account: str
    ) -> list[Proposal]:
        """See ``Deciding.released``: proposed to the way that had deferred it."""
        found = super().released(cells, cell, due, event, account)
        if account not in self.parted:
            return found
        mark = _AFTER if cells.rule == _POLICY_AFTER else _BEFORE
        return [replace(one, rule=one.rule + mark) for one in found]

    def begin_anew(self, row: Row, *, wholly: bool) -> None:
        """See ``Deciding.begin_anew``."""
        super().begin_anew(row, wholly=wholly)
        if row.account in self.parted:
            self._second.begin_anew(row, wholly=wholly)

    def _part(self, account: str) -> None:
        """From here on each way has its own memory of the account."""
        self.parted.add(account)
        self._cells.adopt_one(_POLICY_AFTER, account, self._cells, policy.NAME)


def _joined(before: Iterable[Rule[Any, Any]], after: Iterable[Rule[Any, Any]]) -> Iterator[Rule[Any, Any]]:
    """The rules of both, each that is the same in both once, and the others under names of their own."""
    was, now_is = ({rule.name: rule for rule in rules} for rules in (before, after))
    for name in dict.fromkeys((*was, *now_is)):
        ours, theirs = was.get(name), now_is.get(name)
        if ours is not None and theirs is not None and _same(ours, theirs):
            yield ours
            continue
        for rule, mark in ((ours, _BEFORE), (theirs, _AFTER)):
            if rule is not None:
                yield _named(rule, name + mark)


def _same(one: Rule[Any, Any], other: Rule[Any, Any]) -> bool:
    """Whether both would do the same at every event."""
    return (
        one.handlers == other.handlers
        and one.wake_handler is other.wake_handler
        and one.state is other.state
        and one.version == other.version
        and one.settings == other.settings
    )


def _named(rule: Rule[Any, Any], name: str) -> Rule[Any, Any]:
    named = copy(rule)
    named.name = name
    return named


def _told(decisions: Iterable[Event[Any]]) -> list[Decided]:
    return [
        Decided(
            one.subject,
            one.data.rule,
            one.data.about,
            one.time,
            one.id,
            None if isinstance(one.data, FollowUpRequested) else one.data.reason,
        )
        for one in decisions
    ]


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
