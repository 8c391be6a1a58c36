"""Long batches of read models from which nothing follows but their rows, decoded and folded a few hundred at a time.

Of such a model, most of all one that is rebuilt or new, it takes half of the time of the long way
(``engage.services.batches``), which goes through what this cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from engage.events.envelope import Event
from engage.log.contract import Record
from engage.rules.mending import WORDS
from engage.services import tracing
from engage.services.loading import Loading
from engage.services.records import AT_ONCE, CorruptRecordError, placed_events
from engage.store.families import Slot
from engage.store.positions import Marks
from engage.store.row_cache import RowCache
from engage.store.views import ViewStore
from engage.views.parking import Stops
from engage.views.passes import Folded
from engage.views.plain_folding import IrregularError, PlainFolding, all_plain
from engage.views.projection import ReadModel

_WORTH = 200
"""Records that are worth it; fewer are better committed together with those of other partitions."""

_SHUNNED = 100_000
"""Offsets over which it is not tried again where it did not do: to go both ways takes a half more."""


class Found(Struct, frozen=True):
    """What was read of a partition for ``models``: the records from ``start`` up to before ``position``."""

    partition: int
    models: Sequence[ReadModel[Any]]
    start: int
    position: int
    records: Sequence[Record]


class Short(Struct, frozen=True):
    """What was made of them: a result for each model, which keys have no row, and the first and the last event."""

    folded: list[Folded]
    absent: Mapping[tuple[str, int], set[str]]
    ends: list[Event[Any]]


class ShortWay:
    """Folds on what stands in one slot of ``store``; ``mends`` says that operators' words are to be heeded."""

    def __init__(self, store: ViewStore, cache: RowCache, slot: Slot, *, mends: bool) -> None:
        self._store = store
        self._cache = cache
        self._slot = slot
        self._beware = WORDS if mends else ()
        self._shunned: dict[tuple[int, str], int] = {}

    def suits(self, found: Found, stops: Mapping[str, Stops]) -> bool:
        """Whether to try it: nothing stands still, and nobody traces, for which events would have to be kept."""
        return (
            len(found.records) > _WORTH
            and not stops
            and not tracing.traced()
            and found.start >= self._shunned.get(_of(found), 0)
            and all_plain(found.models)
        )

    def fold(self, found: Found, marks: Marks) -> Short | None:
        """Fold them all, on what stands as ``marks`` say; None if that takes the long way."""
        assert all_plain(found.models), "ask whether it suits"
        folding, records, ends = PlainFolding(found.models, self._beware), found.records, list[Event[Any]]()
        try:
            with self._store.rows(self._slot) as rows:
                loading = Loading(rows, self._cache, marks, self._slot)
                load = loading.of(found.partition)
                for first in range(0, len(records), AT_ONCE):
                    events = placed_events(records[first : first + AT_ONCE], folding.wanted)
                    folding.take(events, load)
                    ends = [*(ends or events)[:1], events[-1]]
        except (IrregularError, CorruptRecordError):
            self.shun(found)
            return None
        return Short(folding.folded(), loading.absent, ends)

    def shun(self, found: Found) -> None:
        """Something of it could not be kept: do not try again so soon."""
        self._shunned[_of(found)] = found.start + _SHUNNED


def _of(found: Found) -> tuple[int, str]:
    return found.partition, found.models[0].name
