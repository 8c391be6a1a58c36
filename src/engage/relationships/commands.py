"""What people ask of a follow-up, as values: one command may come alone, thousands in one batch."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from engage.events.catalogue.base import Ref
from engage.events.envelope import Id, Instant
from engage.events.validation import text_fault
from engage.relationships.errors import InvalidError
from engage.relationships.follow_up import FollowUp

Note = Annotated[str, Meta(max_length=20_000)]
"""Free text; sealed, it still fits into an event."""
_CODE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Asked(Struct, frozen=True, kw_only=True):
    """Who asks (``actor``), when (``at``), of which follow-up; ``if_version`` refuses it at any other version."""

    id: UUID
    actor: Id
    at: Instant
    if_version: int | None = None


class Assign(Asked, frozen=True, kw_only=True):
    """Make ``assignee`` responsible."""

    assignee: Ref

    def apply(self, follow_up: FollowUp) -> None:
        """ClosedError if it is done, dismissed or expired."""
        follow_up.assign(self.assignee, self.actor, self.at)


class Snooze(Asked, frozen=True, kw_only=True):
    """Let it rest until a moment ahead and before its expiry."""

    until: Instant

    def apply(self, follow_up: FollowUp) -> None:
        """ClosedError, or SnoozeError if it cannot rest until then."""
        follow_up.snooze(self.until, self.actor, self.at)


class Start(Asked, frozen=True, kw_only=True):
    """Work on it."""

    def apply(self, follow_up: FollowUp) -> None:
        """ClosedError if it is done, dismissed or expired."""
        follow_up.start(self.actor, self.at)


class Closing(Asked, frozen=True, kw_only=True):
    """What ends it; ``note`` is free text, in plain words until the desk has sealed it."""

    note: Note | None = None


class Complete(Closing, frozen=True, kw_only=True):
    """It was done, with ``outcome`` as a short code."""

    outcome: Ref

    def apply(self, follow_up: FollowUp) -> None:
        """ClosedError if it is done, dismissed or expired."""
        follow_up.complete(self.outcome, self.note, self.actor, self.at)


class Dismiss(Closing, frozen=True, kw_only=True):
    """It is not needed, for ``reason`` as a short code."""

    reason: Ref

    def apply(self, follow_up: FollowUp) -> None:
        """ClosedError if it is done, dismissed or expired."""
        follow_up.dismiss(self.reason, self.note, self.actor, self.at)


Command = Assign | Snooze | Start | Complete | Dismiss
"""``apply(follow_up)`` gives it to the follow-up; CommandError if that refuses."""

C = TypeVar("C", bound=Asked)


def checked(command: C) -> C:
    """The command, if the log will take what comes of it; InvalidError names the field and what is wrong with it."""
    try:
        msgspec.json.decode(msgspec.json.encode(command), type=type(command))
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        name = type(command).__name__.lower()
        raise InvalidError(f"{name} of follow-up {command.id}: {error}; mend it and ask again") from error
    for field, fault_of in _TEXTS.items():
        fault = fault_of(getattr(command, field)) if hasattr(command, field) else None
        if fault is not None:
            name = type(command).__name__.lower()
            raise InvalidError(f"{name} of follow-up {command.id}: {field} {fault}", field)
    return command


def _code_fault(text: str) -> str | None:
    if _CODE.fullmatch(text):
        return None
    return (
        "is kept in plain words for ever and must be a short code: up to 64 small letters, digits, - and _, such as "
        "'no_answer'; say the rest in note, which is kept sealed"
    )


_TEXTS: dict[str, Callable[[str], str | None]] = {
    "actor": text_fault,
    "assignee": text_fault,
    "outcome": _code_fault,
    "reason": _code_fault,
}
