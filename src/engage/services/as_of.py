"""Read models as they stood at a moment of the past, or folded from a part of the log, in a store of their own.

Nothing is appended, sent or announced: what a store of its own has to announce, nobody publishes.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from engage.log.contract import Log
from engage.services.log_search import Wanted
from engage.services.prefix import PrefixLog
from engage.services.projector import Projector
from engage.services.verifying import needed
from engage.store.views import NEVER, ViewStore
from engage.views.aggregate import Aggregate
from engage.views.projection import ReadModel

Progress = Callable[[int, int], None]
"""Gets the records folded so far and how many positions there are to pass, of which some may hold no record."""


class AheadError(ValueError):
    """The moment lies ahead: what will have happened by then is not on the log."""

    def __init__(self, moment: datetime) -> None:
        super().__init__(f"{moment.isoformat()} lies ahead: ask for a moment that is past")


class SumsError(ValueError):
    """A read model across accounts was asked for one account: ask for all of it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} adds up what all accounts did: ask for it without an account")


@asynccontextmanager
async def as_of(
    log: Log,
    models: Sequence[ReadModel[Any]],
    moment: datetime,
    now: datetime,
    *,
    account: str | None = None,
    store: ViewStore | None = None,
    progress: Progress | None = None,
) -> AsyncIterator[ViewStore]:
    """A store with ``models`` as they stood at ``moment``: all records recorded by then, and what had come due.

    With ``account`` only its rows, folded from its records alone; the live ``store`` helps to find them.
    AheadError for a moment behind ``now``, SumsError for a read model that no single account makes.
    """
    if moment > now:
        raise AheadError(moment)
    if account is not None and (sums := [model.name for model in models if isinstance(model, Aggregate)]):
        raise SumsError(sums[0])
    prefix = await PrefixLog.at(log, moment, account, store)
    with tempfile.TemporaryDirectory(prefix="engage-as-of-") as folder:
        made = ViewStore(f"sqlite:///{Path(folder) / 'views.db'}")
        try:
            await fold_into(made, prefix, models, progress)
            yield made
        finally:
            made.close()


async def replay(
    log: Log, store: ViewStore, models: Sequence[ReadModel[Any]], wanted: Wanted, progress: Progress | None = None
) -> int:
    """Fold what is ``wanted`` of the log into ``models`` in ``store``, a store beside the live one; records folded.

    Called again for the same store it goes on from where it was interrupted. GenerationError if the store holds a fold
    of another log, or of another part of it.
    """
    return await fold_into(store, await PrefixLog.part(log, wanted), models, progress)


async def fold_into(
    store: ViewStore, log: PrefixLog, models: Sequence[ReadModel[Any]], progress: Progress | None = None
) -> int:
    """Fold ``log`` to its end into ``models``, and what they are made of, in ``store``; the number of records."""
    every = dict.fromkeys(one for model in models for one in needed(model))
    projector = await Projector.opened(log, store, list(every))
    store.announce_from(dict.fromkeys(range(log.partitions), NEVER))  # nobody publishes it from here
    whole = sum([await log.end(partition) for partition in range(log.partitions)])

    def told(done: int) -> None:
        if progress is not None:
            progress(done, whole)

    return await projector.catch_up(told)
