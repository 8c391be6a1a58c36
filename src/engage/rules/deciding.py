"""Deciding: the policy's word on what the rules of a partition propose, and its memory of every word it gave."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from engage.events.catalogue.follow_up import URGENCY
from engage.events.envelope import Event
from engage.rules import policy
from engage.rules.cell import Armed, Cell, Row, RuleCells
from engage.rules.cells import Cells
from engage.rules.decisions import SKIPPED, Proposal, decision, isoformat, proposed_again
from engage.rules.mending import Hushed
from engage.rules.policy import No, PolicySettings, PolicyState, Yes


class Basis(Struct, frozen=True, array_like=True):
    """The version and settings of a rule that its cells were folded with, and from which offset on it emits.

    ``shape`` is that of its cells as they are stored, empty where nobody said. ``rests``: it is disabled.
    """

    version: int
    settings: dict[str, Any]
    since: int
    shape: str = ""
    rests: bool = False


Observer = Callable[[PolicyState, Event[Any]], None]
"""What the policy does at an event."""


class Deciding:
    """The policy over ``cells``; ``rules`` are those that may propose, ``hushed`` says where they do not.

    Its own cells are those called ``name``.
    """

    def __init__(
        self, cells: Cells, settings: PolicySettings, rules: Container[str], hushed: Hushed, name: str = policy.NAME
    ) -> None:
        self._cells = cells
        self._name = name
        self._policy = cells.of(name)
        self._settings = settings
        self._rules = rules
        self._hushed = hushed

    def decide_on(self, proposals: list[Proposal], basis: Mapping[str, Basis]) -> list[Event[Any]]:
        """What is decided on proposals made at one record: the more urgent first, so that it takes the slot."""
        if len(proposals) > 1:
            proposals.sort(key=_urgency)
        decided: list[Event[Any]] = []
        for proposal in proposals:
            if not self._may_speak(proposal, basis):
                continue
            rule, request = proposal.rule, proposal.request
            row = self._cells.row(proposal.account)
            cell = self._policy.get(row)
            matter = policy.matter_of(rule, request)
            verdict: Yes | No = (
                No("consent", "what they said of consent, or what became of follow-ups, cannot be read")
                if cell.parked
                else policy.decide(
                    cell.state,
                    self._settings,
                    rule,
                    proposal.account,
                    request,
                    matter,
                    proposal.base,
                    proposal.now,
                )
            )
            if type(verdict) is No and not policy.is_news(cell.state, rule, request.about, verdict):
                continue
            event = decision(proposal, verdict, matter)
            self._learn(row, cell, event)
            decided.append(event)
        return decided

    def hear(self, row: Row, observer: Observer, event: Event[Any]) -> None:
        """The policy's part in an event of the row's account."""
        cells = self._policy
        cell = row.cells[cells.place] or cells.lend(row)
        observer(cell.state, event)
        if cell is cells.spare:
            if cells.untouched:
                return
            cells.keep(row)
        cells.change(row)

    def hearing(self, row: Row) -> Sequence[RuleCells]:
        """The cells that hear of the row's account."""
        return (self._policy,)

    def released(
        self, cells: RuleCells, cell: Cell[PolicyState], due: datetime, event: Event[Any], account: str
    ) -> list[Proposal]:
        """What was deferred until ``due``, a wake of the policy's ``cell``, and is proposed once more at ``event``."""
        return [proposed_again(each, event, account) for each in policy.release(cell.state, due)]

    def begin_anew(self, row: Row, *, wholly: bool) -> None:
        """Forget what the row's account said, or ``wholly`` all that is known of it."""
        if wholly:
            self._policy.forget(row)
        else:
            policy.begin_anew(self._policy.get(row).state)
            self._policy.change(row)

    def learn(self, known: Sequence[Event[Any]]) -> None:
        """Remember decisions that stand on the log, typed."""
        for event in known:
            row = self._cells.row(event.subject)
            self._learn(row, self._policy.get(row), event)

    def learn_retold(self, known: Event[Any], now: datetime) -> None:
        """Remember a decision on an account that turned out to be this one, as far as it is of use ``now``."""
        if known.type == SKIPPED and known.data.deferred and known.data.deferred.until <= now:
            return
        row = self._cells.row(known.subject)
        cell = self._policy.get(row)
        self._learn(row, cell, known)
        cell.state.contacted.sort(key=lambda contact: contact.at)

    def _may_speak(self, proposal: Proposal, basis: Mapping[str, Basis]) -> bool:
        """A rule from its activation on; of what was deferred it only has to be here still, it was active then."""
        known = basis.get(proposal.rule)
        if known is not None and known.rests:
            return False
        if proposal.deferred_until:
            return proposal.rule in self._rules
        if self._hushed and self._hushed.covers(proposal.rule, proposal.account, proposal.decided_at):
            return False
        return known is not None and proposal.decided_at >= known.since

    def _learn(self, row: Row, cell: Cell[PolicyState], known: Event[Any]) -> None:
        policy.learn(cell.state, self._settings, known)
        if known.type == SKIPPED and known.data.deferred:
            until, cause = known.data.deferred.until, known.data.cause
            armed = Armed(until, until, cause.id, cause.source, cause.offset)
            self._cells.arm(row, cell, self._name, isoformat(until), armed)
        self._policy.change(row)


def _urgency(proposal: Proposal) -> int:
    return URGENCY[proposal.request.priority]
