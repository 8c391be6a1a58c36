"""Reading one's own write: a reader that holds the token of what it published waits until the views include it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from engage.log.contract import Token
from engage.store.pauses import Paused
from engage.store.views import ViewStore
from engage.views.projection import ReadModel

_LOOK_AGAIN_SECONDS = 0.25
"""How long to wait for word before looking anyway: word may be lost with a connection."""

Place = tuple[str, int]
"""A read model's name and a partition."""

Reached = tuple[dict[Place, int], dict[str, Paused]]
"""See ``ViewReader.reached``."""


class NotYetError(TimeoutError):
    """The views do not include the event yet: ask again with the same token, or read what is there without it.

    ``behind`` is up to where those include everything that do not include it, by name.
    """

    def __init__(self, message: str, behind: dict[str, int]) -> None:
        super().__init__(message)
        self.behind = behind


class BadTokenError(ValueError):
    """What was given is no token of this log: send the ``token`` that publishing answered, as it is."""


class Move(asyncio.Event):
    """Set once views have moved; ``reached`` is then how far those have come that did, None where it was not said."""

    def __init__(self) -> None:
        super().__init__()
        self.reached: Mapping[Place, int] | None = None
        self.next: Move | None = None


class Waiting:
    """Those who wait for views to move on; ``tell`` is called by whoever moved them in this process.

    Other processes that share a PostgreSQL tell through NOTIFY how far views have come, as long as ``listening`` is
    entered; ``heard`` is set while it can be heard. ``waiters`` is how many wait, ``closed`` that nobody is to any
    longer.
    """

    def __init__(self, store: ViewStore, partitions: int) -> None:
        self._store = store
        self._partitions = partitions
        self._moved = Move()
        self._stands: dict[Place, int] = {}
        self.heard = asyncio.Event()
        self.waiters = 0
        self.closed = False
        self._asked: set[str] = set()
        self._last: asyncio.Task[Reached] | None = None
        self._next: asyncio.Task[Reached] | None = None

    def tell(self, reached: Mapping[Place, int] | None = None) -> None:
        """Views have moved: let all who wait look.

        ``reached``, by name and partition, is up to which token those that moved just now include everything: whoever
        waits for nothing else needs not look in the database, which takes a thread and some milliseconds.
        """
        if reached is None:
            self._stands.clear()
        else:
            self._stands.update(reached)
        moved, self._moved = self._moved, Move()
        moved.reached, moved.next = reached, self._moved
        moved.set()

    def moved(self) -> asyncio.Event:
        """Set as soon as views move after this was asked for, or nobody is to wait any longer: look again then."""
        return self._moved

    def close(self) -> None:
        """Let those go home who follow without an end: the process is about to."""
        self.closed = True
        self.tell()

    async def until(self, token: str, models: Sequence[ReadModel[Any]], seconds: float) -> None:
        """Return when each of ``models`` includes what was taken at ``token``.

        NotYetError after ``seconds``, with how far they are, and as soon as it is seen that one that does not is
        paused; BadTokenError for what is no token of this log.
        """
        wanted = self._parsed(token)
        places = [(model.name, wanted.partition) for model in models]
        clock = asyncio.get_running_loop().time
        deadline = clock() + seconds
        # Where the last word left a view behind, the database knows no more. What it told of one that has come as far
        # may be true no longer.
        stands = {place: at for place in places if (at := self._stands.get(place)) is not None and at <= wanted.offset}
        if stands and await self._told(self._moved, stands, places, wanted.offset, seconds):
            return
        while True:
            moved = self._moved
            reached, paused = await self._look(name for name, _ in places)
            behind = {place[0]: reached.get(place, 0) for place in places if reached.get(place, 0) <= wanted.offset}
            if not behind:
                return
            if still := [f"{name} is {paused[name]}" for name in sorted(behind) if name in paused]:
                told = f"the views do not include {token} and are not going to by themselves: {', '.join(still)}"
                raise NotYetError(f"{told}: read what is there without the token, or have them resumed", behind)
            left = deadline - clock()
            if left <= 0:
                told = ", ".join(f"{name} at {reached}" for name, reached in sorted(behind.items()))
                raise NotYetError(
                    f"after {seconds:g} s the views do not include {token} yet (partition {wanted.partition}: {told}): "
                    "ask again with the same token; `engage status` shows how far each view is",
                    behind,
                )
            if await self._told(moved, reached, places, wanted.offset, left):
                return

    async def _told(
        self, moved: Move, reached: Mapping[Place, int], places: Sequence[Place], offset: int, seconds: float
    ) -> bool:
        """Whether words that come within ``seconds`` say that all these include ``offset``; else look again."""
        self.waiters += 1
        try:
            async with asyncio.timeout(min(seconds, _LOOK_AGAIN_SECONDS)):
                while any(reached.get(place, 0) <= offset for place in places):
                    await moved.wait()
                    said, moved = _said(moved)
                    if said is None:
                        return False
                    reached = {**reached, **said}
                return True
        except TimeoutError:
            return False
        finally:
            self.waiters -= 1

    async def _look(self, names: Iterable[str]) -> Reached:
        """How far these are; one look is for all who ask before it begins, or a crowd would look without end."""
        self._asked.update(names)
        if self._next is None:
            self._next = asyncio.create_task(self._look_behind(self._last))
        return await asyncio.shield(self._next)

    async def _look_behind(self, last: asyncio.Task[Reached] | None) -> Reached:
        if last is not None:
            await asyncio.wait([last])
        self._last, self._next = self._next, None  # who asks from here on asks for what comes after it
        asked, self._asked = self._asked, set()
        return await asyncio.to_thread(self._store.reached, asked)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Hear what other processes tell, where the views are in PostgreSQL."""
        if self._store.database.sqlite:
            yield
            return
        from engage.services.hearing import hear  # 10 MB of a driver, for PostgreSQL alone

        ears = asyncio.create_task(hear(self._store.database.url, self.tell, self.heard))
        try:
            yield
        finally:
            ears.cancel()
            await asyncio.gather(ears, return_exceptions=True)

    def _parsed(self, token: str) -> Token:
        partition, _, offset = token.partition(":")
        if not (partition.isdecimal() and offset.isdecimal() and len(partition) < 7 and len(offset) < 16):
            raise BadTokenError(f"{token!r} is no token: send the `token` that publishing answered, as it is")
        if int(partition) >= self._partitions:
            raise BadTokenError(f"{token!r} is no token of this log, which has {self._partitions} partitions")
        return Token(int(partition), int(offset))


def _said(moved: Move) -> tuple[dict[Place, int] | None, Move]:
    """How far views have come since ``moved`` was asked for, and what is set at the next move.

    None where it was not said of one of the moves: views may have been put back.
    """
    said: dict[Place, int] | None = {}
    while moved.next is not None:
        said = None if said is None or moved.reached is None else {**said, **moved.reached}
        moved = moved.next
    return said, moved
