"""Commits one after the other in a thread of its own: the event loop goes on while the disk is waited for.

A commit that fails takes with it all that were begun behind it, for they build on what it would have written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


class AbandonedError(RuntimeError):
    """What this builds on could not be committed, so it was not either: the same may be done again."""


class Committing:
    """The commits that are under way, in the order in which they were begun.

    ``failed`` is called on the event loop when one did not succeed, before anybody who waits for it hears of it.
    """

    def __init__(self, failed: Callable[[], None]) -> None:
        self._thread = ThreadPoolExecutor(1, "engage-commit")
        self._under_way: list[asyncio.Future[None]] = []
        self._broken: Exception | None = None
        self._failed = failed

    def begin(self, commit: Callable[[], None]) -> asyncio.Future[None]:
        """Do ``commit`` behind those before it; the future is done when it is. Shield it, or it may not be done."""
        begun = asyncio.get_running_loop().run_in_executor(self._thread, self._do, commit)
        self._under_way.append(begun)
        begun.add_done_callback(self._end)
        return begun

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
            await asyncio.shield(self.begin(_nothing))

    async def close(self) -> None:
        """Wait for what is under way, and let the thread go."""
        await self.ended()
        self._thread.shutdown()

    def _do(self, commit: Callable[[], None]) -> None:
        if self._broken is not None:
            raise AbandonedError(f"what came before it could not be committed: {self._broken}") from self._broken
        try:
            commit()
        except Exception as error:
            self._broken = error
            raise

    def _end(self, begun: asyncio.Future[None]) -> None:
        self._under_way.remove(begun)
        if begun.cancelled() or begun.exception() is not None:
            self._failed()
        if not self._under_way:
            self._broken = None


def _nothing() -> None:
    """Only to come behind the others."""
