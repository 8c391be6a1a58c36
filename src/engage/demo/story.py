"""An account's story, as compact entries that are put in order and made into events only when they are wanted."""

from __future__ import annotations

from msgspec import Struct

from engage.demo.purchases import DAYS, Purchase
from engage.events.catalogue.base import EventData

HOUR = 1 / 24
"""In days, the unit of time in which stories are told."""
MINUTE = HOUR / 60
DAY_MICROS = 86_400_000_000
PURCHASE = -1
"""The ordinal of what is real: its id comes from its line in the file."""


class Entry(Struct, gc=False):
    """One event to be: ``time`` in microseconds since the first day's midnight, before dates are moved.

    ``ordinal`` numbers what is simulated within its account's story, and makes its id.
    """

    time: int
    subject: str
    ordinal: int
    data: EventData | Purchase


class Story:
    """Collects the entries of one account; what would happen after the last day is numbered and left out."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.entries: list[Entry] = []
        self._next = 0

    def add(self, at: float, data: EventData) -> float:
        """``data`` happens ``at`` (days since the first midnight); returns ``at``."""
        if 0 <= at < DAYS:
            self.entries.append(Entry(int(at * DAY_MICROS), self.subject, self._next, data))
        self._next += 1
        return at

    def bought(self, at: float, purchase: Purchase) -> None:
        """A real purchase; its day is the file's, its hour is made up."""
        self.entries.append(Entry(int(at * DAY_MICROS), self.subject, PURCHASE, purchase))
