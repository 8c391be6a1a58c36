"""Each stage of a dispute has its deadline, and the manager hears of it once when it has passed."""

import pytest

from engage.events.catalogue.disputes import (
    DisputeAcknowledged,
    DisputeEscalated,
    DisputeOpened,
    DisputeSettled,
    SettlementProposed,
)
from engage.testing.events import happened, moment
from engage.testing.rules import given, requested, skipped
from streams.partners.dispute_stage_overdue import rule

ACKNOWLEDGE, PROPOSE, ESCALATE, DECIDE = (
    "dispute to acknowledge",
    "settlement to propose",
    "dispute to escalate",
    "escalated dispute to decide",
)


def opened(at="2026-03-01", by="us", dispute="x-1", **more):
    return happened(DisputeOpened(dispute_id=dispute, topic="price", by=by), at=at, **more)


def acknowledged(at, by="them", due=None, **more):
    data = DisputeAcknowledged(dispute_id="x-1", by=by, answer_due=moment(due) if due else None)
    return happened(data, at=at, **more)


def proposed(at, by="them", due=None, **more):
    data = SettlementProposed(dispute_id="x-1", by=by, amount=10.0, answer_due=moment(due) if due else None)
    return happened(data, at=at, **more)


def escalated(at, **more):
    return happened(DisputeEscalated(dispute_id="x-1"), at=at, **more)


def settled(at, dispute="x-1", **more):
    return happened(DisputeSettled(dispute_id=dispute), at=at, **more)


@pytest.mark.parametrize(
    ("by", "priority", "turn"),
    [("us", "high", " It is their turn."), ("them", "urgent", " It is our turn."), (None, "high", "")],
)
def test_a_dispute_is_to_be_acknowledged_within_three_days(by, priority, turn):
    (
        given(rule, opened(by=by))
        .when(time="2026-03-03T23:59")
        .then_nothing()
        .when(time="2026-03-04")
        .then(
            requested(
                ACKNOWLEDGE,
                about="x-1",
                purpose="partnership",
                priority=priority,
                channels=["manager"],
                why=f"Dispute x-1 was opened on 2026-03-01, and after 3 days has not been acknowledged.{turn}",
            )
        )
        .when(time="2026-12-31")
        .then_nothing()
    )


def test_every_stage_has_a_deadline_of_its_own_and_none_hides_the_next():
    (
        given(rule, opened())
        .when(time="2026-03-04")
        .then(requested(ACKNOWLEDGE))
        .when(acknowledged("2026-03-05"), time="2026-03-14T23:59")
        .then_nothing()
        .when(time="2026-03-15")
        .then(requested(PROPOSE, why=None, about="x-1"))
        .when(proposed("2026-03-16"), time="2026-03-26")
        .then(requested(ESCALATE, priority="urgent"))
        .when(escalated("2026-03-27"), time="2026-04-16T23:59")
        .then_nothing()
        .when(time="2026-04-17")
        .then(requested(DECIDE, priority="urgent"))
        .when(settled("2026-04-20"), time="2026-12-31")
        .then_nothing()
    )


def test_a_dispute_that_moves_on_in_time_needs_nobody():
    (
        given(rule, opened(), acknowledged("2026-03-02"), proposed("2026-03-10"), settled("2026-03-15"))
        .when(time="2026-12-31")
        .then_nothing()
    )


def test_a_date_that_the_parties_named_takes_the_place_of_ours():
    (
        given(rule, opened(), acknowledged("2026-03-02", due="2026-03-30"))
        .when(time="2026-03-29")
        .then_nothing()
        .when(time="2026-03-30")
        .then(requested(PROPOSE))
    )
    given(rule, opened(), proposed("2026-03-02", due="2026-03-05")).when(time="2026-03-05").then(requested(ESCALATE))


def test_a_counter_proposal_turns_it_round_and_starts_the_time_anew():
    (
        given(rule, opened(), proposed("2026-03-05", by="them"), proposed("2026-03-10", by="us"))
        .when(time="2026-03-19")
        .then_nothing()
        .when(time="2026-03-20")
        .then(
            requested(
                ESCALATE,
                priority="high",
                why="Dispute x-1 got a proposal on 2026-03-10, and after 10 days it has been neither accepted nor "
                "countered. It is their turn.",
            )
        )
    )


def test_news_of_an_earlier_stage_changes_nothing():
    (
        given(rule, proposed("2026-03-05"), acknowledged("2026-03-02", recorded="2026-03-06"))
        .when(opened(recorded="2026-03-07"), time="2026-03-14")
        .then_nothing()
        .when(time="2026-03-15")
        .then(requested(ESCALATE))
    )


def test_a_dispute_whose_settlement_we_learnt_of_first_is_settled():
    given(rule, settled("2026-03-10"), opened(recorded="2026-03-11")).when(time="2026-12-31").then_nothing()


def test_the_same_news_twice_asks_once():
    (
        given(rule, opened(), opened(id="again"))
        .when(time="2026-03-04")
        .then(requested(ACKNOWLEDGE))
        .when(opened(id="and again", recorded="2026-03-05"), time="2026-12-31")
        .then_nothing()
    )


def test_a_dispute_that_we_learn_of_a_month_late_is_stale():
    given(rule, opened(recorded="2026-04-15")).when(time="2026-04-16").then(skipped(ACKNOWLEDGE, reason="stale"))


def test_each_dispute_has_its_own_clock_and_old_settled_ones_are_forgotten():
    many = [settled(f"2026-02-{n:02}", dispute=f"old-{n}") for n in range(1, 29)]
    story = given(rule, *many, opened(), opened(dispute="x-2"), settled("2026-03-02", dispute="x-2"))
    assert len(story.state(rule).disputes) == 21
    story.when(time="2026-12-31").then(requested(ACKNOWLEDGE, about="x-1"))
