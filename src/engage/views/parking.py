"""What stands still in a read model because an event could not be folded; everything else goes on."""

from __future__ import annotations

import traceback
from typing import Literal

from msgspec import Struct, field

from engage.events.envelope import Event

Scope = Literal["row", "account"]
Stop = tuple[Scope, str]


class Parked(Struct, frozen=True):
    """A row that stands still because an event could not be folded, and how many events it has missed since.

    ``scope`` is ``account`` where not even the row is known: then every event of that subject is left out.
    """

    scope: Scope
    key: str
    partition: int
    offset: int
    error: str
    traceback: str
    skipped: int = 0


class Stops(Struct):
    """From which offset on which rows, and which accounts' events, are left out."""

    rows: dict[str, int] = field(default_factory=dict)
    accounts: dict[str, int] = field(default_factory=dict)

    def add(self, scope: Scope, key: str, offset: int) -> None:
        """Leave out what comes after ``offset``, and that event itself."""
        (self.rows if scope == "row" else self.accounts)[key] = offset

    def skips(self, key: str, event: Event[object]) -> Stop | None:
        """What is parked that this event of row ``key`` belongs to, if anything."""
        if key in self.rows and event.offset >= self.rows[key]:
            return "row", key
        if event.subject in self.accounts and event.offset >= self.accounts[event.subject]:
            return "account", event.subject
        return None


def parked(scope: Scope, key: str, partition: int, offset: int, error: Exception) -> Parked:
    """What to keep of a failure."""
    told = "".join(traceback.format_exception(error))
    return Parked(scope, key, partition, offset, f"{type(error).__name__}: {error}", told)
