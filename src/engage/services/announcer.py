"""Tells the log what read models have to say: in order, at least once, and made once by the log's own ids."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import msgspec
from msgspec import Raw

from engage.events import codec
from engage.events.catalogue import CATALOGUE
from engage.events.envelope import Event
from engage.events.validation import Refusal
from engage.log.contract import Publisher
from engage.store.outbox import Announcement
from engage.store.views import ViewStore

SOURCE = "engage/views"


class AnnouncementRefusedError(RuntimeError):
    """The log refused what a read model announced: a fault of engage or of its versions. It stops there; report it."""


class Announcer:
    """Publishes what waits in ``store``, then lets go of it: a crash between the two publishes the same ids again."""

    def __init__(self, store: ViewStore, publisher: Publisher) -> None:
        self._store = store
        self._publisher = publisher

    async def step(self, limit: int, partitions: Collection[int] | None = None) -> int:
        """Publish up to ``limit`` events, of these partitions or all; how many, 0 when none wait.

        AnnouncementRefusedError at one that is refused.
        """
        waiting = await asyncio.to_thread(self._store.announcements, limit, partitions)
        if not waiting:
            return 0
        answers = await self._publisher.publish([_event(one) for one in waiting])
        refused = [place for place, answer in enumerate(answers) if isinstance(answer, Refusal)]
        done = waiting[: refused[0]] if refused else waiting
        await asyncio.to_thread(self._store.published, [one.number for one in done])
        if refused:
            stopped = waiting[refused[0]]
            raise AnnouncementRefusedError(
                f"the log refused {stopped.type!r} of {stopped.subject!r}, announced by the view "
                f"{stopped.projection!r}: {answers[refused[0]]}; the announcements stopped there, nothing is lost: "
                "update engage, then start it"
            )
        return len(done)


def _event(one: Announcement) -> Event[Raw]:
    data = msgspec.json.decode(one.data, type=CATALOGUE[one.type].data)
    return codec.new_event(data, id=one.id, source=SOURCE, subject=one.subject, time=one.time, causationid=one.cause)
