"""Takes what is known of an account to where it belongs, once the log says that identities were linked or parted.

What is in effect of its stream is told once more where it belongs by now, piece by piece: each piece and how far it has
come are one transaction, so whoever takes up after a crash goes on behind it. The log alone says what is to be moved.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from msgspec import Raw, Struct

from engage.events.envelope import Event
from engage.events.linking import BEGINS_ANEW, follows
from engage.log.sqlite import SqliteLog
from engage.services.embedded import EmbeddedLog
from engage.services.log_search import Sieve, Wanted
from engage.services.prefix import places_of
from engage.services.records import read_event
from engage.store.views import ViewStore

PIECE = 500
"""Records of one transaction, for which whoever publishes waits."""
_PAGE = 4_000


class Move(Struct):
    """What of the stream of ``begun``'s subject is still to be told once more: the records at ``offsets``."""

    begun: Event[Any]
    offsets: list[int]


class Mover:
    """Moves what ``log`` says is to be moved, by ``embedded``; the timeline in ``store`` helps to find it."""

    def __init__(self, log: SqliteLog, embedded: EmbeddedLog, store: ViewStore | None = None) -> None:
        self._log = log
        self._embedded = embedded
        self._store = store
        self._move: Move | None = None
        self._turn = asyncio.Lock()

    async def step(self, limit: int = PIECE) -> int:
        """Tell up to ``limit`` records once more; how many, 0 when there was nothing to move."""
        async with self._turn:
            if (next_move := self._log.next_move()) is None:
                return 0
            partition, offset, moved = next_move
            move, self._move = self._move, None  # whatever fails, it is looked up again
            if move is None or (move.begun.partition, move.begun.offset) != (partition, offset):
                move = await self._found(await self._at(partition, offset), moved)
            piece, move.offsets = move.offsets[:limit], move.offsets[limit:]
            events = [event for one in piece if follows(event := await self._at(partition, one))]
            await self._embedded.retell(events, (partition, offset), piece[-1] + 1 if move.offsets else None)
            if move.offsets:
                self._move = move
            return max(1, len(piece))

    async def settle(self) -> None:
        """Work until nothing is left to move."""
        while await self.step():
            pass

    async def _found(self, begun: Event[Any], moved: int) -> Move:
        """What was in effect of the subject when the record came, but for what lies before ``moved``."""
        offsets: list[int] = []
        async for event in self._stream(begun.subject, begun.partition, begun.offset):
            if event.type in BEGINS_ANEW:
                offsets.clear()
            elif event.linkedto is None:
                offsets.append(event.offset)
        return Move(begun, [offset for offset in offsets if offset >= moved])

    async def _stream(self, account: str, partition: int, end: int) -> AsyncIterator[Event[Any]]:
        """The account's records before ``end``, in order."""
        position = 0
        places = None
        if self._store is not None:
            places = await asyncio.to_thread(places_of, self._store, account, partition, end)
        if places is not None:
            position = places.until
            for offset in places.offsets:
                yield await self._at(partition, offset)
        sieve = Sieve(Wanted(account=account))
        while position < end:
            batch = await self._log.read(partition, position, min(_PAGE, end - position))
            for record in batch.records:
                if (event := sieve.event(record)) is not None:
                    yield event
            position = batch.next_position
            await asyncio.sleep(0)  # a long log lets others have their turn

    async def _at(self, partition: int, offset: int) -> Event[Raw]:
        batch = await self._log.read(partition, offset, 1)
        return read_event(batch.records[0])
