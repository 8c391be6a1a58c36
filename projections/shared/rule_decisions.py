"""How often does each rule ask for a follow-up, and how often, and why, is it not asked for?"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, field

from engage.events.catalogue.follow_up import FollowUpRequested, FollowUpSkipped
from engage.events.envelope import Event
from engage.views.aggregate import Aggregate


class DecisionsShard(Struct):
    """Decisions on what one rule wanted, of one partition's accounts.

    rule: its name
    asked: follow-ups that were asked for
    skipped: those that were not, each time the reason changed
    reasons: why not, and how often
    """

    rule: str
    asked: int = 0
    skipped: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


class Decisions(Struct):
    """Decisions on what one rule wanted.

    rule: its name
    asked: follow-ups that were asked for
    skipped: those that were not, each time the reason changed
    reasons: why not (consent, cap, quiet_hours, duplicate, holdout, stale), and how often
    """

    rule: str
    asked: int
    skipped: int
    reasons: dict[str, int]


rule_decisions = Aggregate("rule_decisions", version=1, row=DecisionsShard, reads=Decisions)


@rule_decisions.on(FollowUpRequested)
def asked(event: Event[FollowUpRequested]) -> Iterable[DecisionsShard]:
    """One more that was asked for."""
    yield DecisionsShard(event.data.rule, asked=1)


@rule_decisions.on(FollowUpSkipped)
def skipped(event: Event[FollowUpSkipped]) -> Iterable[DecisionsShard]:
    """One more that was not, and why."""
    yield DecisionsShard(event.data.rule, skipped=1, reasons={event.data.reason: 1})


@rule_decisions.read
def counts(shards: list[DecisionsShard]) -> Iterable[Decisions]:
    """The sums as they are."""
    return [Decisions(one.rule, one.asked, one.skipped, dict(sorted(one.reasons.items()))) for one in shards]
