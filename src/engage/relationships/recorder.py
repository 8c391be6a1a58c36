"""What is kept in the transaction of the events, because it must not drift apart from them.

That is positions, advanced by compare-and-swap (the library's own guard, "stored < new", lets a zombie pass), a
small table of the follow-ups that are open with their expiry, so that finding those that expire loads nothing else, and
what commands were answered that came with a key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol
from uuid import UUID

from eventsourcing.persistence import Notification, StoredEvent
from msgspec import Struct


class Move(Struct, frozen=True):
    """The position ``name`` goes from ``previous`` (None: there was none) to ``position``."""

    name: str
    previous: int | None
    position: int


class PositionMovedError(RuntimeError):
    """Somebody else advanced this position: nothing was recorded. Read the position again and go on from there."""

    def __init__(self, move: Move) -> None:
        super().__init__(
            f"position {move.name!r} is no longer {move.previous}: another desk or relay works on it; "
            "read it again and go on from there"
        )


class Answered(Struct, frozen=True):
    """What a command was answered that came with a ``key``: asked again with it, it is answered the same.

    ``request`` tells one request from another, ``answer`` is what was said, ``at`` when (microseconds since 1970).
    """

    key: str
    request: str
    answer: bytes
    at: int


KEPT_MICROS = 24 * 3600 * 1_000_000
"""How long an answer is kept."""


class Beside(Struct, frozen=True):
    """What is recorded in the transaction of some stored events.

    ``opened`` are follow-ups with their expiry (microseconds since 1970), ``closed`` those that nothing may follow.
    ``all_relayed`` names the position that now stands at the last notification. ``answered`` is a command's answer: if
    its key has one that is kept still, nothing is recorded (eventsourcing's IntegrityError).
    """

    moves: Sequence[Move] = ()
    opened: Sequence[tuple[UUID, int]] = ()
    closed: Sequence[UUID] = ()
    all_relayed: str | None = None
    answered: Answered | None = None


class Recorder(Protocol):
    """What the application asks of either backend beyond the library's process recorder."""

    def select_many(self, ids: Iterable[UUID]) -> list[StoredEvent]:
        """All stored events of these aggregates, each aggregate's in order."""
        ...

    def versions(self, ids: Iterable[UUID]) -> dict[UUID, int]:
        """The last version of those of these aggregates that exist."""
        ...

    def expired(self, micros: int, limit: int) -> list[UUID]:
        """Up to ``limit`` open follow-ups whose expiry is at or before ``micros``, the earliest first."""
        ...

    def answered(self, key: str, since: int) -> Answered | None:
        """What a command with this key was answered at ``since`` or later (microseconds since 1970)."""
        ...

    def settle(self, key: str, answer: bytes | None) -> None:
        """Put ``answer`` in the place of what is kept under this key; None: forget it."""
        ...

    def kept_answers(self) -> list[Answered]:
        """What commands were answered, the oldest first."""
        ...

    def max_tracking_id(self, application_name: str) -> int | None: ...

    def max_notification_id(self) -> int | None: ...

    def select_notifications(
        self, start: int | None, limit: int, *, inclusive_of_start: bool = True
    ) -> Sequence[Notification]: ...
