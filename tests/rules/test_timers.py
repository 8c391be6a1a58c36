"""Timers fire by the log's time alone: before the record that passes them, in order, and never twice."""

from datetime import timedelta

import pytest

from engage.events.catalogue.commerce import OrderCompleted
from engage.rules.rule import NoState, Rule, Wake
from engage.services.records import read_event
from engage.testing.events import happened, moment
from engage.testing.rules import given, requested, skipped
from tests.rules.ledger import Ledger, types
from tests.rules.probes import Settings, ask, asking, cancelled, ordered, reminder, ticket, updated


def told(decisions):
    return [(decision.data.rule, decision.subject, decision.data.about) for decision in decisions]


def test_a_wake_fires_when_the_clock_passes_it_and_only_then():
    ledger = Ledger([reminder()])
    ledger.admit(ordered("2026-03-01"))
    assert ledger.tick("2026-03-03T23:59") == []
    (decision,) = ledger.tick("2026-03-04T08:00")
    assert decision.data.why == "Due at 2026-03-04 00:00:00+00:00, it is 2026-03-04 08:00:00+00:00."
    assert decision.data.due == moment("2026-03-05")
    assert decision.time == moment("2026-03-04T08:00")
    assert ledger.tick("2026-03-05") == []


def test_a_wake_fires_before_the_record_that_passes_it():
    """The cancellation came after the moment: at that moment the order stood."""
    ledger = Ledger([reminder()])
    assert told(ledger.admit(ordered("2026-03-01"), cancelled("2026-03-04"))) == [("reminder", "acc-1", "o-1")]


def test_a_cancellation_before_the_moment_comes_in_time():
    given(reminder(), ordered("2026-03-01"), cancelled("2026-03-03T23:59")).when(time="2026-04-01").then_nothing()


def test_wakes_fire_by_moment_then_account_then_rule_then_subject():
    ledger = Ledger([reminder("b"), reminder("a")])
    ledger.admit(
        ordered("2026-03-01", "o-2", subject="acc-2"),
        ordered("2026-03-01", "o-1", subject="acc-2"),
        ordered("2026-03-01", "o-9", subject="acc-1"),
        ordered("2026-02-28", "o-8", subject="acc-9", recorded="2026-03-01T00:30"),
    )
    assert told(ledger.tick("2026-03-20")) == [
        ("a", "acc-9", "o-8"),
        ("b", "acc-9", "o-8"),
        ("a", "acc-1", "o-9"),
        ("b", "acc-1", "o-9"),
        ("a", "acc-2", "o-1"),
        ("a", "acc-2", "o-2"),
        ("b", "acc-2", "o-1"),
        ("b", "acc-2", "o-2"),
    ]


def test_a_second_wake_about_the_same_replaces_the_first():
    (
        given(reminder(), ordered("2026-03-01"), updated("2026-03-03"))
        .when(time="2026-03-05T23:00")
        .then_nothing()
        .when(time="2026-03-06")
        .then(requested("ask", about="o-1"))
        .when(time="2026-06-01")
        .then_nothing()
    )


def test_a_wake_may_be_moved_forward_too():
    given(reminder(), ordered("2026-03-02"), updated("2026-03-01T23:30", recorded="2026-03-02T00:10")).when(
        time="2026-03-04T23:30"
    ).then(requested("ask", about="o-1"))


def test_the_wake_of_a_late_event_waits_for_the_settling_time():
    ledger = Ledger([reminder()])
    ledger.admit(ordered("2026-03-01", recorded="2026-03-10"))
    assert ledger.tick("2026-03-10T00:59") == []
    (decision,) = ledger.tick("2026-03-10T01:00")
    assert decision.data.wake_due == moment("2026-03-04")


def test_what_settles_it_may_come_within_the_settling_time():
    (
        given(
            reminder(),
            ordered("2026-03-01", recorded="2026-03-10"),
            cancelled("2026-03-02", recorded="2026-03-10T00:30"),
        )
        .when(time="2026-06-01")
        .then_nothing()
    )


def test_what_a_late_event_asks_for_is_as_old_as_the_event():
    (
        given(reminder(expires=timedelta(days=5)), ordered("2026-03-01", recorded="2026-03-10"))
        .when(time="2026-03-11")
        .then(skipped("ask", reason="stale", about="o-1"))
    )


def test_a_wake_for_a_moment_that_has_passed_fires_with_the_record_that_asked_for_it():
    """Nothing else could wake it: a tick for the past is dropped."""
    ledger = Ledger([reminder(after=timedelta(minutes=5))])
    decided = ledger.admit(ordered("2026-03-01", recorded="2026-03-01T00:30"))
    assert told(decided) == [("reminder", "acc-1", "o-1")]
    assert ledger.runner.engine.cells.next_due() is None


def test_history_as_it_was_lived_gets_a_tick_where_nothing_happened():
    ledger = Ledger([reminder()])
    decided = ledger.admit(ordered("2026-03-01"), ordered("2026-06-01", "o-2"), as_lived=True)
    assert [decision.time for decision in decided] == [moment("2026-03-04")]
    assert types(ledger.log)[2:] == ["Order Completed", "clock.ticked", "follow_up.requested", "Order Completed"]


def test_history_as_it_was_lived_passes_a_wake_for_a_moment_before_its_event():
    ledger = Ledger([reminder(after=timedelta(days=-1))])
    assert len(ledger.admit(ordered("2026-03-02"), ordered("2026-06-01", "o-2"), as_lived=True)) == 2


def test_a_handler_that_wakes_again_is_woken_for_each_moment_that_passed():
    rule = Rule("daily", version=1, settings=Settings(), state=NoState)

    @rule.on(OrderCompleted)
    def start(state, event, settings):
        yield Wake(event.time + timedelta(days=1), about="day")

    @rule.on_wake
    def again(state, wake, settings):
        yield ask(f"{wake.due:%m-%d}")
        if wake.due.day < 4:
            yield Wake(wake.due + timedelta(days=1), about="day")

    ledger = Ledger([rule])
    ledger.admit(ordered("2026-03-01"))
    assert [about for _, _, about in told(ledger.tick("2026-03-31"))] == ["03-02", "03-03", "03-04"]


@pytest.mark.parametrize("order", [("o-1", "o-2"), ("o-2", "o-1")])
def test_each_record_has_a_place_and_a_time_that_never_goes_back(order):
    ledger = Ledger([reminder(), asking()])
    ledger.admit(ordered("2026-03-02", order[0]), ordered("2026-03-01", order[1]), ticket("2026-03-05"))
    events = [read_event(record) for record in ledger.log]
    assert [event.offset for event in events] == list(range(len(events)))
    assert [event.now for event in events] == sorted(event.now for event in events)


def test_records_of_partitions_and_markets_reach_no_rule():
    ledger = Ledger([asking()])
    assert ledger.admit(happened(ticket("2026-03-01").data, at="2026-03-01", subject="market:music")) == []
    assert ledger.cells == {}
