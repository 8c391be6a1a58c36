"""A follow-up from its decision to its end: who looks after it, when it rests, how it ended."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from engage.events.catalogue.base import EventData
from engage.events.catalogue.follow_up import (
    CLOSED,
    FollowUpAssigned,
    FollowUpCompleted,
    FollowUpDismissed,
    FollowUpExpired,
    FollowUpOpened,
    FollowUpRequested,
    FollowUpSnoozed,
    FollowUpStarted,
    Status,
)
from engage.events.sealing import is_sealed
from engage.relationships.aggregate import AccountAggregate
from engage.relationships.errors import ClosedError, SnoozeError


class FollowUp(AccountAggregate):
    """Opened once, from the decision whose id it bears; closed once.

    Every command says who (``actor``) and when (``at``, with its UTC offset); it raises a ``CommandError`` if it is
    refused, and records nothing if it would change nothing. A moment before that of the last event counts as that
    one: the story never goes back.
    """

    class Event(AccountAggregate.Event):
        """Base of what happens to a follow-up."""

    class Opened(Event, AccountAggregate.Created):
        data: FollowUpOpened

    class Assigned(Event):
        data: FollowUpAssigned

        def apply(self, aggregate: FollowUp) -> None:
            aggregate.assignee, aggregate.until = self.data.assignee, None
            if aggregate.status != "started":
                aggregate.status = "assigned"

    class Snoozed(Event):
        data: FollowUpSnoozed

        def apply(self, aggregate: FollowUp) -> None:
            aggregate.status, aggregate.until = "snoozed", self.data.until

    class Started(Event):
        data: FollowUpStarted

        def apply(self, aggregate: FollowUp) -> None:
            aggregate.status, aggregate.until = "started", None

    class Completed(Event):
        closes: ClassVar[bool] = True
        data: FollowUpCompleted

        def apply(self, aggregate: FollowUp) -> None:
            aggregate.status, aggregate.until, aggregate.outcome = "completed", None, self.data.outcome

    class Dismissed(Event):
        closes: ClassVar[bool] = True
        data: FollowUpDismissed

        def apply(self, aggregate: FollowUp) -> None:
            aggregate.status, aggregate.until, aggregate.outcome = "dismissed", None, self.data.reason

    class Expired(Event):
        closes: ClassVar[bool] = True
        data: FollowUpExpired

        def apply(self, aggregate: FollowUp) -> None:
            aggregate.status, aggregate.until = "expired", None

    def __init__(self, account: str, data: FollowUpOpened) -> None:
        self.account = account
        self.request = data
        self.status: Status = "open"
        self.assignee: str | None = None
        self.until: datetime | None = None
        self.outcome: str | None = None

    @classmethod
    def open(cls, id: UUID, account: str, requested: FollowUpRequested, actor: str, at: datetime) -> FollowUp:  # noqa: A002
        """The follow-up that the ``follow_up.requested`` event ``id`` asks for."""
        data = FollowUpOpened(
            follow_up_id=str(id),
            rule=requested.rule,
            about=requested.about,
            what=requested.what,
            why=requested.why,
            purpose=requested.purpose,
            priority=requested.priority,
            channels=requested.channels,
            due=requested.due,
            expires=requested.expires,
        )
        return cls._create(cls.Opened, id=id, timestamp=at, account=account, actor=actor, data=data)

    @property
    def due(self) -> datetime:
        """Until when the service level wants it done."""
        return self.request.due

    @property
    def expires(self) -> datetime:
        """From when on it would come too late to help."""
        return self.request.expires

    def assign(self, assignee: str, actor: str, at: datetime) -> None:
        """``assignee`` is responsible from now on; a rest is over, work that was begun goes on."""
        self._must_be_open(at)
        if assignee != self.assignee:
            self._record(self.Assigned, FollowUpAssigned(follow_up_id=str(self.id), assignee=assignee), actor, at)

    def snooze(self, until: datetime, actor: str, at: datetime) -> None:
        """It rests until a moment that lies ahead and before its expiry; SnoozeError otherwise."""
        self._must_be_open(at)
        if not at < until < self.expires:
            raise SnoozeError(
                f"follow-up {self.id} cannot rest until {until.isoformat()}: choose a moment after {at.isoformat()} "
                f"and before it expires on {self.expires.isoformat()}"
            )
        if (self.status, self.until) != ("snoozed", until):
            self._record(self.Snoozed, FollowUpSnoozed(follow_up_id=str(self.id), until=until), actor, at)

    def start(self, actor: str, at: datetime) -> None:
        """Somebody works on it; a rest is over."""
        self._must_be_open(at)
        if self.status != "started":
            self._record(self.Started, FollowUpStarted(follow_up_id=str(self.id)), actor, at)

    def complete(self, outcome: str, note: str | None, actor: str, at: datetime) -> None:
        """It was done, with ``outcome`` as a short code; ``note`` is free text, sealed already."""
        self._must_be_open(at)
        data = FollowUpCompleted(follow_up_id=str(self.id), outcome=outcome, note=_sealed(note))
        self._record(self.Completed, data, actor, at)

    def dismiss(self, reason: str, note: str | None, actor: str, at: datetime) -> None:
        """It is not needed, for ``reason`` as a short code; ``note`` is free text, sealed already."""
        self._must_be_open(at)
        data = FollowUpDismissed(follow_up_id=str(self.id), reason=reason, note=_sealed(note))
        self._record(self.Dismissed, data, actor, at)

    def expire(self, actor: str, at: datetime) -> None:
        """Nobody came to it in time, as seen ``at`` its expiry or later; the event's moment is the expiry.

        Nothing happens to one that is closed, or that still can help.
        """
        if self.status not in CLOSED and at >= self.expires:
            self._record(self.Expired, FollowUpExpired(follow_up_id=str(self.id)), actor, self.expires)

    def _must_be_open(self, at: datetime) -> None:
        if self.status in CLOSED:
            became = self.status if self.status == "expired" else f"was {self.status}"
            raise ClosedError(
                f"follow-up {self.id} {became} on {self.modified_on:%Y-%m-%d %H:%M} UTC: nothing more can "
                "happen to it; take an open one from the queue"
            )
        if at >= self.expires:
            raise ClosedError(
                f"follow-up {self.id} expired on {self.expires:%Y-%m-%d %H:%M} UTC: it would come too "
                "late to help; take an open one from the queue"
            )

    def _record(self, event: type[Event], data: EventData, actor: str, at: datetime) -> None:
        values: dict[str, Any] = {"account": self.account, "actor": actor, "data": data}
        self.trigger_event(event, timestamp=max(at, self.modified_on), **values)


def _sealed(note: str | None) -> str | None:
    if note is not None and not is_sealed(note):
        raise ValueError("a note must be sealed with its account's key before it reaches the follow-up")
    return note
