"""The demo's loyalty programme: those who come often collect points, rise, and spend no more than they have."""

from collections import Counter, defaultdict
from datetime import timedelta

import pytest

from engage.demo.history import SIMULATION, history
from engage.events import codec
from tests.demo.given import NOW, TODAY

FAMILY = {"Points Earned", "Points Redeemed", "Tier Reached", "Referral Made", "Order Completed", "Chargeback Received"}


@pytest.fixture(scope="module")
def stories():
    """What members do, by account."""
    found = defaultdict(list)
    for event in history(today=TODAY, now=NOW, scale=0.2):
        if event.type in FAMILY:
            found[event.subject].append(codec.open_data(event))
    return found


def members(stories):
    return [story for story in stories.values() if any(event.type == "Points Earned" for event in story)]


def test_a_few_of_those_who_come_often_are_members(stories):
    regulars = [story for story in stories.values() if sum(event.type == "Order Completed" for event in story) >= 3]
    assert 0.05 < len(members(stories)) / len(regulars) < 0.15
    assert all(story in regulars for story in members(stories))


def test_points_lapse_a_year_after_they_were_earned_and_nobody_spends_more_than_they_have(stories):
    for story in members(stories):
        balance = 0
        for event in story:
            if event.type == "Points Earned":
                assert timedelta(days=364) < event.data.expires - event.time <= timedelta(days=365)
                balance += event.data.points
            elif event.type == "Points Redeemed":
                balance -= event.data.points
            assert balance >= 0


def test_members_rise_with_their_orders(stories):
    for story in members(stories):
        kinds = Counter(event.type for event in story)
        tiers = [event.data.tier for event in story if event.type == "Tier Reached"]
        assert tiers == ["silver", "gold", "platinum"][: len(tiers)]
        assert len(tiers) == sum(kinds["Order Completed"] >= orders for orders in (3, 6, 12))


def test_referrals_and_chargebacks_are_rare_and_simulated(stories):
    events = [event for story in stories.values() for event in story]
    mix = Counter(event.type for event in events)
    assert 0 < mix["Referral Made"] < 0.02 * len(stories)
    assert 0 < mix["Chargeback Received"] < 0.004 * mix["Order Completed"]
    assert {event.source for event in events if event.type != "Order Completed"} == {SIMULATION}
