"""Disputes: their stages in whatever order the news comes, the hours between, and the day a stage is overdue."""

from itertools import permutations
from typing import Any

from engage.events.catalogue.disputes import (
    DisputeAcknowledged,
    DisputeEscalated,
    DisputeOpened,
    DisputeSettled,
    EvidenceSubmitted,
    SettlementProposed,
)
from engage.events.envelope import Event
from engage.testing.events import happened, moment
from engage.testing.projections import given
from projections.partners.disputes import disputes

KEY = "acc-1|x-1"
OPENED = happened(
    DisputeOpened(dispute_id="x-1", topic="quality", amount=900.0, currency="EUR", by="us", delivery_id="d-1"),
    at="2026-01-01",
)
TAKEN_UP = happened(DisputeAcknowledged(dispute_id="x-1", by="them"), at="2026-01-02T12:00")
OFFER = happened(SettlementProposed(dispute_id="x-1", amount=400.0, currency="EUR", by="them"), at="2026-01-04T12:00")
SETTLED = happened(DisputeSettled(dispute_id="x-1", outcome="credited", amount=600.0, currency="EUR"), at="2026-01-06")


def test_a_dispute_from_its_opening_to_its_end() -> None:
    told = given(disputes, OPENED)
    told.then(KEY, stage="opened", turn="them", amount=900.0, currency="EUR", deadline=moment("2026-01-04"))
    told.when(TAKEN_UP).then(KEY, stage="acknowledged", turn="them", hours_to_acknowledge=36.0)
    told.when(OFFER).then(KEY, stage="proposed", turn="us", hours_to_propose=48.0, proposed_amount=400.0)
    told.when(SETTLED).then(KEY, stage="settled", turn=None, deadline=None, hours_to_settle=120.0, outcome="credited")
    told.until("2027-01-01").then(KEY, overdue=False, settled_amount=600.0)


def test_the_news_may_come_in_any_order() -> None:
    story = [OPENED, TAKEN_UP, OFFER, SETTLED]
    late = [happened(event.data, at=event.time, recorded="2026-02-01") for event in story]
    expected = given(disputes, *late).rows
    for order in permutations(late):
        assert given(disputes, *order).rows == expected


def test_a_stage_is_overdue_on_its_day_until_it_moves_on() -> None:
    told = given(disputes, OPENED).until("2026-01-03").then(KEY, overdue=False)
    told.until("2026-01-04").then(KEY, overdue=True).when(
        happened(DisputeAcknowledged(dispute_id="x-1", by="them", answer_due=moment("2026-01-20")), at="2026-01-05")
    )
    told.then(KEY, overdue=False, deadline=moment("2026-01-20")).until("2026-01-21").then(KEY, overdue=True)


def test_news_of_a_stage_that_had_run_out_is_overdue_at_once() -> None:
    late = happened(OPENED.data, at="2026-01-01", recorded="2026-02-01")
    given(disputes, late).then(KEY, overdue=True)


def test_a_counter_proposal_turns_it_round() -> None:
    counter = happened(SettlementProposed(dispute_id="x-1", amount=700.0, by="us"), at="2026-01-05")
    told = given(disputes, OPENED, OFFER, counter)
    told.then(KEY, turn="them", proposals=2, proposed_amount=700.0, proposed_currency="USD")
    told.then(KEY, proposed_at=OFFER.time, hours_to_propose=84.0)


def test_an_escalated_dispute_is_for_those_above_both() -> None:
    shown = happened(EvidenceSubmitted(dispute_id="x-1", by="us", kind="photo"), at="2026-01-03")
    up = happened(DisputeEscalated(dispute_id="x-1", level="management", by="us"), at="2026-01-10")
    given(disputes, OPENED, shown, up).then(
        KEY, stage="escalated", level="management", turn=None, evidence=1, deadline=moment("2026-01-31")
    )


def test_disputes_of_two_accounts_with_one_name_are_two() -> None:
    other: Event[Any] = happened(OPENED.data, at="2026-01-01", subject="acc-2")
    assert set(given(disputes, OPENED, other).rows) == {KEY, "acc-2|x-1"}
