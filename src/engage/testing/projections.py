"""Given/when/then for read models: events through the pure fold, no database.

    given(orders, happened(OrderCompleted(order_id="o-1", total=10), at="2026-03-01")).then("acc-1", orders=1)

``then`` goes on: ``.when(...)`` folds more events, ``.then_no_row(key)`` says that there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from msgspec import Raw, Struct, structs

from engage.events.catalogue import CATALOGUE
from engage.events.codec import open_data
from engage.events.envelope import Event
from engage.views.projection import Projection

R = TypeVar("R", bound=Struct)


def given(projection: Projection[R], *events: Event[Any]) -> Folded[R]:
    """The read model after these events, in this order; an error in a fold is raised as it is."""
    return Folded(projection).when(*events)


class Folded(Generic[R]):
    """Rows that were folded from events, to ask what they say."""

    def __init__(self, projection: Projection[R]) -> None:
        self.projection = projection
        self.rows: dict[str, R] = {}
        self._count = 0

    def when(self, *events: Event[Any]) -> Folded[R]:
        """Fold more events; one without an offset gets the next."""
        for event in events:
            placed = event if event.offset >= 0 else structs.replace(event, offset=self._count)
            self._count = placed.offset + 1
            self._fold(placed)
        return self

    def then(self, key: str, **columns: Any) -> Folded[R]:
        """The row of ``key`` is there and holds these values; AssertionError tells each that differs."""
        assert key in self.rows, f"{self.projection.name} has no row {key!r}, only {self._keys()}"
        row = self.rows[key]
        wrong = [
            f"{name} is {getattr(row, name)!r}, not {value!r}"
            for name, value in columns.items()
            if getattr(row, name) != value
        ]
        assert not wrong, f"{self.projection.name}, row {key!r}: {'; '.join(wrong)}"
        return self

    def then_no_row(self, key: str) -> Folded[R]:
        """There is no row of ``key``; AssertionError shows the one there is."""
        assert key not in self.rows, f"{self.projection.name} has the row {self.rows[key]!r}"
        return self

    def _fold(self, event: Event[Any]) -> None:
        projection = self.projection
        fold = projection.folds.get(event.type) or projection.fold_any
        if fold is None:
            return
        if type(event.data) is Raw and event.type in CATALOGUE:
            event = open_data(event)
            if type(event.data) is Raw:  # older than its type, as in ``Folding``
                fold = projection.fold_any
                if fold is None:
                    return
        key = projection.key(event)
        if key is None:
            return
        row = None if projection.append_only else self.rows.get(key)
        folded = fold(projection.row(key) if row is None else row, event)
        if folded is not None:
            self.rows[key] = folded
        elif not projection.append_only:
            self.rows.pop(key, None)

    def _keys(self) -> Sequence[str]:
        return sorted(self.rows)
