"""Folds read models anew beside what readers see, proves the result, and lets it take its place in one transaction.

Rows and positions of what is being built move together, as those of the live tables do, so a build that was killed goes
on from where it stood when it is asked for again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import structlog
from msgspec import Struct

from engage.events.envelope import Event
from engage.log.contract import Log
from engage.log.partitioning import partition_of
from engage.rules.mending import RETRIED, SKIPPED
from engage.services.account_rebuild import refolded
from engage.services.batches import Batches, Reach
from engage.services.log_search import Sieve, Wanted
from engage.services.prefix import PrefixLog, places_of
from engage.services.verifying import Difference, Progress, Verifier
from engage.services.view_words import passed_over, view_of
from engage.store.families import Family, Slot, family_of, slotted
from engage.store.positions import Position
from engage.store.reader import Standing
from engage.store.views import Change, PositionMovedError, UnstorableRowsError, ViewStore
from engage.views.projection import Projection, ReadModel

BATCH = 16_000
_TAIL = 16
"""Records that are looked at for the last one: on Kafka some offsets hold none."""

_log = structlog.get_logger()


class RebuildError(RuntimeError):
    """What was built beside is not the fold of the log, or cannot take the live one's place: see the message."""


class PausedError(RuntimeError):
    """What was asked for would move a paused read model: resume it, then ask again."""


class Rebuilt(Struct, frozen=True):
    """What a rebuild did: ``records`` folded by this call, whether it ``swapped``, ``differing`` rows readers see."""

    records: int
    swapped: bool
    differing: int = 0


class Rebuilder:
    """Builds families of read models of ``log`` beside the live ones in ``store``."""

    def __init__(self, log: Log, store: ViewStore) -> None:
        self._records = log
        self._store = store
        self._batches = Batches(log, store, "next", mend=self.mend)
        self._live = Batches(log, store)
        self._verifier = Verifier(log, store)

    async def step(self, family: Family, limit: int, partitions: Iterable[int]) -> Rebuilt:
        """Bring what is built beside up to the live one, a batch a partition, and swap as soon as it is there."""
        standing = await asyncio.to_thread(self._store.standing)
        ahead, targets = standing.at(family[0], "next"), _targets(standing, family)
        done = 0
        for partition in partitions:
            done += await self._batches.advance(
                [Reach(partition, family, ahead[partition], targets.get(partition, 0))], limit, standing
            )
        if done:
            return Rebuilt(done, False)
        differing = await asyncio.to_thread(self._store.swap, family)
        if differing is None:  # the live one went on meanwhile, or others still bring their partitions up
            return Rebuilt(0, False)
        _tell_swapped(family, differing)
        return Rebuilt(0, True, differing)

    async def rebuild(
        self,
        family: Family,
        progress: Progress | None,
        *,
        proving: Progress | None,
        sample: int | None,
        stop: asyncio.Event | None,
    ) -> Rebuilt:
        """Build the family beside, verify it (about ``sample`` rows of each table, or all) and swap.

        ``progress`` hears of what is folded into the tables, ``proving`` of what is folded once more to verify it.

        Ends without a swap when ``stop`` is set; called again, it goes on from there, also in another process and after
        a crash. RebuildError if what was built is not the fold of the log. PausedError if it is paused, or has been
        meanwhile: what was built by then is kept.
        """
        generation, partitions = self._records.generation, self._records.partitions
        await asyncio.to_thread(self._store.build_beside, family, generation, partitions)
        began, folded, verified = time.monotonic(), 0, False
        while stop is None or not stop.is_set():
            standing = await asyncio.to_thread(self._store.standing)
            _refuse_paused(family, standing)
            ahead, targets = standing.at(family[0], "next"), _targets(standing, family)
            done = 0
            for partition, position in ahead.items():
                until = targets.get(partition, 0)
                try:
                    reach = Reach(partition, family, position, until)
                    done += await self._batches.advance([reach], BATCH, standing, patient=True)
                except PositionMovedError:  # another process builds it too: go on from where it is
                    done += 1
            folded += done
            if done:
                if progress is not None:
                    at = (await asyncio.to_thread(self._store.standing)).at(family[0], "next")
                    reached = sum(min(at[each], targets.get(each, 0)) for each in at)
                    progress(reached, sum(targets.values()), folded / max(1e-9, time.monotonic() - began))
            elif not verified:
                await self._prove(family, sample, proving)
                verified = True
            elif (differing := await asyncio.to_thread(self._store.swap, family)) is not None:
                _tell_swapped(family, differing)
                return Rebuilt(folded, True, differing)
        return Rebuilt(folded, False)

    async def rebuild_account(
        self, family: Family, account: str, *, slot: Slot = "live", passed: Collection[int] = ()
    ) -> int:
        """Fold what one account has done anew, and write its rows over those that are there; how many.

        Also what stood still of it is folded again, but for what operators said is to be passed over, on the log or at
        the offsets ``passed``. The aggregates of the rows are corrected by what the rows say. PausedError if the family
        is paused.
        """
        partition = partition_of(account, self._records.partitions)
        while True:
            standing = await asyncio.to_thread(self._store.standing)
            _refuse_paused(family, standing)
            until = standing.at(family[0], slot)[partition]
            last = await self._last_before(partition, until)
            if last is None:
                return 0
            events = await self._events_of(account, partition, until)
            beyond = passed_over(events, family[0].name).union(passed)
            changes = await asyncio.to_thread(
                refolded, self._store, family, account, events, last, slot=slot, passed=beyond
            )
            generation = self._records.generation
            moves = [
                Change(
                    Position(
                        slotted(one.folded.model.name, slot), one.folded.model.version, partition, generation, until
                    ),
                    until,
                    one.folded,
                    slot,
                    released=one.released,
                )
                for one in changes
            ]
            try:
                await asyncio.to_thread(self._store.commit, moves)
            except PositionMovedError:
                continue  # what came meanwhile belongs to it too
            return len(changes[0].folded.rows)

    async def mend(self, word: Event[Any], models: Sequence[ReadModel[Any]], slot: Slot) -> None:
        """Do what an operator's ``word`` says for one of ``models``, which stand right before it.

        What fails again stays parked as it fails now. Done once more, it comes to the same.
        """
        name = view_of(word.data.consumer)
        family = family_of(next(model for model in models if model.name == name), models)
        if not isinstance(family[0], Projection):
            return
        stopped = (await asyncio.to_thread(self._store.standing)).stopped(family, slot)
        if word.type == RETRIED and not stopped:
            return
        passed = (word.data.offset,) if word.type == SKIPPED else ()
        try:
            await self.rebuild_account(family, word.subject, slot=slot, passed=passed)
        except UnstorableRowsError as error:
            _log.error("a row cannot be mended, it stands still", view=name, account=word.subject, error=str(error))

    async def _events_of(self, account: str, partition: int, until: int) -> list[Event[Any]]:
        """All events of an account before ``until``; the timeline finds them, as far as it is here and whole."""
        places = await asyncio.to_thread(places_of, self._store, account, partition, until)
        sieve = Sieve(Wanted(account=account))
        theirs = Batches(PrefixLog(self._records, {partition: until}, sieve=sieve, places=places), self._store)
        events: list[Event[Any]] = []
        position = 0
        while True:
            found, position = await theirs.read(partition, position, None, BATCH)
            if not found:
                return events
            events += found

    async def _last_before(self, partition: int, until: int) -> Event[Any] | None:
        """The last record before ``until``; None if there is none."""
        length = _TAIL
        while until > 0:
            start = max(0, until - length)
            found, position = await self._live.read(partition, start, until, length)
            while position < until and (more := await self._live.read(partition, position, until, length))[0]:
                found, position = more
            if found or start == 0:
                return found[-1] if found else None
            length *= 8
        return None

    async def _prove(self, family: Family, sample: int | None, proving: Progress | None) -> None:
        for model in family:
            found: Difference | None = await self._verifier.verify(model, "next", sample=sample, progress=proving)
            if found is not None:
                await asyncio.to_thread(self._store.give_up_beside, family)
                raise RebuildError(
                    f"{slotted(model.name, 'next')} is not the fold of the log: row {found.key!r}, column "
                    f"{found.column!r} is {found.stored!r}, folded {found.folded!r}. Its fold gives another result "
                    "each time, or the table was written to by others: the live view stays, what was built is dropped"
                )


def _targets(standing: Standing, family: Family) -> dict[int, int]:
    """How far the live tables of the family have come: what takes their place must stand there exactly."""
    targets: dict[int, int] = {}
    for model in family:
        for partition, position in standing.at(model).items():
            targets[partition] = max(targets.get(partition, 0), position)
    return targets


def _refuse_paused(family: Family, standing: Standing) -> None:
    for model in family:
        if (paused := standing.paused.get(model.name)) is not None:
            raise PausedError(
                f"{model.name!r} is {paused}, so nothing of it moves: let it go on by `engage projections resume "
                f"{model.name}`, then ask for the same again, it goes on from where it was"
            )


def _tell_swapped(family: Family, differing: int) -> None:
    names = [model.name for model in family]
    _log.info("what was folded again takes its place", views=names, differing_rows=differing)
