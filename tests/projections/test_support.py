"""How tickets went, and what a month of them amounts to."""

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from engage.events.catalogue.follow_up import Priority
from engage.events.catalogue.support import (
    ChatEnded,
    TicketAnswered,
    TicketEscalated,
    TicketOpened,
    TicketRated,
    TicketReopened,
    TicketResolved,
)
from engage.testing.events import happened, moment
from engage.testing.projections import given
from projections.customers.support import percentile, support
from projections.customers.tickets import tickets

KEY = "acc-1|t-1"


def opened(ticket: str = "t-1", at: str = "2026-03-02", priority: Priority = "normal", **how: Any) -> Any:
    return happened(TicketOpened(ticket_id=ticket, priority=priority), at=at, **how)


def answered(at: str, ticket: str = "t-1", **how: Any) -> Any:
    return happened(TicketAnswered(ticket_id=ticket), at=at, **how)


def resolved(at: str, ticket: str = "t-1", **how: Any) -> Any:
    return happened(TicketResolved(ticket_id=ticket), at=at, **how)


def reopened(at: str, ticket: str = "t-1", **how: Any) -> Any:
    return happened(TicketReopened(ticket_id=ticket), at=at, **how)


def test_a_ticket_is_answered_once_and_resolved() -> None:
    (
        given(tickets, opened())
        .then(KEY, status="open", answer_due=moment("2026-03-03"), answered_late=None)
        .when(answered("2026-03-02T05:00"), answered("2026-03-02T07:00"))
        .then(KEY, status="answered", answer_seconds=5 * 3600.0, answered_late=False, resolved_late=None)
        .when(resolved("2026-03-03"))
        .then(KEY, status="resolved", resolution_seconds=86_400.0, resolved_late=False)
    )


def test_a_ticket_that_nobody_answers_is_late_on_its_day() -> None:
    (
        given(tickets, opened(priority="urgent"))
        .until("2026-03-02T03:59")
        .then(KEY, answered_late=None)
        .until("2026-03-02T04:00")
        .then(KEY, answered_late=True, resolved_late=None)
        .until("2026-03-03")
        .then(KEY, resolved_late=True)
        .when(answered("2026-03-02T03:00", recorded="2026-03-04"))
        .then(KEY, answered_late=False, answer_seconds=3 * 3600.0, resolved_late=True)
    )


def test_who_resolves_a_ticket_answers_it() -> None:
    given(tickets, opened(), resolved("2026-03-02T01:00")).then(KEY, answer_seconds=3600.0, status="resolved")


def test_a_ticket_reopened_is_not_resolved_until_it_is_again() -> None:
    told = (opened(), resolved("2026-03-03"), reopened("2026-03-04"), resolved("2026-03-05"))
    (
        given(tickets, *told[:3])
        .then(KEY, status="reopened", resolved_at=None, resolution_seconds=None, reopened=1)
        .when(told[3])
        .then(KEY, status="resolved", resolution_seconds=3 * 86_400.0)
    )


def test_the_order_in_which_we_hear_of_a_ticket_does_not_matter() -> None:
    now = "2026-03-20"
    told = (
        opened(recorded=now),
        answered("2026-03-02T02:00", recorded=now),
        resolved("2026-03-03", recorded=now),
        reopened("2026-03-04", recorded=now),
        resolved("2026-03-05", recorded=now),
    )
    whole = given(tickets, *told).rows[KEY]
    assert all(given(tickets, *order).rows[KEY] == whole for order in permutations(told))


def test_to_say_twice_that_it_is_resolved_does_not_make_it_slower() -> None:
    given(tickets, opened(), resolved("2026-03-03"), resolved("2026-03-09")).then(KEY, resolution_seconds=86_400.0)


def test_a_ticket_raised_is_held_against_the_tighter_level() -> None:
    raised = happened(TicketEscalated(ticket_id="t-1", priority="urgent"), at="2026-03-02T01:00")
    given(tickets, opened(), raised).then(KEY, priority="urgent", answer_due=moment("2026-03-02T04:00"))
    given(tickets, raised, opened()).then(KEY, priority="urgent", answer_due=moment("2026-03-02T04:00"))


def test_an_answer_to_a_ticket_that_we_never_saw_opened_took_who_knows_how_long() -> None:
    given(tickets, answered("2026-03-02")).then(KEY, answer_seconds=None, answered_late=None, opened_at=None)
    given(support, answered("2026-03-02")).then_no_row("2026-03|normal")


def test_the_newest_rating_counts() -> None:
    good = happened(TicketRated(ticket_id="t-1", score=5), at="2026-03-06")
    bad = happened(TicketRated(ticket_id="t-1", score=1), at="2026-03-05", recorded="2026-03-07")
    given(tickets, opened(), good, bad).then(KEY, rating=5)


def test_a_month_adds_up_by_priority() -> None:
    told = given(
        support,
        opened("t-1", "2026-03-02"),
        answered("2026-03-02T01:00", "t-1"),
        resolved("2026-03-03", "t-1"),
        opened("t-2", "2026-03-03"),
        resolved("2026-03-05", "t-2"),
        reopened("2026-03-05T01:00", "t-2"),
        opened("t-3", "2026-03-05T02:00", priority="low"),
        opened("t-4", "2026-04-01"),
    )
    told.then(
        "2026-03|normal",
        opened=2,
        waiting=0,
        unresolved=1,
        answered_in_time=0.5,
        resolved_in_time=0.5,
        reopened=0.5,
        answer_level=86_400.0,
        resolution_level=5 * 86_400.0,
    ).then("2026-03|low", opened=1, waiting=1, answer_p50=None, answered_in_time=0.0, reopened=None)
    row = told.rows["2026-03|normal"]
    assert row.answer_p50 == pytest.approx(3600.0, rel=0.05)
    assert row.answer_p90 == pytest.approx(2 * 86_400.0, rel=0.05)
    assert row.resolution_p50 == pytest.approx(86_400.0, rel=0.05)


def test_a_ticket_that_waits_counts_as_late_once_it_is_due() -> None:
    (
        given(support, opened())
        .then("2026-03|normal", answered_in_time=None)
        .until("2026-03-04")
        .then("2026-03|normal", answered_in_time=0.0, waiting=1)
    )


def test_chats_have_a_line_of_their_own() -> None:
    chats = (
        ChatEnded(chat_id="c-1", wait=30.0, duration=300.0, resolved=True),
        ChatEnded(chat_id="c-2", wait=300.0),
        ChatEnded(chat_id="c-3"),
    )
    told = given(support, *(happened(chat, at="2026-03-02") for chat in chats))
    told.then("2026-03|chat", opened=3, waiting=1, unresolved=2, answer_level=120.0, resolved_in_time=None)
    row = told.rows["2026-03|chat"]
    assert row.answered_in_time == pytest.approx(1 / 3)
    assert row.answer_p50 == pytest.approx(30.0, rel=0.05)


@for_all(st.lists(st.floats(1, 3e7), min_size=1, max_size=40), st.sampled_from([0.5, 0.9]))
def test_a_percentile_is_within_a_twentieth_of_the_true_one(waits: list[float], share: float) -> None:
    start = moment("2026-03-01")
    events = [
        event
        for number, wait in enumerate(waits)
        for event in (
            happened(TicketOpened(ticket_id=f"t-{number}"), at=start, recorded="2028-01-01"),
            happened(
                TicketAnswered(ticket_id=f"t-{number}"), at=start + timedelta(seconds=wait), recorded="2028-01-01"
            ),
        )
    ]
    row = given(support, *events).rows["2026-03|normal"]
    ordered = sorted(waits)
    true = next(wait for place, wait in enumerate(ordered, start=1) if place >= share * len(waits))
    assert (row.answer_p50 if share == 0.5 else row.answer_p90) == pytest.approx(true, rel=0.05)


def test_nothing_has_no_percentile() -> None:
    assert percentile({}, 0.5) is None
