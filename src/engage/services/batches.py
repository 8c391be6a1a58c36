"""Batches of a partition, folded and committed, into the live tables as into those that are built beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from operator import attrgetter
from typing import Any

import structlog
from msgspec import Struct, structs

from engage.events.envelope import Event
from engage.interpreter import uncollected
from engage.log.contract import Log, Record
from engage.rules.mending import WORDS
from engage.services import metrics, tracing
from engage.services.first_dues import FirstDues
from engage.services.loading import Loading
from engage.services.records import AT_ONCE, CorruptRecordError, placed_events
from engage.services.short_way import Found, ShortWay
from engage.services.view_words import word_for
from engage.store.families import Slot, families, slotted
from engage.store.positions import Mark, Marks, Moved, Position, PositionMovedError
from engage.store.reader import Standing
from engage.store.row_cache import RowCache
from engage.store.views import NEVER, Change, UnstorableRowsError, ViewStore
from engage.views.aggregate import Aggregate
from engage.views.folding import Folding
from engage.views.parking import Parked, Stops, parked
from engage.views.passes import Folded
from engage.views.projection import ReadModel

TOGETHER = 200
"""Events of several partitions that are committed at once, at most: a commit costs about what folding thirty does."""

Mend = Callable[[Event[Any], Sequence[ReadModel[Any]], Slot], Awaitable[None]]
"""Does what an operator's word says for one of the read models, which stand right before it in that slot."""

MANY, PORTIONS = 2_000, 9
"""From so many events on, the read models are folded and committed in so many portions: the rows that 8,000 events of
the demo touch take 100 MB (batches of up to 5,000 that went whole took 40 MB more than that in portions), and a row
that is written once for twice as many events costs half."""

VERY_MANY = 9_000
"""From so many events on, no garbage is looked for while they are folded, which takes some 30 MB: the load of the demo,
whose memory is counted, folds fewer at a time."""

_ON_AND_ON = 50_000
"""Records folded the short way from which on it is asked anew where everything stands."""

_kind = attrgetter("type")
_log = structlog.get_logger()


class Reach(Struct, frozen=True):
    """What stands at ``start`` of a partition and is to be folded on, up to before ``until`` (None: the end)."""

    partition: int
    models: Sequence[ReadModel[Any]]
    start: int
    until: int | None = None


class Cut(Struct, frozen=True):
    """What was read of a partition for ``models``: the events from ``start`` up to before ``position``."""

    partition: int
    models: Sequence[ReadModel[Any]]
    start: int
    position: int
    events: list[Event[Any]]


class Batches:
    """Folds ``log`` into the tables of one slot of ``store``, batch by batch, one at a time.

    ``damaged`` has the partitions that it cannot go on with, and why.
    """

    def __init__(
        self,
        log: Log,
        store: ViewStore,
        slot: Slot = "live",
        cache: RowCache | None = None,
        mend: Mend | None = None,
    ) -> None:
        self._records = log
        self._store = store
        self._slot = slot
        self._began = self._tables = 0
        self._foldings: dict[tuple[str, ...], Folding] = {}
        self._cache = RowCache() if cache is None else cache
        self._mend = mend
        self._dues = FirstDues(slot)
        self._absent: Mapping[tuple[str, int], set[str]] = {}
        self.damaged: dict[int, CorruptRecordError] = {}
        self._short = ShortWay(store, self._cache, slot, mends=mend is not None)

    async def advance(self, reaches: Iterable[Reach], limit: int, standing: Standing, *, patient: bool = False) -> int:
        """Fold up to ``limit`` records for each of these; how many in all, 0 when there are none.

        ``standing`` is how everything stood when the reaches were made, and is brought up to what is committed.
        ``patient``: a log that gives fewer at once is asked on, until there are so many, or no more.
        A partition with a record that is no event stops before it, and no other. PositionMovedError if models do not
        stand at their start any more: nothing of theirs was written.
        """
        done, cuts = 0, list[Cut]()
        try:
            for reach in reaches:
                found = await self._next(reach, limit, standing, patient=patient)
                short, found = await self._go_short(found, reach.until, limit, standing, patient=patient)
                if short:
                    done += short
                    self.damaged.pop(reach.partition, None)
                    if not found.records:
                        continue
                try:
                    cut = await self._cut(found, standing)
                except CorruptRecordError as error:
                    self._note(reach.partition, error)
                    continue
                del found
                self.damaged.pop(reach.partition, None)
                done += len(cut.events)
                if sum(len(one.events) for one in cuts) + len(cut.events) > TOGETHER:
                    await self._commit_taken(cuts, standing)
                if cut.events:
                    cuts.append(cut)
                if len(cut.events) > TOGETHER:  # the next one is not to be in memory beside it
                    await self._commit_taken(cuts, standing)
                del cut
        finally:
            await self._committed(cuts, standing)
        return done

    async def _next(self, reach: Reach, limit: int, standing: Standing, *, patient: bool) -> Found:
        partition, models, start = reach.partition, reach.models, reach.start
        records, position = await self._read(partition, start, reach.until, limit, patient=patient)
        while not records and position > start:
            # Offsets without records (Kafka's transaction markers): step over them, 0 is to mean "caught up".
            await self._committed([Cut(partition, models, start, position, [])], standing)
            start = position
            records, position = await self._read(partition, start, reach.until, limit)
        return Found(partition, models, start, position, records)

    async def _go_short(
        self, found: Found, until: int | None, limit: int, standing: Standing, *, patient: bool
    ) -> tuple[int, Found]:
        """How many records were folded the short way, and those that cannot be.

        Who is ``patient`` goes on, and the next ones are read while these are folded: to ask each time where everything
        stands, and then for them, takes an eighth of the time.
        """
        done = 0
        while self._short.suits(found, standing.stopped(found.models, self._slot)):
            start, ahead = found.position, None
            if patient and done + len(found.records) < _ON_AND_ON:
                ahead = asyncio.create_task(self._read(found.partition, start, until, limit, patient=True))
            try:
                if not await asyncio.to_thread(self._commit_short, found, standing):
                    return done, found
                done += len(found.records)
                found = Found(found.partition, found.models, start, start, ())
                if ahead is not None:
                    records, position = await ahead
                    found = structs.replace(found, records=records, position=position)
            except PositionMovedError:
                if not done:
                    raise
                return done, structs.replace(found, records=())  # paused, or taken over, since the one before
            finally:
                if ahead is not None:  # where it is not wanted any more it is over before anybody else reads
                    ahead.cancel()
                    await asyncio.gather(ahead, return_exceptions=True)
        return done, found

    async def _cut(self, found: Found, standing: Standing) -> Cut:
        events, position = self._decoded(found.records, found.position)
        if self._mend is not None and not WORDS.isdisjoint(map(_kind, events)):
            events, position = await self._up_to_words(found.models, events, position, self._mend, standing)
        return Cut(found.partition, found.models, found.start, position, events)

    async def _up_to_words(
        self,
        models: Sequence[ReadModel[Any]],
        events: list[Event[Any]],
        position: int,
        mend: Mend,
        standing: Standing,
    ) -> tuple[list[Event[Any]], int]:
        """The events up to the next word for one of these models; the first of them is done what it says, if it is one.

        Before it is passed, so that a crash in between hears it again.
        """
        names = {model.name for model in models}
        words = [place for place, event in enumerate(events) if word_for(event, names) is not None]
        if words and words[0] == 0:
            await mend(events[0], models, self._slot)
            now = await asyncio.to_thread(self._store.standing)  # what was mended stands otherwise
            standing.marks, standing.stops = now.marks, now.stops
            del words[0]
        return (events[: words[0]], events[words[0]].offset) if words else (events, position)

    async def _commit_taken(self, cuts: list[Cut], standing: Standing) -> None:
        """Commit them, and let them go: whether it succeeds or not, they are not begun again."""
        taken = cuts.copy()
        cuts.clear()
        await self._committed(taken, standing)

    async def _committed(self, cuts: Sequence[Cut], standing: Standing) -> None:
        self._tables = max((len(cut.models) for cut in cuts), default=0)
        # In a thread: a database that lets us wait must not let those wait who publish on this loop.
        with uncollected() if sum(len(cut.events) for cut in cuts) >= VERY_MANY else nullcontext():
            for together in _portions(cuts):
                await asyncio.to_thread(self._commit, together, standing)

    async def read(
        self, partition: int, position: int, until: int | None, limit: int, *, patient: bool = False
    ) -> tuple[list[Event[Any]], int]:
        """Up to ``limit`` events of a partition, and the position behind them; none at ``until`` or behind it.

        ``patient`` as ``advance`` has it. CorruptRecordError where the first one is no event; else those before it.
        """
        records, position = await self._read(partition, position, until, limit, patient=patient)
        return self._decoded(records, position)

    async def _read(
        self, partition: int, position: int, until: int | None, limit: int, *, patient: bool = False
    ) -> tuple[Sequence[Record], int]:
        if until is not None and position >= until:
            return [], position
        batch = await self._records.read(partition, position, limit)
        records, position = batch.records, batch.next_position
        while patient and batch.records and len(records) < limit and (until is None or position < until):
            batch = await self._records.read(partition, position, limit - len(records))
            records, position = [*records, *batch.records], batch.next_position
        if until is not None and position > until:
            records, position = [record for record in records if record.offset < until], until
        return records, position

    def _decoded(self, records: Sequence[Record], position: int) -> tuple[list[Event[Any]], int]:
        """Their events and the position behind them, or those before one that is none, and its position."""
        events: list[Event[Any]] = []
        try:
            for first in range(0, len(records), AT_ONCE):
                events += placed_events(records[first : first + AT_ONCE])
        except CorruptRecordError as error:
            first = len(events)
            events += placed_events([record for record in records[first:] if record.offset < error.offset])
            if not events:
                raise
            return events, error.offset
        return events, position

    def _note(self, partition: int, error: CorruptRecordError) -> None:
        if str(error) != str(self.damaged.get(partition)):
            _log.error("a partition stops, the others go on", partition=partition, detail=str(error))
        self.damaged[partition] = error

    def _commit_short(self, found: Found, standing: Standing) -> bool:
        """Fold and commit them the short way; whether it could be: if not, nothing was done."""
        short = self._short.fold(found, standing.marks)
        if short is None:
            return False
        cut = Cut(found.partition, found.models, found.start, found.position, short.ends)
        try:
            moved = self._store.commit(self._changes(cut, short.folded, standing.marks))
        except UnstorableRowsError:
            self._short.shun(found)
            return False
        self._tables, self._absent = len(found.models), short.absent
        self._settle(cut, short.folded, standing, moved)
        return True

    def _commit(self, cuts: Sequence[Cut], standing: Standing) -> None:
        self._began = tracing.began()
        marks = standing.marks
        with self._store.rows(self._slot) as rows:
            self._dues.look(rows, [(model, cut.partition) for cut in cuts if cut.events for model in cut.models], marks)
            due_keys = partial(self._dues.due_keys, rows)
            taken = [
                self._folding(cut.models).take(
                    cut.events,
                    standing.stopped(cut.models, self._slot),
                    due_keys,
                    rows.keys_of,
                    self._silent_until(cut, standing),
                )
                for cut in cuts
            ]
            loading = Loading(rows, self._cache, marks, self._slot)
            loading.ahead((cut.partition, one.wanted()) for cut, one in zip(cuts, taken, strict=True))
            made = [one.fold(loading.of(cut.partition)) for cut, one in zip(cuts, taken, strict=True)]
            self._absent = loading.absent
        changes = [
            change for cut, folded in zip(cuts, made, strict=True) for change in self._changes(cut, folded, marks)
        ]
        try:
            moved = self._store.commit(changes)
        except (PositionMovedError, UnstorableRowsError) as error:
            if len(cuts) > 1:  # only where it happened it stops, or is looked into
                for cut in cuts:
                    self._commit([cut], standing)
            elif isinstance(error, UnstorableRowsError):
                self._commit_storable(cuts[0], standing, error)
            else:
                raise
            return
        for cut, folded in zip(cuts, made, strict=True):
            self._settle(cut, folded, standing, moved)

    def _commit_storable(self, cut: Cut, standing: Standing, error: UnstorableRowsError) -> None:
        if len(cut.events) > 1:
            # Halve until the one event is found whose row the database refuses; all before it goes in.
            middle = len(cut.events) // 2
            between = cut.events[middle].offset
            self._commit([structs.replace(cut, position=between, events=cut.events[:middle])], standing)
            self._commit([structs.replace(cut, start=between, events=cut.events[middle:])], standing)
            return
        stops = standing.stopped(cut.models, self._slot)
        folded = self._without_unstorable(self._folding(cut.models), cut.events[0], stops, error)
        self._settle(cut, folded, standing, self._store.commit(self._changes(cut, folded, standing.marks)))

    def _settle(
        self, cut: Cut, folded: Sequence[Folded], standing: Standing, moved: Mapping[tuple[str, int], Moved]
    ) -> None:
        """What follows once it is committed: rows are kept, and what stands still is told."""
        for one in folded:
            name = slotted(one.model.name, self._slot)
            place = name, cut.partition
            before = standing.marks[place]
            mark = standing.marks[place] = Mark(cut.position, moved[place].change, before.epoch)
            if not one.model.append_only:
                absent = self._absent.get(place)
                rows = dict.fromkeys(absent) | one.rows if absent else one.rows
                self._cache.keep(name, cut.partition, before, mark, rows, tables=self._tables)
            self._dues.follow(place, one, before, mark)
            for (scope, key), stopped in one.parked.items():
                standing.stops.setdefault(name, Stops()).add(scope, key, stopped.offset)
        if cut.events and self._slot == "live":
            metrics.seen(cut.events[0].now)
            tracing.record("engage project", self._began, cut.events)
        for one in folded:
            for stopped in one.parked.values():
                _tell(one.model.name, stopped)

    def _silent_until(self, cut: Cut, standing: Standing) -> dict[str, int]:
        """Before which offset nobody hears what they announce: of a history most time goes by in silence."""
        if self._slot != "live":
            return dict.fromkeys((model.name for model in cut.models), NEVER)
        return {model.name: standing.announces.get((model.name, cut.partition), NEVER) for model in cut.models}

    def _folding(self, models: Sequence[ReadModel[Any]]) -> Folding:
        names = tuple(model.name for model in models)
        if names not in self._foldings:
            self._foldings[names] = Folding(models)
        return self._foldings[names]

    def _without_unstorable(
        self, folding: Folding, event: Event[Any], stops: dict[str, Stops], error: UnstorableRowsError
    ) -> list[Folded]:
        """The event folded again, with the rows that the database refuses standing still before it."""
        models = {model.name: model for model in folding.models}
        for name, _ in error.failures:
            if isinstance(models[name], Aggregate):  # a sum that does not fit belongs to no one account
                raise error
        for name, key in error.failures:
            stops[name] = Stops(dict(stops[name].rows), dict(stops[name].accounts)) if name in stops else Stops()
            stops[name].add("row", key, event.offset)
        for model in folding.models:
            self._cache.forget(slotted(model.name, self._slot), event.partition)
        with self._store.rows(self._slot) as rows:
            folded = folding.fold([event], rows.load, stops, rows.due_keys, rows.keys_of)
        for one in folded:
            for (name, key), failure in error.failures.items():
                if name == one.model.name:
                    one.skipped.pop(("row", key), None)
                    one.parked["row", key] = parked("row", key, event.partition, event.offset, failure)
        return folded

    def _changes(self, cut: Cut, folded: Sequence[Folded], marks: Marks) -> list[Change]:
        generation = self._records.generation
        inbox = cut.events[-1].inboxoffset if cut.events else None
        changes = []
        for one in folded:
            name = slotted(one.model.name, self._slot)
            old = Position(name, one.model.version, cut.partition, generation, cut.start)
            mark = marks.get((name, cut.partition))  # None: it is gone, as its position will say
            counted = None if mark is None else mark.changes
            fresh = self._absent.get((name, cut.partition), ())
            changes.append(Change(old, cut.position, one, self._slot, inbox, counted=counted, fresh=fresh))
        return changes


def _way(found: Found) -> tuple[int, str]:
    return found.partition, found.models[0].name


def _portions(cuts: Sequence[Cut]) -> list[Sequence[Cut]]:
    """What is folded and committed at once."""
    if len(cuts) != 1 or len(cuts[0].events) < MANY:
        return [cuts] if cuts else []
    cut = cuts[0]
    kept_together = families(cut.models)
    portions = [[model for family in kept_together[first::PORTIONS] for model in family] for first in range(PORTIONS)]
    return [[structs.replace(cut, models=models)] for models in portions if models]


def _tell(view: str, stopped: Parked) -> None:
    _log.error(
        "an event could not be folded: its row stands still, all others go on",
        view=view,
        scope=stopped.scope,
        key=stopped.key,
        partition=stopped.partition,
        offset=stopped.offset,
        error=stopped.error,
    )
