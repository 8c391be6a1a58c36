"""Lets read models tell the log how their rows stand when they come live, where their past was folded in silence.

Without it, who folds what they announce would know an account only from its next crossing on. It is said once a table:
at the very record from which on crossings are announced, or, where that is past when the table comes live (another
version takes its place), as soon as it has caught up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from engage.log.contract import Log
from engage.store.reader import Standing
from engage.store.views import ViewStore
from engage.views.projection import Projection, ReadModel
from engage.views.standing import standings


class Standings:
    """What is still to be said of the live tables in ``store``."""

    def __init__(self, log: Log, store: ViewStore) -> None:
        self._records = log
        self._store = store
        self._said: set[tuple[str, int, int]] = set()

    async def until(
        self, models: Sequence[ReadModel[Any]], partition: int, start: int, until: int | None, standing: Standing
    ) -> int | None:
        """Say what these have to say at ``start``, where they stand; up to where they may be folded before the next."""
        for model in models:
            if not isinstance(model, Projection) or model.standing is None:
                continue
            table = (model.name, partition, standing.models[model.name].build)
            if table in self._said:
                continue
            first = await asyncio.to_thread(self._store.silent_until, model, partition)
            if first is not None and start < first:
                until = first if until is None else min(until, first)
            elif first is None or await self._say(model, partition, start, first):
                self._said.add(table)
        return until

    async def _say(self, model: Projection[Any], partition: int, start: int, first: int) -> bool:
        if start > first and await self._records.end(partition) != start:
            return False  # what it has announced itself may be on the log and not be folded yet
        return await asyncio.to_thread(
            self._store.tell_standing, model, partition, start, lambda rows: standings(model, rows, partition, start)
        )
