"""How did each customer's call for help go: when was it answered and resolved, in time or late, and did that hold?"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Struct, field

from engage.events.catalogue.follow_up import Priority
from engage.events.catalogue.support import (
    TicketAnswered,
    TicketEscalated,
    TicketOpened,
    TicketRated,
    TicketReopened,
    TicketResolved,
)
from engage.events.envelope import Event, is_account
from engage.views.projection import Projection

ANSWER_WITHIN: dict[Priority, timedelta] = {
    "urgent": timedelta(hours=4),
    "high": timedelta(hours=8),
    "normal": timedelta(hours=24),
    "low": timedelta(hours=48),
}
"""The service level for a first answer: that of the rule ``support-answer-overdue`` as it is shipped."""
RESOLVE_WITHIN: dict[Priority, timedelta] = {
    "urgent": timedelta(days=1),
    "high": timedelta(days=2),
    "normal": timedelta(days=5),
    "low": timedelta(days=10),
}
"""The service level for the solution."""

REMEMBERED = 4
"""Resolutions that are remembered of a ticket, to tell which one held."""

TicketStatus = Literal["open", "answered", "reopened", "resolved"]


class Ticket(Struct):
    """One ticket. All times are by when things happened; what was not reported is null.

    account_ticket: "account|ticket"
    account: the account's id
    ticket_id: the ticket's id
    status: open, answered, reopened or resolved
    priority: low, normal, high or urgent: as it was opened, or what it was raised to
    topic: what it is about, a short code
    channel: how they reached us
    opened_at: when it was opened
    answered_at: when it was first answered; to resolve a ticket that nobody answered is to answer it
    resolved_at: when it was resolved, the first time since it was last reopened; null while it is not
    reopened: how often it was reopened
    reopened_at: when it was last reopened
    answer_due: until when the service level wants a first answer
    resolution_due: until when the service level wants it resolved
    answer_seconds: how long they waited for the first answer
    resolution_seconds: how long it took to resolve it, the time until it was reopened included
    answered_late: whether the first answer came late, or has not come though it is due; null while there is time
    resolved_late: whether it was resolved late, or is not resolved though that is due; null while there is time
    rating: how they rated our help, 1-5
    escalated: the priority it was last raised to
    escalated_at: when it was raised
    rated_at: when they rated it
    resolutions: the latest moments at which it was said to be resolved
    """

    account_ticket: str
    account: str = ""
    ticket_id: str = ""
    status: TicketStatus = "open"
    priority: Priority = "normal"
    topic: str | None = None
    channel: str | None = None
    opened_at: datetime | None = None
    answered_at: datetime | None = None
    resolved_at: datetime | None = None
    reopened: int = 0
    reopened_at: datetime | None = None
    answer_due: datetime | None = None
    resolution_due: datetime | None = None
    answer_seconds: float | None = None
    resolution_seconds: float | None = None
    answered_late: bool | None = None
    resolved_late: bool | None = None
    rating: int | None = None
    escalated: Priority | None = None
    escalated_at: datetime | None = None
    rated_at: datetime | None = None
    resolutions: list[datetime] = field(default_factory=list)


def _place(event: Event[Any]) -> str | None:
    return f"{event.subject}|{event.data.ticket_id}" if is_account(event.subject) else None


tickets = Projection(
    "tickets", version=1, row=Ticket, key=_place, indexes=("account", ("status", "answer_due"), "opened_at")
)


@tickets.on(TicketOpened)
def opened(row: Ticket, event: Event[TicketOpened]) -> Ticket:
    """They wait for us from here on; what it was raised to meanwhile stays."""
    data = event.data
    row.opened_at = min(row.opened_at or event.time, event.time)
    row.priority = row.escalated or data.priority
    row.topic, row.channel = data.topic, data.channel
    return _judged(row, event)


@tickets.on(TicketAnswered)
def answered(row: Ticket, event: Event[TicketAnswered]) -> Ticket:
    """Only the first answer counts."""
    row.answered_at = min(row.answered_at or event.time, event.time)
    return _judged(row, event)


@tickets.on(TicketEscalated)
def escalated(row: Ticket, event: Event[TicketEscalated]) -> Ticket:
    """It is more urgent than it seemed."""
    if event.data.priority is not None and event.time >= (row.escalated_at or event.time):
        row.priority = row.escalated = event.data.priority
        row.escalated_at = event.time
    return _judged(row, event)


@tickets.on(TicketResolved)
def resolved(row: Ticket, event: Event[TicketResolved]) -> Ticket:
    """It is settled, until it is reopened."""
    row.answered_at = min(row.answered_at or event.time, event.time)
    row.resolutions = sorted({*row.resolutions, event.time})[-REMEMBERED:]
    return _judged(row, event)


@tickets.on(TicketReopened)
def reopened(row: Ticket, event: Event[TicketReopened]) -> Ticket:
    """It was not settled after all."""
    row.reopened += 1
    row.reopened_at = max(row.reopened_at or event.time, event.time)
    return _judged(row, event)


@tickets.on(TicketRated)
def rated(row: Ticket, event: Event[TicketRated]) -> Ticket:
    """What they say of our help; the newest word counts."""
    if event.time >= (row.rated_at or event.time):
        row.rating, row.rated_at = event.data.score, event.time
    return _judged(row, event)


def _due(row: Ticket) -> datetime | None:
    waiting = (
        row.answer_due if row.answered_at is None and row.answered_late is None else None,
        row.resolution_due if row.resolved_at is None and row.resolved_late is None else None,
    )
    return min((due for due in waiting if due is not None), default=None)


@tickets.on_wake(_due)
def overdue(row: Ticket, moment: datetime) -> Ticket:
    """A service level is missed on its day, though nothing happens."""
    if row.answered_at is None and row.answer_due is not None and row.answer_due <= moment:
        row.answered_late = True
    if row.resolved_at is None and row.resolution_due is not None and row.resolution_due <= moment:
        row.resolved_late = True
    return row


def _judged(row: Ticket, event: Event[Any]) -> Ticket:
    row.account, row.ticket_id = event.subject, event.data.ticket_id
    since = row.reopened_at
    row.resolved_at = next((one for one in row.resolutions if since is None or one > since), None)
    if row.resolved_at is not None:
        row.status = "resolved"
    elif row.reopened:
        row.status = "reopened"
    else:
        row.status = "open" if row.answered_at is None else "answered"
    if row.opened_at is not None:
        row.answer_due = row.opened_at + ANSWER_WITHIN[row.priority]
        row.resolution_due = row.opened_at + RESOLVE_WITHIN[row.priority]
        row.answer_seconds = _waited(row.opened_at, row.answered_at)
        row.resolution_seconds = _waited(row.opened_at, row.resolved_at)
        row.answered_late = _late(row.answer_due, row.answered_at, event.now)
        row.resolved_late = _late(row.resolution_due, row.resolved_at, event.now)
    return row


def _waited(since: datetime, until: datetime | None) -> float | None:
    return None if until is None else max((until - since).total_seconds(), 0.0)


def _late(due: datetime, done: datetime | None, now: datetime) -> bool | None:
    if done is not None:
        return done > due
    return True if now >= due else None
