"""The demo's partners give every partner rule something to say, in the whole and in the smallest demo."""

from datetime import timedelta
from functools import cache

import msgspec
import pytest

from engage.demo.history import history
from engage.demo.partners import accounts
from engage.testing.rules import given
from streams import RULES
from tests.demo.given import NOW, TODAY

UNSEEN = {"cross-sell-opening"}
"""It answers to what similar accounts have, and no projection tells of that yet."""
PARTNER_RULES = [rule for rule in RULES if rule.state.__module__.startswith("streams.partners")]


@cache
def events(scale):
    partners = {account for account, _ in accounts(scale)}
    found = [event for event in history(today=TODAY, now=NOW, scale=scale) if event.subject in partners]
    for event in found:
        event.recorded = event.time
    return found


@pytest.mark.parametrize("scale", [0.001, 1.0])
def test_every_partner_rule_asks_for_something(scale):
    asked = {decision.data.rule for decision in given(PARTNER_RULES).when(*events(scale), time=NOW).decisions}
    assert asked == {rule.name for rule in PARTNER_RULES} - UNSEEN


def test_some_partners_have_fallen_silent_and_the_others_have_not():
    recent = {event.subject for event in events(1.0) if event.time > NOW - timedelta(days=45)}
    assert {account for account, _ in accounts(1.0)} - recent == {"partner-01", "distributor-06"}


def test_deals_are_decided_and_negotiations_closed_more_often_than_not():
    def ids(kind, field):
        return {msgspec.json.decode(event.data)[field] for event in events(1.0) if event.type == kind}

    registered = ids("Deal Registered", "deal_id")
    decided = ids("Deal Approved", "deal_id") | ids("Deal Rejected", "deal_id")
    assert decided <= registered
    assert len(decided) > 0.9 * len(registered) > 100
    opened = ids("Negotiation Opened", "negotiation_id")
    assert len(ids("Negotiation Closed", "negotiation_id")) == len(opened) > 40
