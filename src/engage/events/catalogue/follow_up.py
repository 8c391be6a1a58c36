"""Follow-ups: what the rules asked for or refused to ask for, and what people and channels made of it."""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import Struct

from engage.events.catalogue.base import Count, EventData, Personal, Ref, Text
from engage.events.envelope import Instant

Priority = Literal["low", "normal", "high", "urgent"]
URGENCY: dict[Priority, int] = {"urgent": 0, "high": 1, "normal": 2, "low": 3}
"""Where a priority stands in any order: the more urgent first."""
Status = Literal["requested", "open", "assigned", "snoozed", "started", "completed", "dismissed", "expired"]
"""Where a follow-up stands; it is ``requested`` until it is in the queue."""
CLOSED: frozenset[Status] = frozenset({"completed", "dismissed", "expired"})
Purpose = Literal["service", "research", "marketing", "partnership"]
SkipReason = Literal["consent", "cap", "quiet_hours", "duplicate", "holdout", "stale"]


class Cause(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The record that led to a decision: its event's id and source, and where it stands in the log."""

    id: Ref
    source: Ref
    partition: Count
    offset: Count


class FollowUpRequested(EventData):
    """A rule asks for a follow-up and the policy lets it: the event's id is the follow-up's id.

    ``due`` is the service level, ``expires`` the moment from which it would come too late to help. ``cause`` is what
    set it going, ``decided_at`` the offset of the record during whose folding it was decided.
    """

    type_name: ClassVar[str] = "follow_up.requested"

    rule: Ref
    rule_version: Count
    about: Ref
    what: Text
    why: Text
    purpose: Purpose
    priority: Priority
    channels: tuple[Ref, ...]
    matter: Ref
    due: Instant
    expires: Instant
    cause: Cause
    decided_at: Count
    wake_due: Instant | None = None


class Deferred(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A request that waits until quiet hours end, as it stood when it became due at ``base``."""

    until: Instant
    base: Instant
    ordinal: Count
    why: Text
    purpose: Purpose
    priority: Priority
    channels: tuple[Ref, ...]
    due: Instant
    expires: Instant


class FollowUpSkipped(EventData):
    """A rule would have asked for a follow-up, and why it was not asked for; said once until the reason changes.

    What is ``deferred`` is not given up: the policy runs on it again when quiet hours end, and says so in a decision of
    its own. Each deferral is said.
    """

    type_name: ClassVar[str] = "follow_up.skipped"

    rule: Ref
    rule_version: Count
    about: Ref
    what: Text
    reason: SkipReason
    detail: Text
    matter: Ref
    cause: Cause
    decided_at: Count
    wake_due: Instant | None = None
    deferred: Deferred | None = None


class FollowUpOpened(EventData):
    """The follow-up stands in the queue: the aggregate was created from its request."""

    type_name: ClassVar[str] = "follow_up.opened"

    follow_up_id: Ref
    rule: Ref
    about: Ref
    what: Text
    why: Text
    purpose: Purpose
    priority: Priority
    channels: tuple[Ref, ...]
    due: Instant
    expires: Instant


class FollowUpAssigned(EventData):
    """Somebody is responsible for it now."""

    type_name: ClassVar[str] = "follow_up.assigned"

    follow_up_id: Ref
    assignee: Ref


class FollowUpSnoozed(EventData):
    """It rests until a moment that suits the account better."""

    type_name: ClassVar[str] = "follow_up.snoozed"

    follow_up_id: Ref
    until: Instant


class FollowUpStarted(EventData):
    """Somebody is working on it."""

    type_name: ClassVar[str] = "follow_up.started"

    follow_up_id: Ref


class FollowUpCompleted(EventData):
    """It was done; ``outcome`` is a short code such as ``reached`` or ``renewed``, ``note`` is free text."""

    type_name: ClassVar[str] = "follow_up.completed"

    follow_up_id: Ref
    outcome: Ref
    note: Personal | None = None


class FollowUpDismissed(EventData):
    """Somebody decided that it is not needed; ``reason`` is a short code, ``note`` is free text."""

    type_name: ClassVar[str] = "follow_up.dismissed"

    follow_up_id: Ref
    reason: Ref
    note: Personal | None = None


class FollowUpExpired(EventData):
    """Nobody came to it while it could still help."""

    type_name: ClassVar[str] = "follow_up.expired"

    follow_up_id: Ref


class FollowUpDelivered(EventData):
    """A channel has handed it on: ``channel`` is ``webhook``, ``endpoint`` the one that took it at this ``attempt``."""

    type_name: ClassVar[str] = "follow_up.delivered"

    follow_up_id: Ref
    channel: Ref
    endpoint: Ref
    attempt: Count


class FollowUpDeliveryFailed(EventData):
    """A channel could not hand it on, or may not any more.

    ``reason`` is a short text: what the other side answered, or ``expired``, ``closed`` or ``consent`` where it was not
    sent because it must not be. ``retried`` says that there will be another attempt.
    """

    type_name: ClassVar[str] = "follow_up.delivery_failed"

    follow_up_id: Ref
    channel: Ref
    endpoint: Ref
    attempt: Count
    reason: Text
    retried: bool = False
