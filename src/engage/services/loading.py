"""The rows that a batch folds: those that are kept from the last one, and all others in as few questions as may be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from engage.store.families import Slot, slotted
from engage.store.positions import Marks
from engage.store.reader import Rows
from engage.store.row_cache import RowCache
from engage.views.passes import UNREADABLE, Load
from engage.views.projection import ReadModel

Wanted = Iterable[tuple[int, Sequence[tuple[ReadModel[Any], Sequence[str]]]]]
"""By partition, the keys of each read model."""


class Loading:
    """Loads ``rows`` of the tables in one slot, which stand as ``marks`` say, for the folds of one batch.

    ``absent`` are by table and partition the keys that were asked for and have no row.
    """

    def __init__(self, rows: Rows, cache: RowCache, marks: Marks, slot: Slot) -> None:
        self.absent: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
        self._rows = rows
        self._cache = cache
        self._marks = marks
        self._slot = slot
        self._ahead: dict[tuple[str, int], dict[str, Any]] = {}

    def ahead(self, wanted: Wanted) -> None:
        """Load what the first question of each fold is going to be about, of all models and partitions at once."""
        missing: dict[str, tuple[ReadModel[Any], list[tuple[tuple[str, int], str]]]] = {}
        for partition, models in wanted:
            for model, keys in models:
                place = slotted(model.name, self._slot), partition
                found = self._ahead[place] = self._kept(place, keys)
                if len(found) < len(keys):
                    asked = missing.setdefault(model.name, (model, []))[1]
                    asked += [(place, key) for key in keys if key not in found]
        try:
            loaded = self._rows.load_all([(model, [key for _, key in keys]) for model, keys in missing.values()])
        except UNREADABLE:  # each fold asks for itself, and finds out which row it is
            return
        for (_, asked), rows in zip(missing.values(), loaded, strict=True):
            for place, key in asked:
                self._ahead[place][key] = rows.get(key)

    def of(self, partition: int) -> Load:
        """What loads the rows of a partition; what was loaded ahead is given away once."""

        def load(model: ReadModel[Any], keys: Sequence[str]) -> dict[str, Any]:
            place = slotted(model.name, self._slot), partition
            ahead = self._ahead.pop(place, None)
            found = self._kept(place, keys) if ahead is None else ahead
            if len(found) < len(keys):
                asked = [key for key in keys if key not in found]
                found |= dict.fromkeys(asked) | self._rows.load(model, asked)
            if absent := [key for key, row in found.items() if row is None]:
                self.absent[place].update(absent)
                for key in absent:
                    del found[key]
            return found

        return load

    def _kept(self, place: tuple[str, int], keys: Sequence[str]) -> dict[str, Any]:
        return self._cache.take(*place, self._marks.get(place), keys)
