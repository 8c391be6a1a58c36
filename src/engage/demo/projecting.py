"""Folds the read models beside a load, in a process of its own: the load has one core, this has the other.

Positions move by compare-and-swap, so it may be killed, and may overlap with the one that folds after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from engage import bootstrap
from engage.log.sqlite import SqliteLog
from engage.services.projector import Projector
from engage.store.views import PositionMovedError

_LOOK_AGAIN_SECONDS = 0.5


@contextlib.asynccontextmanager
async def projecting(home: Path) -> AsyncIterator[None]:
    """While the block runs, another process folds the log of ``home``; it ends with the block, or with this process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, str(home), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield
    finally:
        # The end of its standard input is the word to end, also when this process is killed.
        assert process.stdin is not None, "it was asked for"
        process.stdin.close()
        await process.wait()


async def _fold(home: str) -> None:
    settings = bootstrap.settings({"ENGAGE_HOME": home})
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.buffer.read))
    log = SqliteLog(bootstrap.log_path(settings), read_only=True)
    store = bootstrap.view_store(settings)
    projector = Projector(log, store, bootstrap.read_models(settings))
    while not ended.done():
        try:
            done = await projector.step()
        except PositionMovedError:
            continue
        if not done:
            await asyncio.wait([ended], timeout=_LOOK_AGAIN_SECONDS)
    store.close()
    log.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_fold(sys.argv[1]))
