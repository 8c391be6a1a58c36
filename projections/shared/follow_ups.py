"""Which follow-ups are there, who sees to them, and what came of them?"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from engage.events.catalogue.follow_up import (
    CLOSED,
    URGENCY,
    FollowUpAssigned,
    FollowUpCompleted,
    FollowUpDismissed,
    FollowUpExpired,
    FollowUpOpened,
    FollowUpRequested,
    FollowUpSnoozed,
    FollowUpStarted,
    Priority,
    Purpose,
    Status,
)
from engage.events.envelope import EPOCH, Event
from engage.views.projection import Projection


class FollowUpRow(Struct):
    """One follow-up, from the decision that asked for it to what came of it.

    follow_up: the follow-up's id: that of the event that asked for it
    account: the account's id
    rule: the rule that asked for it
    rule_version: the rule's version; 0 when a person asked for it
    about: what it is about: the id of an order, a ticket, an agreement
    matter: the subject matter, of which one follow-up may be open at a time
    what: what is to be done
    why: why it is to be done
    purpose: service, research, marketing or partnership: what the account has to have consented to
    priority: low, normal, high or urgent
    channels: how to reach the account, the preferred one first
    status: requested, open, assigned, snoozed, started, completed, dismissed or expired
    requested_at: when it was asked for, in the log's time
    due: when it has to be done (its service level)
    expires: from when on it would come too late to help
    assignee: who sees to it; null while nobody does
    snoozed_until: until when it rests; null when it does not
    outcome: what came of it when it was completed, a short code
    reason: why it was dismissed, a short code
    closed_at: when it was completed, dismissed or expired, in the log's time; null while it is open
    breached: whether it was closed after it was due, or never done
    cause_id: the id of the event that led to it; null when a person asked for it
    cause_partition: the log's partition of that event
    cause_offset: the place of that event within the partition
    """

    follow_up: str
    account: str = ""
    rule: str = ""
    rule_version: int = 0
    about: str = ""
    matter: str = ""
    what: str = ""
    why: str = ""
    purpose: Purpose = "service"
    priority: Priority = "normal"
    channels: tuple[str, ...] = ()
    status: Status = "requested"
    requested_at: datetime = EPOCH
    due: datetime = EPOCH
    expires: datetime = EPOCH
    assignee: str | None = None
    snoozed_until: datetime | None = None
    outcome: str | None = None
    reason: str | None = None
    closed_at: datetime | None = None
    breached: bool = False
    cause_id: str | None = None
    cause_partition: int | None = None
    cause_offset: int | None = None


def _follow_up(event: Event[Any]) -> str | None:
    return event.id if isinstance(event.data, FollowUpRequested) else getattr(event.data, "follow_up_id", None)


follow_ups = Projection(
    "follow_ups",
    version=1,
    row=FollowUpRow,
    key=_follow_up,
    stays=True,  # a follow-up is with the account that it was asked for
    indexes=(("account", "status"), ("status", "due")),
)


@follow_ups.on(FollowUpRequested)
def requested(row: FollowUpRow, event: Event[FollowUpRequested]) -> FollowUpRow:
    """A rule asked for it; it is not in the queue yet."""
    data = event.data
    _describe(row, event)
    row.rule_version, row.matter = data.rule_version, data.matter
    row.cause_id, row.cause_partition, row.cause_offset = data.cause.id, data.cause.partition, data.cause.offset
    return row


@follow_ups.on(FollowUpOpened)
def opened(row: FollowUpRow, event: Event[FollowUpOpened]) -> FollowUpRow:
    """It stands in the queue: when a person asked for it, this is its first event."""
    if not row.account:
        _describe(row, event)
    row.status = "open"
    return row


@follow_ups.on(FollowUpAssigned)
def assigned(row: FollowUpRow, event: Event[FollowUpAssigned]) -> FollowUpRow:
    """Somebody is responsible, and a rest is over; work that was begun goes on."""
    row.assignee = event.data.assignee
    row.snoozed_until = None
    if row.status != "started":
        row.status = "assigned"
    return row


@follow_ups.on(FollowUpSnoozed)
def snoozed(row: FollowUpRow, event: Event[FollowUpSnoozed]) -> FollowUpRow:
    """It rests."""
    row.status, row.snoozed_until = "snoozed", event.data.until
    return row


@follow_ups.on(FollowUpStarted)
def started(row: FollowUpRow, event: Event[FollowUpStarted]) -> FollowUpRow:
    """Somebody is working on it."""
    row.status, row.snoozed_until = "started", None
    return row


@follow_ups.on(FollowUpCompleted)
def completed(row: FollowUpRow, event: Event[FollowUpCompleted]) -> FollowUpRow:
    """It was done."""
    row.outcome = event.data.outcome
    return _closed(row, event, "completed")


@follow_ups.on(FollowUpDismissed)
def dismissed(row: FollowUpRow, event: Event[FollowUpDismissed]) -> FollowUpRow:
    """It was not needed."""
    row.reason = event.data.reason
    return _closed(row, event, "dismissed")


@follow_ups.on(FollowUpExpired)
def expired(row: FollowUpRow, event: Event[FollowUpExpired]) -> FollowUpRow:
    """Nobody came to it in time."""
    return _closed(row, event, "expired")


def is_overdue(row: FollowUpRow, moment: datetime) -> bool:
    """Whether its service level is missed: it was closed too late, or is not closed at ``moment`` though due."""
    return row.breached if row.status in CLOSED else moment > row.due


def is_waiting(row: FollowUpRow, moment: datetime) -> bool:
    """Whether it is for somebody to see to at ``moment``: neither closed, nor resting, nor too late to help."""
    resting = row.snoozed_until is not None and moment < row.snoozed_until
    return row.status not in CLOSED and not resting and moment < row.expires


def queue_order(row: FollowUpRow) -> tuple[int, datetime, datetime, str]:
    """Sort by this for the order in which to see to follow-ups: the more urgent first, then the sooner due."""
    return (URGENCY[row.priority], row.due, row.requested_at, row.follow_up)


def _describe(row: FollowUpRow, event: Event[FollowUpRequested] | Event[FollowUpOpened]) -> None:
    data = event.data
    row.account, row.requested_at = event.subject, event.now
    row.rule, row.about, row.what, row.why = data.rule, data.about, data.what, data.why
    row.purpose, row.priority, row.channels = data.purpose, data.priority, data.channels
    row.due, row.expires = data.due, data.expires


def _closed(row: FollowUpRow, event: Event[Any], status: Status) -> FollowUpRow:
    row.status, row.closed_at, row.snoozed_until = status, event.now, None
    row.breached = status == "expired" or event.time > row.due
    return row
