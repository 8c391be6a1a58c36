"""Keeps the read models up to the log: reads on from their positions, folds, commits rows and positions together."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Self

import structlog
from msgspec import Struct, structs

from engage.log.contract import Log
from engage.services.batches import Batches, Reach
from engage.services.rebuilding import Rebuilder, Rebuilt
from engage.services.records import CorruptRecordError
from engage.services.standings import Standings
from engage.services.verifying import Difference, Progress, Verifier
from engage.store.beginning import is_of
from engage.store.families import Family, families, family_of, slotted
from engage.store.pauses import Paused
from engage.store.positions import Position
from engage.store.reader import Standing
from engage.store.row_cache import RowCache
from engage.store.views import ViewStore
from engage.views.projection import ReadModel

__all__ = ["BATCH", "CorruptRecordError", "Difference", "Lag", "Projector", "Rebuilt"]

BATCH = 4_000
"""Records of one partition in one transaction. Fewer load and write the same rows more often; more hold up for longer
whoever waits for a view."""

FAR = 8_000
"""Records behind which a partition is far from its end: folded two seconds later, it is no less fresh."""

HISTORY_BATCH = 16_000
"""Records of one transaction of a partition that is far from its end: a row is loaded and written once for all that
they say of it, which takes a quarter less of processor time than batches of 4,000 (``benchmarks/views.py``)."""

_log = structlog.get_logger()


class Lag(Struct, frozen=True):
    """How far a read model is behind the end of one partition, in records (on Kafka at most: markers count).

    One that is ``paused`` is behind because somebody wanted it to be.
    """

    projection: str
    partition: int
    position: int
    behind: int
    paused: Paused | None = None


class Projector:
    """Folds ``log`` into the ``projections`` in ``store``, whose tables it makes.

    A projection whose version or columns are not those stored is folded again beside what is live, its family with it,
    and takes its place as soon as it has come as far. GenerationError if the store belongs to another log. ``ends`` are
    those of the log's partitions as of now; make it with ``opened`` to have them looked up before anything is done.
    ``history`` is how many records it folds at once of a partition that is far from its end.
    """

    def __init__(
        self,
        log: Log,
        store: ViewStore,
        projections: Sequence[ReadModel[Any]],
        ends: dict[int, int] | None = None,
        cache: RowCache | None = None,
        history: int = HISTORY_BATCH,
    ) -> None:
        self._records = log
        self._store = store
        self.projections = tuple(projections)
        self._families = families(self.projections)
        self._rebuilder = Rebuilder(log, store)
        self._batches = Batches(log, store, cache=cache, mend=self._rebuilder.mend)
        self._verifier = Verifier(log, store)
        self._standings = Standings(log, store)
        self._waking: list[ReadModel[Any]] = []
        self.moved: dict[tuple[str, int], int] = {}
        self._ends_known = ends is not None
        self._history = history
        self._strange: set[str] = set()
        self._first = -1
        self.rebuilt = store.prepare(self.projections, log.generation, log.partitions, ends)

    @classmethod
    async def opened(cls, log: Log, store: ViewStore, projections: Sequence[ReadModel[Any]]) -> Self:
        """A projector that knows how far the log reached when its read models came: what is there is not announced."""
        ends = await _ends(log)
        opened = cls(log, store, projections, ends)
        store.announce_from(ends, later=False)  # a load that was killed may have left them silent
        return opened

    def fellow(self) -> Projector:
        """Another one of the same read models, as in another process: both may be at work at once.

        While what one has folded is on its way into the database, the other folds. On partitions of its own, or a batch
        of one of them is dropped.
        """
        return Projector(self._records, self._store, self.projections)

    async def step(self, limit: int = BATCH, partitions: Collection[int] | None = None) -> int:
        """Fold up to ``limit`` records of each partition, or of these; how many, 0 when there was nothing new.

        Of those that are far from their end one goes on, by more records than that.
        Read models at the same position share one pass; one that is behind is read up to where the next one stands.
        ``moved`` is to what positions that led, by name and partition, where records were folded.
        PositionMovedError if another process folds the same views: nothing of that batch was written.
        """
        self.moved = {}
        if not self._ends_known:
            self._store.set_ends(await _ends(self._records))
            self._ends_known = True
        standing = await asyncio.to_thread(self._store.standing)
        live, beside = self._roles(standing)
        self._waking = [model for family in live for model in family if self._store.table(model).waking]
        ours = range(self._records.partitions) if partitions is None else sorted(partitions)
        reaches = []
        for partition in ours:
            groups: dict[int, list[ReadModel[Any]]] = {}
            for family in live:
                for model in family:
                    groups.setdefault(standing.positions[model.name, partition].position, []).append(model)
            starts: list[int | None] = [*sorted(groups), None]
            for start, following in itertools.pairwise(starts):
                assert start is not None, "only the last one is"
                until = await self._standings.until(groups[start], partition, start, following, standing)
                reaches.append(Reach(partition, groups[start], start, until))
        near, far = await self._near_and_far(reaches)
        done = await self._batches.advance(near, limit, standing)
        done += await self._batches.advance(far, max(limit, self._history), standing, patient=True)
        self.moved = {
            place: mark.position
            for place, mark in standing.marks.items()
            if place in standing.positions and mark.position > standing.positions[place].position
        }
        built = [await self._rebuilder.step(family, limit, ours) for family in beside]
        done += sum(one.records for one in built)
        if any(one.swapped for one in built):  # what is live now has the rest of the log before it
            done += await self.step(limit, partitions)
        return done

    async def catch_up(self, progress: Callable[[int], None] | None = None, *, limit: int = BATCH) -> int:
        """Fold until nothing is new; ``progress`` gets the number of records so far after each step. Returns it.

        CorruptRecordError if a partition cannot be folded up to its end: it is brought before the damage then.
        """
        total = 0
        stopped: set[int] = set()
        while (done := await self.step(limit)) or stopped != self._batches.damaged.keys():
            stopped = set(self._batches.damaged)
            total += done
            if progress is not None:
                progress(total)
        for error in self._batches.damaged.values():
            raise error
        return total

    @property
    def partitions(self) -> int:
        """How many the log has."""
        return self._records.partitions

    def positions(self) -> list[Position]:
        """How far each of the projections has come on each partition."""
        ours = {projection.name for projection in self.projections}
        return [position for position in self._store.positions() if position.projection in ours]

    def next_dues(self) -> dict[int, datetime]:
        """When the next row wants to be woken, by partition, those where one does.

        Only of what the last step moved on: nobody wakes a row of what is paused, or of another version.
        """
        return self._store.next_dues(self._waking, range(self._records.partitions))

    async def lag(self) -> list[Lag]:
        """How far each of the projections is behind on each partition."""
        ends = await _ends(self._records)
        stands, paused = await asyncio.to_thread(lambda: (self.positions(), self._store.paused()))
        return [
            Lag(name, at.partition, at.position, max(0, ends[at.partition] - at.position), paused.get(name))
            for at in stands
            for name in [at.projection]
        ]

    async def rebuild(
        self,
        projection: ReadModel[Any],
        progress: Progress | None = None,
        *,
        proving: Progress | None = None,
        sample: int | None = None,
        stop: asyncio.Event | None = None,
    ) -> Rebuilt:
        """Fold the log anew beside what readers see, verify it and swap. See ``Rebuilder.rebuild``."""
        family = family_of(projection, self.projections)
        return await self._rebuilder.rebuild(family, progress, proving=proving, sample=sample, stop=stop)

    async def rebuild_account(self, projection: ReadModel[Any], account: str) -> int:
        """Fold the rows of one account anew. See ``Rebuilder.rebuild_account``."""
        return await self._rebuilder.rebuild_account(family_of(projection, self.projections), account)

    async def roll_back(self, projection: ReadModel[Any]) -> int:
        """Let what was live before the last rebuild be live again; see ``ViewStore.roll_back``."""
        return await asyncio.to_thread(self._store.roll_back, family_of(projection, self.projections))

    async def verify(
        self, projection: ReadModel[Any], *, sample: int | None = None, progress: Progress | None = None
    ) -> Difference | None:
        """The first difference between the stored rows and a fold of the log. See ``Verifier.verify``."""
        return await self._verifier.verify(projection, sample=sample, progress=progress)

    def family(self, projection: ReadModel[Any]) -> Family:
        """What is folded, built and paused together with it."""
        return family_of(projection, self.projections)

    async def _near_and_far(self, reaches: list[Reach]) -> tuple[list[Reach], list[Reach]]:
        """Those that have nearly caught up, and of the others one, until it has: its accounts come again at once.

        To fold partitions in turn would load and write the rows of a history several times as often. Where there is
        nothing new, nothing is read.
        """
        partitions = dict.fromkeys(reach.partition for reach in reaches)
        found = await asyncio.gather(*(self._records.end(partition) for partition in partitions))
        ends = dict(zip(partitions, found, strict=True))
        far = {
            one.partition
            for one in reaches
            if min(one.until or ends[one.partition], ends[one.partition]) - one.start > FAR
            and one.partition not in self._batches.damaged  # which the others need not wait for
        }
        if far and self._first not in far:
            self._first = min(far)
        return (
            [one for one in reaches if one.partition not in far and one.start != ends[one.partition]],
            # Up to where it ends now: who waits for a batch to be full is not to wait for what will come.
            [
                structs.replace(one, until=min(one.until or ends[self._first], ends[self._first]))
                for one in reaches
                if one.partition in far and one.partition == self._first
            ],
        )

    def _roles(self, standing: Standing) -> tuple[list[Family], list[Family]]:
        """The families that are live as ours, and those that are to be; what others have made of the rest is theirs.

        What is paused is neither.
        """
        live, beside = [], []
        for family in self._families:
            if any(model.name in standing.paused for model in family):
                continue
            if self._fits(family, standing, "live"):
                live.append(family)
            elif self._fits(family, standing, "next"):
                beside.append(family)
            elif family[0].name not in self._strange:
                self._strange.add(family[0].name)
                _log.warning(
                    "view is not ours to fold: another version of engage has made it anew", view=family[0].name
                )
        return live, beside

    def _fits(self, family: Family, standing: Standing, slot: Any) -> bool:
        for model in family:
            stored = standing.models.get(slotted(model.name, slot))
            if stored is None or not is_of(stored, self._store.table(model, slot)):
                return False
        if len(family) == 1:
            return True
        names = [slotted(model.name, slot) for model in family]
        return all(
            len({standing.positions[name, partition].position for name in names}) == 1
            for partition in range(self._records.partitions)
        )


async def _ends(log: Log) -> dict[int, int]:
    return {partition: await log.end(partition) for partition in range(log.partitions)}
