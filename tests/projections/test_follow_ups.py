"""A follow-up's row tells its whole life, and the queue shows the more urgent first."""

from datetime import timedelta
from typing import Any

import pytest

from engage.events.catalogue.commerce import OrderCompleted
from engage.events.catalogue.follow_up import (
    Cause,
    FollowUpAssigned,
    FollowUpCompleted,
    FollowUpDismissed,
    FollowUpExpired,
    FollowUpOpened,
    FollowUpRequested,
    FollowUpSnoozed,
    FollowUpStarted,
    Priority,
)
from engage.events.envelope import Event
from engage.testing.events import happened, moment
from engage.testing.projections import given
from projections.shared.follow_ups import FollowUpRow, follow_ups, is_overdue, is_waiting, queue_order

DUE, EXPIRES = moment("2026-03-04"), moment("2026-03-15")


def requested(follow_up: str = "f-1", *, priority: Priority = "normal", due: str = "2026-03-04") -> Event[Any]:
    data = FollowUpRequested(
        rule="win-back",
        rule_version=2,
        about="o-1",
        what="win back",
        why="60 days without an order",
        purpose="marketing",
        priority=priority,
        channels=("email", "manager"),
        matter="win-back:acc-1",
        due=moment(due),
        expires=EXPIRES,
        cause=Cause(id="e-1", source="test", partition=3, offset=41),
        decided_at=42,
    )
    return happened(data, at="2026-03-01", id=follow_up)


def opened(follow_up: str = "f-1") -> Event[Any]:
    data = FollowUpOpened(
        follow_up_id=follow_up,
        rule="by hand",
        about="call",
        what="call them",
        why="they asked",
        purpose="service",
        priority="high",
        channels=("manager",),
        due=DUE,
        expires=EXPIRES,
    )
    return happened(data, at="2026-03-01T00:01")


def one(*events: Event[Any]) -> FollowUpRow:
    return given(follow_ups, *events).rows["f-1"]


def test_a_request_carries_everything_the_queue_shows() -> None:
    row = one(requested())
    assert (row.account, row.rule, row.rule_version, row.about) == ("acc-1", "win-back", 2, "o-1")
    assert (row.what, row.why, row.purpose, row.priority) == (
        "win back",
        "60 days without an order",
        "marketing",
        "normal",
    )
    assert (row.channels, row.matter) == (("email", "manager"), "win-back:acc-1")
    assert (row.status, row.requested_at, row.due, row.expires) == ("requested", moment("2026-03-01"), DUE, EXPIRES)
    assert (row.cause_id, row.cause_partition, row.cause_offset) == ("e-1", 3, 41)


def test_opening_keeps_what_the_request_said() -> None:
    row = one(requested(), opened())
    assert (row.status, row.rule, row.requested_at) == ("open", "win-back", moment("2026-03-01"))


def test_one_that_a_person_opened_is_described_by_its_opening() -> None:
    row = one(opened())
    assert (row.account, row.status, row.rule, row.priority, row.due) == ("acc-1", "open", "by hand", "high", DUE)
    assert row.cause_id is None


def test_it_is_assigned_snoozed_started_and_completed() -> None:
    course = [
        requested(),
        opened(),
        happened(FollowUpAssigned(follow_up_id="f-1", assignee="ann"), at="2026-03-02"),
        happened(FollowUpSnoozed(follow_up_id="f-1", until=moment("2026-03-03")), at="2026-03-02T01:00"),
        happened(FollowUpStarted(follow_up_id="f-1"), at="2026-03-03"),
        happened(FollowUpCompleted(follow_up_id="f-1", outcome="reached"), at="2026-03-04"),
    ]
    seen = [one(*course[: n + 1]).status for n in range(len(course))]
    assert seen == ["requested", "open", "assigned", "snoozed", "started", "completed"]
    row = one(*course)
    assert (row.assignee, row.outcome, row.closed_at, row.breached) == ("ann", "reached", moment("2026-03-04"), False)
    assert row.snoozed_until is None


def test_to_assign_somebody_else_does_not_stop_the_work() -> None:
    row = one(
        requested(),
        happened(FollowUpStarted(follow_up_id="f-1"), at="2026-03-02"),
        happened(FollowUpAssigned(follow_up_id="f-1", assignee="bo"), at="2026-03-03"),
    )
    assert (row.status, row.assignee) == ("started", "bo")


@pytest.mark.parametrize(("at", "breached"), [("2026-03-04", False), ("2026-03-04T00:01", True)])
def test_done_after_it_was_due_is_a_breach(at: str, breached: bool) -> None:
    row = one(requested(), happened(FollowUpDismissed(follow_up_id="f-1", reason="not_needed"), at=at))
    assert (row.status, row.reason, row.breached) == ("dismissed", "not_needed", breached)
    assert is_overdue(row, EXPIRES) is breached


def test_one_that_nobody_came_to_is_a_breach() -> None:
    row = one(requested(), happened(FollowUpExpired(follow_up_id="f-1"), at=EXPIRES))
    assert (row.status, row.breached, row.closed_at) == ("expired", True, EXPIRES)


def test_an_open_one_is_overdue_from_its_due_moment_on() -> None:
    row = one(requested())
    assert not is_overdue(row, DUE)
    assert is_overdue(row, DUE + timedelta(seconds=1))


def test_a_snoozed_one_waits_for_nobody_until_its_moment() -> None:
    row = one(requested(), happened(FollowUpSnoozed(follow_up_id="f-1", until=moment("2026-03-10")), at="2026-03-02"))
    assert [is_waiting(row, moment(f"2026-03-{day}")) for day in ("09", "10", "15")] == [False, True, False]


def test_a_closed_one_waits_for_nobody() -> None:
    row = one(requested(), happened(FollowUpCompleted(follow_up_id="f-1", outcome="reached"), at="2026-03-02"))
    assert not is_waiting(row, moment("2026-03-02"))


def test_the_queue_puts_the_more_urgent_first_and_then_the_sooner_due() -> None:
    queue = given(
        follow_ups,
        requested("later", due="2026-03-09"),
        requested("low", priority="low", due="2026-03-02"),
        requested("sooner", due="2026-03-08"),
        requested("urgent", priority="urgent", due="2026-03-10"),
    )
    rows = queue.rows
    assert [row.follow_up for row in sorted(rows.values(), key=queue_order)] == ["urgent", "sooner", "later", "low"]


def test_other_events_make_no_follow_up() -> None:
    assert given(follow_ups, happened(OrderCompleted(order_id="o-1", total=1.0), at="2026-03-01")).rows == {}
