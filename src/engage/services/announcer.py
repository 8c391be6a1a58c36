"""Tells the log what read models have to say: in order, at least once, and made once by the log's own ids."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import msgspec
from msgspec import Raw

from engage.events import codec
from engage.events.catalogue import CATALOGUE
from engage.events.envelope import Event
from engage.log.contract import Publisher
from engage.services.telling import tell
from engage.store.outbox import Announcement
from engage.store.views import ViewStore

SOURCE = "engage/views"


class AnnouncementRefusedError(RuntimeError):
    """The log refused what a read model announced: a fault of engage or of its versions. It waits; report it."""


class Announcer:
    """Publishes what waits in ``store``, then lets go of it: a crash between the two publishes the same ids again."""

    def __init__(self, store: ViewStore, publisher: Publisher) -> None:
        self._store = store
        self._publisher = publisher
        self._refused = 0

    async def step(self, limit: int, partitions: Collection[int] | None = None) -> int:
        """Publish up to ``limit`` events, of these partitions or all; how many, 0 when none wait.

        AnnouncementRefusedError where only such were found that are refused: the next step looks behind them.
        """
        waiting = await asyncio.to_thread(self._store.announcements, limit + self._refused, partitions)
        if not waiting:
            return 0
        told, refused = await tell(self._publisher, waiting, _event)
        self._refused = len(refused)
        if told:
            await asyncio.to_thread(self._store.published, [one.number for one in told])
            return len(told)
        first, why = refused[0]
        raise AnnouncementRefusedError(
            f"the log refused {first.type!r} of {first.subject!r}, announced by the view {first.projection!r}: {why}; "
            "it waits, nothing is lost: update engage, then start it"
        )


def _event(one: Announcement) -> Event[Raw]:
    data = msgspec.json.decode(one.data, type=CATALOGUE[one.type].data)
    return codec.new_event(data, id=one.id, source=SOURCE, subject=one.subject, time=one.time, causationid=one.cause)
