"""How the read models stand: versions, positions, lag, what stands still, what is built beside and who paused what."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from engage.log.contract import Log
from engage.store.families import slotted
from engage.store.pauses import Paused
from engage.store.reader import Standing
from engage.store.views import ViewStore
from engage.views.projection import ReadModel


class Beside(Struct, frozen=True):
    """What is being built: it is at ``position``, and takes the live one's place where that is (``of``)."""

    position: int
    of: int


class ProjectionStatus(Struct, frozen=True):
    """A read model: ``version`` is null while it is not there, ``previous`` whether a rollback has something.

    ``behind`` counts log records, ``parked`` keys that stand still.
    """

    name: str
    version: int | None
    positions: list[int]
    behind: int
    rows: int
    parked: int
    beside: Beside | None
    previous: bool
    paused: Paused | None


async def read_projections(
    log: Log, store: ViewStore | None, models: Sequence[ReadModel[Any]]
) -> list[ProjectionStatus]:
    """How ``models`` stand as of now; a store that is None was not made yet."""
    ends = [await log.end(partition) for partition in range(log.partitions)]
    return await asyncio.to_thread(_read, ends, store, models)


def _read(ends: Sequence[int], store: ViewStore | None, models: Sequence[ReadModel[Any]]) -> list[ProjectionStatus]:
    standing = store.standing() if store else Standing({})
    found = []
    for model in models:
        stored, at = standing.models.get(model.name), standing.at(model)
        positions = [at.get(partition, 0) for partition in range(len(ends))]
        ahead = standing.at(model, "next")
        found.append(
            ProjectionStatus(
                name=model.name,
                version=stored.version if stored else None,
                positions=positions,
                behind=sum(max(0, end - position) for end, position in zip(ends, positions, strict=True)),
                rows=store.count(model) if store is not None and stored is not None else 0,
                parked=len(store.parked(model)) if store is not None else 0,
                beside=Beside(sum(ahead.values()), sum(positions)) if ahead else None,
                previous=slotted(model.name, "previous") in standing.models,
                paused=standing.paused.get(model.name),
            )
        )
    return found
