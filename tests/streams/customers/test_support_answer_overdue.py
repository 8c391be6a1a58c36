"""The manager hears of a ticket that waits too long, once for each wait."""

import pytest

from engage.events.catalogue.follow_up import FollowUpCompleted
from engage.events.catalogue.support import (
    TicketAnswered,
    TicketCommented,
    TicketEscalated,
    TicketOpened,
    TicketReopened,
    TicketResolved,
)
from engage.testing.events import happened
from engage.testing.rules import given, requested, skipped
from streams.customers.support_answer_overdue import rule


def opened(at, ticket="t-1", priority="normal", **more):
    return happened(TicketOpened(ticket_id=ticket, priority=priority), at=at, **more)


def answered(at, ticket="t-1", **more):
    return happened(TicketAnswered(ticket_id=ticket), at=at, **more)


def resolved(at, ticket="t-1", **more):
    return happened(TicketResolved(ticket_id=ticket), at=at, **more)


def reopened(at, ticket="t-1", **more):
    return happened(TicketReopened(ticket_id=ticket), at=at, **more)


def commented(at, ticket="t-1"):
    return happened(TicketCommented(ticket_id=ticket), at=at)


@pytest.mark.parametrize(
    ("priority", "before", "at", "asked"),
    [
        ("urgent", "2026-03-01T03:59", "2026-03-01T04:00", "urgent"),
        ("high", "2026-03-01T07:59", "2026-03-01T08:00", "high"),
        ("normal", "2026-03-01T23:59", "2026-03-02T00:00", "high"),
        ("low", "2026-03-02T23:59", "2026-03-03T00:00", "high"),
    ],
)
def test_the_more_pressing_a_ticket_the_sooner_the_manager_hears_of_it(priority, before, at, asked):
    (
        given(rule, opened("2026-03-01", priority=priority))
        .when(time=before)
        .then_nothing()
        .when(time=at)
        .then(requested("support answer overdue", about="t-1", priority=asked, channels=["manager"], purpose="service"))
        .when(time="2026-05-01")
        .then_nothing()
    )


def test_the_manager_reads_how_long_they_have_waited():
    (
        given(rule, opened("2026-03-01T10:00", priority="high"))
        .when(time="2026-03-02")
        .then(
            requested(
                "support answer overdue",
                why="Ticket t-1 (high) has waited for an answer for 8 hours, since 2026-03-01 10:00.",
                due="2026-03-01T22:00",
            )
        )
    )


def test_an_answered_or_resolved_ticket_is_forgotten():
    given(rule, opened("2026-03-01"), answered("2026-03-01T20:00")).when(time="2026-04-01").then_nothing()
    given(rule, opened("2026-03-01"), resolved("2026-03-01T20:00")).when(time="2026-04-01").then_nothing()


@pytest.mark.parametrize(
    ("before", "now", "asked", "due"),
    [
        ("low", "normal", "high", "2026-03-05T04:00"),
        ("normal", "high", "high", "2026-03-05T04:00"),
        ("high", "urgent", "urgent", "2026-03-05T01:00"),
        ("urgent", "urgent", "urgent", "2026-03-05T01:00"),
    ],
)
def test_a_reopened_ticket_rises_and_the_manager_hears_of_it_at_once(before, now, asked, due):
    (
        given(rule, opened("2026-03-01", priority=before), resolved("2026-03-01T01:00"))
        .when(reopened("2026-03-05"))
        .then(
            requested(
                "ticket reopened",
                about="t-1",
                priority=asked,
                channels=["manager"],
                purpose="service",
                due=due,
                why=f"Ticket t-1 was resolved and came back on 2026-03-05 00:00; its priority is {now} now.",
            )
        )
    )


def test_a_reopened_ticket_that_waits_again_is_urgent_but_one_matter_while_the_manager_has_it():
    story = given(rule, opened("2026-03-01"), resolved("2026-03-01T01:00")).when(reopened("2026-03-05"))
    follow_up = story.decisions[0].id
    story.when(time="2026-03-05T08:00").then(skipped("support answer overdue", reason="duplicate", about="t-1"))
    (
        story.when(
            happened(FollowUpCompleted(follow_up_id=follow_up, outcome="reached"), at="2026-03-05T09:00"),
            answered("2026-03-05T09:00"),
            commented("2026-03-06"),
            time="2026-03-06T08:00",
        ).then(requested("support answer overdue", priority="urgent"))
    )


def test_a_ticket_that_comes_back_again_and_again_rises_each_time():
    (
        given(rule, opened("2026-03-01", priority="low"))
        .when(resolved("2026-03-01T01:00"), reopened("2026-03-02"))
        .then(requested("ticket reopened", priority="high"))
        .when(resolved("2026-03-02T01:00"), reopened("2026-03-20"), resolved("2026-03-20T01:00"))
        .then(requested("ticket reopened", priority="high"))
        .when(reopened("2026-04-20"))
        .then(requested("ticket reopened", priority="urgent"))
    )


def test_a_reopening_that_the_log_learned_of_before_the_resolution_counts():
    (
        given(rule, opened("2026-03-01"))
        .when(reopened("2026-03-01T07:00"), resolved("2026-03-01T06:00", recorded="2026-03-01T07:05"))
        .then(requested("ticket reopened"))
        .when(time="2026-03-01T14:59")
        .then_nothing()
        .when(time="2026-03-01T15:00")
        .then(skipped("support answer overdue", reason="duplicate"))
    )


def test_a_reopening_that_was_answered_before_we_learned_of_it_is_over():
    (
        given(rule, opened("2026-03-01"), resolved("2026-03-01T01:00"), answered("2026-03-02T01:00"))
        .when(reopened("2026-03-02", recorded="2026-03-02T01:10"), time="2026-04-01")
        .then_nothing()
    )


def test_a_reopening_reported_twice_raises_the_ticket_once():
    (
        given(rule, opened("2026-03-01", priority="low"), resolved("2026-03-01T01:00"))
        .when(reopened("2026-03-02"), happened(TicketReopened(ticket_id="t-1"), at="2026-03-02", id="again"))
        .then(requested("ticket reopened"))
        .when(time="2026-03-02T23:59")
        .then_nothing()
        .when(time="2026-03-03")
        .then(skipped("support answer overdue", reason="duplicate"))
    )


def test_a_ticket_whose_opening_we_learn_of_after_it_came_back_rises_all_the_same():
    (
        given(rule)
        .when(
            resolved("2026-03-01T01:00"),
            reopened("2026-03-02"),
            opened("2026-03-01", priority="high", recorded="2026-03-02T00:01"),
        )
        .then(requested("ticket reopened"))
        .when(time="2026-03-02T03:59")
        .then_nothing()
        .when(time="2026-03-02T04:00")
        .then(skipped("support answer overdue", reason="duplicate"))
    )


def test_a_comment_waits_for_an_answer_but_thanks_for_a_resolution_do_not():
    (
        given(rule, opened("2026-03-01"), answered("2026-03-01T01:00"), commented("2026-03-02"))
        .when(time="2026-03-03")
        .then(requested("support answer overdue"))
    )
    given(rule, opened("2026-03-01"), resolved("2026-03-01T01:00"), commented("2026-03-02")).when(
        time="2026-04-01"
    ).then_nothing()


def test_a_comment_does_not_put_off_the_moment_at_which_an_answer_is_overdue():
    (
        given(rule, opened("2026-03-01"), commented("2026-03-01T23:00"))
        .when(time="2026-03-02")
        .then(requested("support answer overdue"))
    )


def test_an_escalated_ticket_is_overdue_at_once_when_it_waited_long_enough():
    (
        given(rule, opened("2026-03-01", priority="low"))
        .when(happened(TicketEscalated(ticket_id="t-1", priority="urgent"), at="2026-03-01T06:00"))
        .then(requested("support answer overdue", priority="urgent"))
    )


def test_an_escalation_after_the_manager_was_told_tells_them_nothing_new():
    (
        given(rule, opened("2026-03-01"))
        .when(time="2026-03-03")
        .then(requested("support answer overdue"))
        .when(happened(TicketEscalated(ticket_id="t-1", priority="urgent"), at="2026-03-04"), time="2026-04-01")
        .then_nothing()
    )


def test_an_answer_that_the_log_learned_of_first_counts():
    (
        given(rule, answered("2026-03-01T00:30"), opened("2026-03-01", recorded="2026-03-01T00:40"))
        .when(time="2026-04-01")
        .then_nothing()
    )


def test_an_answer_from_before_they_asked_again_does_not_count():
    (
        given(
            rule,
            opened("2026-03-01"),
            answered("2026-03-01T01:00"),
            commented("2026-03-02"),
            answered("2026-03-01T02:00", recorded="2026-03-02T01:00"),
        )
        .when(time="2026-03-03")
        .then(requested("support answer overdue"))
    )


def test_an_answer_between_two_questions_leaves_the_second_one_waiting():
    (
        given(
            rule,
            opened("2026-03-01"),
            commented("2026-03-01T20:00"),
            answered("2026-03-01T19:00", recorded="2026-03-01T20:05"),
        )
        .when(time="2026-03-02T19:59")
        .then_nothing()
        .when(time="2026-03-02T20:00")
        .then(requested("support answer overdue", about="t-1"))
    )


def test_each_ticket_has_its_own_clock():
    (
        given(
            rule, opened("2026-03-01", ticket="t-1"), opened("2026-03-01", ticket="t-2"), answered("2026-03-01T01:00")
        )
        .when(time="2026-03-05")
        .then(requested("support answer overdue", about="t-2"))
    )


def test_the_oldest_quiet_tickets_are_forgotten_and_the_waiting_ones_are_not():
    quiet = [
        event
        for n in range(30)
        for event in (
            opened(f"2026-03-02T{n % 24:02}:{n:02}", ticket=f"quiet-{n}"),
            resolved(f"2026-03-02T{n % 24:02}:{n:02}:30", ticket=f"quiet-{n}"),
        )
    ]
    quiet.sort(key=lambda event: event.time)
    (
        given(rule, opened("2026-03-02", ticket="waiting"), *quiet)
        .when(time="2026-03-09")
        .then(requested("support answer overdue", about="waiting"))
    )
