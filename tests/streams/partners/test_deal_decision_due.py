"""A deal that waits for our word is brought to the manager once."""

import pytest

from engage.events.catalogue.deals import DealApproved, DealLost, DealRegistered, DealRejected, DealWon
from engage.testing.events import happened, moment
from engage.testing.rules import given, requested, skipped
from streams.partners.deal_decision_due import rule

DECIDE = "decide on a registered deal"


def registered(at="2026-03-01", closes=None, deal="d-1", **more):
    data = DealRegistered(deal_id=deal, value=12_000.0, currency="EUR", closes=moment(closes) if closes else None)
    return happened(data, at=at, **more)


def approved(at, deal="d-1", **more):
    return happened(DealApproved(deal_id=deal), at=at, **more)


def test_a_deal_is_to_be_decided_within_five_days():
    (
        given(rule, registered())
        .when(time="2026-03-05T23:59")
        .then_nothing()
        .when(time="2026-03-06")
        .then(
            requested(
                DECIDE,
                about="d-1",
                purpose="partnership",
                priority="high",
                channels=["manager"],
                why="They registered deal d-1 over 12,000.00 EUR on 2026-03-01 "
                "and have waited for our word for 5 days.",
                due="2026-03-07",
            )
        )
        .when(registered(id="again", recorded="2026-03-07"), time="2026-12-31")
        .then_nothing()
    )


@pytest.mark.parametrize("decision", [DealApproved, DealRejected, DealWon, DealLost])
def test_a_decided_deal_waits_no_more_whatever_we_learn_first(decision):
    decided = happened(decision(deal_id="d-1"), at="2026-03-03")
    given(rule, registered(), decided).when(time="2026-12-31").then_nothing()
    given(rule, decided, registered(recorded="2026-03-04")).when(time="2026-12-31").then_nothing()


def test_a_deal_that_closes_soon_is_decided_before_it_does():
    (
        given(rule, registered(closes="2026-03-05"))
        .when(time="2026-03-02T23:59")
        .then_nothing()
        .when(time="2026-03-03")
        .then(requested(DECIDE))
    )
    given(rule).when(registered(closes="2026-03-02")).then(requested(DECIDE))


def test_a_deal_registered_twice_waits_since_the_first_time():
    given(rule, registered(), registered(at="2026-03-04")).when(time="2026-03-06").then(requested(DECIDE))


def test_a_deal_that_we_learn_of_too_late_is_stale():
    given(rule, registered(recorded="2026-05-01")).when(time="2026-05-02").then(skipped(DECIDE, reason="stale"))


def test_each_deal_has_its_own_clock_and_decided_ones_are_forgotten_in_the_end():
    many = [approved(f"2026-02-28T00:{n % 60:02}:{n // 60 * 30:02}", deal=f"old-{n}") for n in range(70)]
    story = given(rule, *sorted(many, key=lambda event: event.time), registered(), registered(deal="d-2"))
    story.when(approved("2026-03-02", "d-2"), time="2026-04-01").then(requested(DECIDE, about="d-1"))
    assert len(story.state(rule).done) == 50
    assert story.state(rule).pending == {}
