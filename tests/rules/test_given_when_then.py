"""The kit to test rules fails when it should, and says what differs."""

import pytest

from engage.events.catalogue.commerce import OrderCompleted
from engage.rules.rule import NoState, Rule
from engage.testing.events import happened
from engage.testing.rules import given, requested, skipped
from tests.rules.probes import Settings, asking, ordered, reminder, ticket


def test_a_decision_that_did_not_come_is_named():
    with pytest.raises(AssertionError, match="expected, did not come: requested: what='ask', about='t-1'"):
        given(asking()).when(time="2026-03-01").then(requested("ask", about="t-1"))


def test_a_decision_that_was_not_expected_is_named_with_its_reason():
    with pytest.raises(AssertionError, match=r"came, not expected: +requested: .*why='The ticket is number 1.'"):
        given(asking()).when(ticket("2026-03-01")).then_nothing()


def test_each_decision_is_expected_by_itself():
    with pytest.raises(AssertionError, match="did not come"):
        given(asking()).when(ticket("2026-03-01")).then(requested("ask"), requested("ask"))
    given(asking()).when(ticket("2026-03-01", "t-2"), ticket("2026-03-01", "t-1")).then(
        requested("ask"), requested("ask", about="t-2")
    )


def test_a_yes_is_not_a_no():
    with pytest.raises(AssertionError, match="skipped: what='ask', reason='duplicate'"):
        given(asking()).when(ticket("2026-03-01")).then(skipped("ask", reason="duplicate"))


@pytest.mark.parametrize(
    "wrong", [{"priority": "low"}, {"channels": ["email"]}, {"why": "no"}, {"account": "acc-2"}, {"due": "2026-03-01"}]
)
def test_every_field_that_is_said_has_to_fit(wrong):
    with pytest.raises(AssertionError, match="the decisions differ"):
        given(asking()).when(ticket("2026-03-01")).then(requested("ask", **wrong))


def test_what_was_decided_before_is_not_counted():
    given(asking(), ticket("2026-03-01")).when(time="2026-03-02").then_nothing()


def test_a_rule_that_fails_fails_the_test_with_its_traceback():
    rule = Rule("broken", version=1, settings=Settings(), state=NoState)

    @rule.on(OrderCompleted)
    def broken(state, event, settings):
        raise ZeroDivisionError("no")

    with pytest.raises(AssertionError, match=r"rule 'broken' failed on account 'acc-1'(.|\n)*ZeroDivisionError"):
        given(rule).when(ordered("2026-03-01"))


def test_time_does_not_go_back():
    with pytest.raises(ValueError, match="time does not go back"):
        given(reminder(), ordered("2026-03-02")).when(ordered("2026-03-01"))


def test_the_state_of_a_rule_can_be_looked_at():
    assert given(asking(), ticket("2026-03-01")).state(asking()).count == 1


def test_the_same_event_made_twice_is_the_same_event():
    one = happened(OrderCompleted(order_id="o-1", total=1.0), at="2026-03-01")
    assert one == happened(OrderCompleted(order_id="o-1", total=1.0), at="2026-03-01T00:00+00:00")
    assert one.id != happened(OrderCompleted(order_id="o-2", total=1.0), at="2026-03-01").id
