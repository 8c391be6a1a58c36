"""How often rules ask, and why they are not let."""

from engage.events.catalogue.follow_up import Cause, FollowUpSkipped
from engage.testing.events import happened
from engage.testing.projections import given
from projections.shared.rule_decisions import rule_decisions
from tests.projections.test_follow_ups import requested


def skipped(reason, about):
    data = FollowUpSkipped(
        rule="win-back",
        rule_version=2,
        about=about,
        what="win back",
        reason=reason,
        detail="so it is",
        matter=about,
        cause=Cause(id="e-1", source="test", partition=0, offset=1),
        decided_at=1,
    )
    return happened(data, at="2026-03-01")


def test_what_a_rule_asked_for_and_what_it_was_not_let_is_counted_by_reason():
    told = given(rule_decisions, requested(), skipped("consent", "o-1"), skipped("cap", "o-2"), skipped("cap", "o-3"))
    told.then("win-back", asked=1, skipped=3, reasons={"cap": 2, "consent": 1})
