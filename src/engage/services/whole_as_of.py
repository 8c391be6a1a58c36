"""Whole read models as they stood at a moment: begun at the nearest snapshot, and kept for whoever asks again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from typing import Any

from engage.events.linking import BEGINS_ANEW
from engage.log.contract import Log
from engage.log.sqlite import SqliteLog
from engage.services.as_of import AheadError, Progress, fold_into
from engage.services.prefix import INSTANT, PrefixLog, ends_at
from engage.services.snapshots import Snapshot, Snapshots, kind_of
from engage.store.views import ViewMissingError, ViewStore
from engage.views.projection import ReadModel

EVERY = 50_000
"""Records of the log from one snapshot to the next: to fold as many takes a second or two."""
_WORTH = 10
"""A snapshot is kept at the end, too, if the one before it is more than this part of ``EVERY`` behind."""


@asynccontextmanager
async def whole_as_of(
    log: Log,
    model: ReadModel[Any],
    moment: datetime,
    now: datetime,
    snapshots: Snapshots,
    progress: Progress | None = None,
) -> AsyncIterator[ViewStore]:
    """A store with all of ``model`` as ``as_of`` has it; AheadError for a moment behind ``now``."""
    if moment > now:
        raise AheadError(moment)
    ends = await ends_at(log, moment)
    found = snapshots.at(kind_of(log, model), ends, moment)
    if found is None:
        found = await fold_whole(log, model, ends, moment, snapshots, progress=progress)
    with snapshots.opened(found) as store:
        yield store


async def fold_whole(
    log: Log,
    model: ReadModel[Any],
    ends: Mapping[int, int],
    moment: datetime | None,
    snapshots: Snapshots,
    *,
    every: int = EVERY,
    progress: Progress | None = None,
) -> Snapshot:
    """The snapshot of ``model`` at ``ends``, with the time passed until ``moment`` if there is one.

    Others are left on the way, about ``every`` so many records, where later folds begin.
    """
    kind, began, erased = kind_of(log, model), datetime.now(UTC), snapshots.erased()
    begun = snapshots.before(kind, ends)
    with snapshots.workplace() as folder:
        path, stands = folder / "views.db", dict.fromkeys(ends, 0)
        if begun is not None and await asyncio.to_thread(snapshots.copy, begun, path):
            stands = begun.positions
        start, whole = sum(stands.values()), sum(ends.values())

        async def fold(part: PrefixLog) -> None:
            before = sum(stands.values()) - start

            def told(done: int, _: int) -> None:
                if progress is not None:
                    progress(min(before + done, whole - start), whole - start)  # what tells the time is no record

            with closing(ViewStore(f"sqlite:///{path}")) as store:
                await fold_into(store, part, [model], told)

        async def kept(positions: Mapping[int, int], until: datetime | None = None) -> Snapshot:
            about = {"kind": kind, "made": began, "erased": erased, "positions": dict(positions), "moment": until}
            return await asyncio.to_thread(snapshots.keep, path, model, about)

        found = begun
        for leg in [*await _legs(log, stands, ends, every), dict(ends)]:
            await fold(PrefixLog(log, leg))
            if moment is None or sum(leg.values()) - sum(stands.values()) > every // _WORTH:
                found = await kept(leg)
            stands = leg
        if moment is not None:
            await fold(PrefixLog(log, ends, moment=moment))
            return await kept(ends, moment)
        assert found is not None, "the last leg is kept"
        return found


async def _legs(log: Log, stands: Mapping[int, int], ends: Mapping[int, int], every: int) -> list[dict[int, int]]:
    """Where to leave snapshots between the two: how far the log reached at some moments.

    Positions that were never the log's at one moment would be passed by hardly any prefix of it.
    """
    longest = max(ends, key=lambda partition: ends[partition] - stands.get(partition, 0))
    first, last = stands.get(longest, 0), ends[longest]
    parts = (sum(ends.values()) - sum(stands.values())) // every + 1
    legs: list[dict[int, int]] = []
    for part in range(1, parts):
        records = (await log.read(longest, first + (last - first) * part // parts, 1)).records
        if records:
            reached = await ends_at(log, records[0].recorded)
            leg = {one: min(max(reached[one], stands.get(one, 0)), ends[one]) for one in ends}
            if not legs or leg != legs[-1]:
                legs.append(leg)
    return legs


def ever_linked(log: Log) -> bool:
    """Whether it may have been said that an account is linked to another; only the embedded log knows that of none."""
    return not isinstance(log, SqliteLog) or bool(log.links())


def stands_live(
    store: ViewStore | None, model: ReadModel[Any], ends: Mapping[int, int], moment: datetime, *, linked: bool
) -> bool:
    """Whether the live rows of ``model`` recorded by ``moment``, when the log ended at ``ends``, are all there were.

    None ever changes, but those of an account are given up when it is linked to another, or parted from one: all rows
    are looked through for that, which takes a while, unless nobody was ever ``linked``.
    """
    if store is None or not model.append_only or not {"recorded", "type"} <= set(model.row.__struct_fields__):
        return False
    try:
        stands = store.standing().at(model)
        if store.parked(model) or any(stands.get(one, 0) < end for one, end in ends.items()):
            return False
        if not linked:
            return True
        anew = tuple(BEGINS_ANEW)
        known = store.tally(model, "type", anew)
        return not known or known == store.tally(model, "type", anew, below=("recorded", moment + INSTANT))
    except ViewMissingError:
        return False
