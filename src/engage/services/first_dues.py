"""When the first row of a read model wants to be woken, as far as it is known without asking the database.

Of most batches nothing is due, and to find that out took a statement a partition. What is known is never too late: a
row that was to be woken first and has been put off meanwhile only makes for a question too many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from engage.store.families import Slot, slotted
from engage.store.positions import Mark, Marks
from engage.store.reader import Rows
from engage.views.passes import Folded
from engage.views.projection import Projection, ReadModel

Place = tuple[ReadModel[Any], int]
"""A read model and a partition."""


class FirstDues:
    """What is known of the tables in one slot, as long as nobody else writes there."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._known: dict[tuple[str, int], tuple[Mark, datetime | None]] = {}

    def look(self, rows: Rows, places: Iterable[Place], marks: Marks) -> None:
        """Ask for what is not known, of all ``places`` at once."""
        unknown = [
            (place, marks[key])
            for place in places
            if isinstance(place[0], Projection) and place[0].due is not None and (key := self._key(place)) in marks
            if key not in self._known or self._known[key][0] != marks[key]
        ]
        found = rows.first_dues([place for place, _ in unknown])
        for (place, mark), first in zip(unknown, found, strict=True):
            self._known[self._key(place)] = mark, first

    def due_keys(self, rows: Rows, model: ReadModel[Any], partition: int, until: datetime) -> Sequence[str]:
        """The keys of the rows that want to be woken by then; ``look`` comes first."""
        place = self._key((model, partition))
        first = self._known[place][1] if place in self._known else until
        if first is None or first > until:
            return ()
        self._known.pop(place, None)
        return rows.due_keys(model, partition, until)

    def follow(self, place: tuple[str, int], folded: Folded, before: Mark, mark: Mark) -> None:
        """Know on what was committed of a table on a partition: ``mark`` is the state that came of ``before``."""
        known = self._known.get(place)
        if known is None:
            return
        if known[0] != before:
            del self._known[place]
            return
        first = known[1]
        if folded.due:
            first = min(folded.due.values()) if first is None else min(first, *folded.due.values())
        self._known[place] = mark, first

    def _key(self, place: Place) -> tuple[str, int]:
        return slotted(place[0].name, self._slot), place[1]
