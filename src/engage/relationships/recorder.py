"""What is kept in the transaction of the events, because it must not drift apart from them.

That is positions, advanced by compare-and-swap (the library's own guard, "stored < new", lets a zombie pass), and a
small table of the follow-ups that are open with their expiry, so that finding those that expire loads nothing else.
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


class Beside(Struct, frozen=True):
    """What is recorded in the transaction of some stored events.

    ``opened`` are follow-ups with their expiry (microseconds since 1970), ``closed`` those that nothing may follow.
    ``all_relayed`` names the position that now stands at the last notification.
    """

    moves: Sequence[Move] = ()
    opened: Sequence[tuple[UUID, int]] = ()
    closed: Sequence[UUID] = ()
    all_relayed: str | None = None


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

    def max_tracking_id(self, application_name: str) -> int | None: ...

    def max_notification_id(self) -> int | None: ...

    def select_notifications(
        self, start: int | None, limit: int, *, inclusive_of_start: bool = True
    ) -> Sequence[Notification]: ...
