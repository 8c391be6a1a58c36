"""Commits one after the other in a thread of its own: the event loop goes on while the disk is waited for.

What is begun while one is under way is committed together behind it, for the disk takes as long for much as for little.
A commit that fails takes with it all that were begun behind it, for they build on what it would have written.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar

Writes = TypeVar("Writes")
Result = TypeVar("Result")


class AbandonedError(RuntimeError):
    """What this builds on could not be committed, so it was not either: the same may be done again."""


class Committing(Generic[Writes]):
    """The commits that are under way, in the order in which they were begun.

    ``commit`` does all that it is given in one transaction, in order, or nothing of it. ``failed`` is called on the
    event loop when something could not be committed, before anybody who waits for it hears of it.
    """

    def __init__(self, commit: Callable[[Sequence[Writes]], None], failed: Callable[[], None]) -> None:
        self._commit = commit
        self._failed = failed
        self._thread = ThreadPoolExecutor(1, "engage-commit")
        self._waiting: deque[tuple[Writes, asyncio.Future[None]]] = deque()
        self._under_way: list[asyncio.Future[None]] = []
        self._broken: Exception | None = None

    def begin(self, writes: Writes) -> asyncio.Future[None]:
        """Commit ``writes`` behind those before them; the future is done when they are. Shield it: others wait too."""
        loop = asyncio.get_running_loop()
        begun: asyncio.Future[None] = loop.create_future()
        self._under_way.append(begun)
        begun.add_done_callback(self._end)
        self._waiting.append((writes, begun))
        self._thread.submit(self._commit_waiting, loop)
        return begun

    async def behind(self, work: Callable[[], Result]) -> Result:
        """Do ``work`` where commits are done, behind those that were begun, also when nobody waits for it any more."""
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))

    async def sound(self) -> None:
        """Return when nothing is known to have failed of what is under way: what comes next may build on it."""
        while self._broken is not None:
            await self.ended()

    async def ended(self) -> None:
        """Return when nothing is under way, whatever came of it."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def committed(self) -> None:
        """Return when what was begun before this is committed; AbandonedError if it is not going to be."""
        if self._under_way:
            last = self._under_way[-1]
            await asyncio.wait([last])
            if error := last.exception():
                raise _abandoned(error)

    async def close(self) -> None:
        """Wait for what is under way, and let the thread go."""
        await self.ended()
        self._thread.shutdown()

    def _commit_waiting(self, loop: asyncio.AbstractEventLoop) -> None:
        """All that waits by now; nothing if it went with what was begun before it. In the thread, as what it calls."""
        taken: list[tuple[Writes, asyncio.Future[None]]] = []
        while self._waiting:
            taken.append(self._waiting.popleft())
        if taken:
            errors = self._together([writes for writes, _ in taken])
            loop.call_soon_threadsafe(_tell, [begun for _, begun in taken], errors)

    def _together(self, taken: Sequence[Writes]) -> list[Exception | None]:
        if len(taken) > 1 and self._broken is None:
            with suppress(Exception):  # each alone, it is said of the one that fails
                self._commit(taken)
                return [None] * len(taken)
        return [self._alone(one) for one in taken]

    def _alone(self, writes: Writes) -> Exception | None:
        if self._broken is not None:
            return _abandoned(self._broken)
        try:
            self._commit([writes])
        except Exception as error:
            self._broken = error
            return error
        return None

    def _end(self, begun: asyncio.Future[None]) -> None:
        self._under_way.remove(begun)
        if begun.cancelled() or begun.exception() is not None:
            self._failed()
        if not self._under_way:
            self._broken = None


def _tell(begun: Sequence[asyncio.Future[None]], errors: Sequence[Exception | None]) -> None:
    for one, error in zip(begun, errors, strict=True):
        if one.done():
            continue
        if error is None:
            one.set_result(None)
        else:
            one.set_exception(error)


def _abandoned(why: BaseException) -> AbandonedError:
    error = AbandonedError(f"what came before it could not be committed: {why}")
    error.__cause__ = why
    return error
