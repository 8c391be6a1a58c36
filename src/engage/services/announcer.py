"""Tells the log what read models have to say: in order, at least once, and made once by the log's own ids."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
from msgspec import Raw

from engage.events import codec
from engage.events.catalogue import CATALOGUE
from engage.events.envelope import Event
from engage.events.validation import Refusal
from engage.log.contract import Publisher
from engage.services.telling import Telling
from engage.services.turns import LeftBehindError
from engage.store.outbox import Announcement
from engage.store.views import ViewStore

SOURCE = "engage/views"


class AnnouncementRefusedError(LeftBehindError):
    """The log refused what a read model announced: a fault of engage or of its versions. It waits; report it."""


class Announcer:
    """Publishes what waits in ``store``, then lets go of it; see ``Telling``."""

    def __init__(self, store: ViewStore, publisher: Publisher) -> None:
        self._store = store
        self._telling = Telling(publisher, _event, self._let_go, _refused)
        self._partitions: frozenset[int] | None = None

    async def step(self, limit: int, partitions: Collection[int] | None = None) -> int:
        """Publish up to ``limit`` events, of these partitions or all; how many, 0 when none wait.

        AnnouncementRefusedError as long as some are refused: the others are published.
        """
        of = None if partitions is None else frozenset(partitions)
        if of != self._partitions:
            self._partitions = of
            self._telling.anew()
        return await self._telling.step(lambda behind: self._store.announcements(limit, partitions, behind))

    def _let_go(self, told: Sequence[Announcement]) -> None:
        self._store.published([one.number for one in told])


def _refused(first: Announcement, why: Refusal) -> AnnouncementRefusedError:
    return AnnouncementRefusedError(
        f"the log refused {first.type!r} of {first.subject!r}, announced by the view {first.projection!r}: {why}; "
        "it waits, nothing is lost: update engage, then start it"
    )


def _event(one: Announcement) -> Event[Raw]:
    data = msgspec.json.decode(one.data, type=CATALOGUE[one.type].data)
    return codec.new_event(data, id=one.id, source=SOURCE, subject=one.subject, time=one.time, causationid=one.cause)
