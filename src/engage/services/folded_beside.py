"""Looks after the process that folds the read models beside this one: starts it, tells it of news, starts it again."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence

import structlog
from msgspec import MsgspecError

from engage.services.folding import GROWN, Told, read
from engage.services.turns import IDLE_SECONDS, MOST_PATIENCE

_END_SECONDS = 10.0
"""How long it may take to end its turn, before it is killed: nothing of the turn has happened then."""
_SILENT_SECONDS = 120.0
"""One that says nothing for so long hangs and is killed: it speaks after each turn, and in a long one while busy."""
_MOST_SILENT = 3_600.0
"""Those after it are given twice as long each time, up to this: a database may be at work for it that long."""

_logger = structlog.get_logger(__name__)


class FoldedBeside:
    """Runs ``command``, a process that listens as ``Folding`` does; ``pid`` is its number as long as it lives."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: Process | None = None
        self._asked = self._grown = False
        self._silent = _SILENT_SECONDS

    @property
    def pid(self) -> int | None:
        """The number of the process, None while there is none."""
        return None if self._process is None else self._process.pid

    def grown(self) -> None:
        """The log has grown: it is told so once, until it answers."""
        stdin = None if self._process is None else self._process.stdin
        if stdin is None or stdin.is_closing() or self._asked:
            self._grown = True
            return
        self._asked, self._grown = True, False
        stdin.write(GROWN)

    async def run(self, stop: asyncio.Event, tell: Callable[[Told], None]) -> None:
        """Keep it running until ``stop`` is set; ``tell`` hears what it says, and if it is not there."""
        patience = IDLE_SECONDS
        while not stop.is_set():
            heard = 0
            try:
                process = self._process = await asyncio.create_subprocess_exec(*self._command, stdin=PIPE, stdout=PIPE)
                _logger.info("a process folds the read models", pid=process.pid)
                heard = await self._until(stop, process, tell)
                ended = f"ended with {await self._end(process)}"
            except OSError as error:
                ended = f"cannot be started: {error}"
            finally:
                self._process, self._asked = None, False
            if not stop.is_set():
                _logger.error("the process that folds the read models is gone: it is started again", why=ended)
                tell(Told(trouble=f"the process that folds the read models {ended}"))
                patience = IDLE_SECONDS if heard else min(2 * patience, MOST_PATIENCE)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        await stop.wait()

    async def _until(self, stop: asyncio.Event, process: Process, tell: Callable[[Told], None]) -> int:
        """Hear what it says until it ends or is to; how often it said something."""
        hearing = asyncio.create_task(self._hear(process, tell))
        ending = asyncio.create_task(stop.wait())
        await asyncio.wait([hearing, ending], return_when=asyncio.FIRST_COMPLETED)
        for task in (hearing, ending):
            task.cancel()
        heard, _ = await asyncio.gather(hearing, ending, return_exceptions=True)
        if isinstance(heard, Exception):
            raise heard
        return heard if isinstance(heard, int) else 0

    async def _hear(self, process: Process, tell: Callable[[Told], None]) -> int:
        assert process.stdout is not None, "it was asked for"
        heard = 0
        while (told := await self._next(process, process.stdout)) is not None:
            heard += 1
            self._asked = False
            if self._grown:
                self.grown()
            tell(told)
        return heard

    async def _next(self, process: Process, stdout: asyncio.StreamReader) -> Told | None:
        """What it says next; None at the end, which is made of it where it hangs."""
        try:
            async with asyncio.timeout(self._silent):
                return await _said(process, stdout)
        except TimeoutError:
            _logger.error("the process that folds the read models hangs, it is killed", silent_seconds=self._silent)
            self._silent = min(2 * self._silent, _MOST_SILENT)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            return None

    async def _end(self, process: Process) -> int:
        """Let it end its turn, or kill it; its exit code."""
        assert process.stdin is not None, "it was asked for"
        process.stdin.close()
        with contextlib.suppress(ConnectionError):
            await process.stdin.wait_closed()
        try:
            async with asyncio.timeout(_END_SECONDS):
                return await process.wait()
        except TimeoutError:
            process.kill()
            return await process.wait()


async def _said(process: Process, stdout: asyncio.StreamReader) -> Told | None:
    """What it says next; None at the end, and where it cannot be read: who was killed may have said half of it."""
    try:
        line = await stdout.readline()
        return read(line) if line else None
    except (ValueError, MsgspecError) as error:
        _logger.error("what the process that folds the read models says cannot be read", why=str(error))
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        while await stdout.read(2**16):  # only when all is heard it counts as ended
            continue
        return None
