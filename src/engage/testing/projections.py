"""Given/when/then for read models: events through the pure fold, no database.

    given(orders, happened(OrderCompleted(order_id="o-1", total=10), at="2026-03-01")).then("acc-1", orders=1)

``then`` goes on: ``.when(...)`` folds more events, ``.until("2026-05-01")`` lets time pass, ``.then_no_row(key)`` says
that there is none, ``.then_announced(...)`` what the model has told the log. Of an aggregate, ``then`` asks for the
rows that readers get; it is folded together with the projection it is of, and with ``beside``, models it needs there.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from msgspec import Struct, structs

from engage.events.catalogue.base import EventData
from engage.events.catalogue.clock import ClockTicked
from engage.events.envelope import PARTITION_SUBJECT, Event
from engage.testing.events import happened, moment
from engage.views.aggregate import Aggregate
from engage.views.folding import Folding
from engage.views.projection import Projection, ReadModel

R = TypeVar("R", bound=Struct)


def given(model: Projection[R] | Aggregate[Any, R], *events: Event[Any]) -> Told[R]:
    """The read model after these events, in this order; an error in a fold is raised as it is."""
    return Told(model).when(*events)


class Told(Generic[R]):
    """Rows that were folded from events, to ask what they say."""

    def __init__(self, model: Projection[R] | Aggregate[Any, R]) -> None:
        self.model = model
        base = model.of if isinstance(model, Aggregate) else None
        self._folding = Folding([model] if base is None else [base, model])
        self._stored: dict[str, dict[str, Any]] = {one.name: {} for one in self._folding.models}
        self._due: dict[str, datetime] = {}
        self.announced: list[EventData] = []
        self._counts: dict[int, int] = {}

    @property
    def rows(self) -> dict[str, R]:
        """What readers get, by key."""
        stored = self._stored[self.model.name]
        if isinstance(self.model, Projection):
            return stored
        key = self.model.reads.__struct_fields__[0]
        return {getattr(row, key): row for row in self.model.merged(copy.deepcopy(list(stored.values())))}

    def when(self, *events: Event[Any]) -> Told[R]:
        """Fold more events; one without an offset gets the next of its partition."""
        for event in events:
            partition = max(event.partition, 0)
            count = self._counts.get(partition, 0)
            placed = structs.replace(event, partition=partition, offset=max(event.offset, count))
            self._counts[partition] = placed.offset + 1
            self._fold(placed)
        return self

    def until(self, when: str | datetime, partition: int = 0) -> Told[R]:
        """Nothing is recorded until then: what is due by then wakes."""
        ticked = ClockTicked(partition=partition, until=moment(when))
        return self.when(happened(ticked, at=when, subject=f"{PARTITION_SUBJECT}{partition}", partition=partition))

    def then(self, key: str, **columns: Any) -> Told[R]:
        """The row of ``key`` is there and holds these values; AssertionError tells each that differs."""
        rows = self.rows
        assert key in rows, f"{self.model.name} has no row {key!r}, only {sorted(rows)}"
        row = rows[key]
        wrong = [
            f"{name} is {getattr(row, name)!r}, not {value!r}"
            for name, value in columns.items()
            if getattr(row, name) != value
        ]
        assert not wrong, f"{self.model.name}, row {key!r}: {'; '.join(wrong)}"
        return self

    def then_no_row(self, key: str) -> Told[R]:
        """There is no row of ``key``; AssertionError shows the one there is."""
        rows = self.rows
        assert key not in rows, f"{self.model.name} has the row {rows[key]!r}"
        return self

    def then_announced(self, *data: EventData) -> Told[R]:
        """All that the model has told the log since this was last asked, in order."""
        assert self.announced == list(data), f"{self.model.name} announced {self.announced}, not {list(data)}"
        self.announced = []
        return self

    def _fold(self, event: Event[Any]) -> None:
        for folded in self._folding.fold([event], self._load, None, self._due_keys, self._keys_of):
            for stopped in folded.parked.values():
                raise AssertionError(f"{folded.model.name} could not fold {event}:\n{stopped.traceback}")
            stored = self._stored[folded.model.name]
            for key, row in folded.rows.items():
                if row is None:
                    stored.pop(key, None)
                else:
                    stored[key] = row
                if folded.model is self._folding.models[0]:
                    self._due.pop(key, None)
            self._due.update(folded.due)
            if folded.model is self.model:
                self.announced += [one.data for one in folded.announced]

    def _load(self, model: ReadModel[Any], keys: Sequence[str]) -> dict[str, Any]:
        stored = self._stored[model.name]
        return {key: copy.deepcopy(stored[key]) for key in keys if key in stored}

    def _keys_of(self, model: Projection[Any], partition: int, account: str) -> list[str]:
        return [key for key, row in self._stored[model.name].items() if getattr(row, "account", None) == account]

    def _due_keys(self, model: Projection[Any], partition: int, until: datetime) -> list[str]:
        # A row's own partition is not kept here: tests of wakes live on one.
        return sorted(key for key, due in self._due.items() if due <= until)
