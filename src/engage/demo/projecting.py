"""Folds the read models beside a load, in a process of its own: the load has one core, this has the other.

Once all is loaded the two share the partitions that are left to fold.

Positions move by compare-and-swap, so it may be killed, and may overlap with the one that folds after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path

import msgspec

from engage import bootstrap
from engage.interpreter import tune
from engage.log.sqlite import SqliteLog
from engage.services.projector import Projector
from engage.store.row_cache import RowCache
from engage.store.views import PositionMovedError

_LOOK_AGAIN_SECONDS = 0.5
_ROWS_KEPT = 8_000
"""Fewer than a live log wants: most batches of a history meet other rows, and these are held for nothing."""
HISTORY_BATCH = 6_000
"""Records of one transaction: a batch of history meets most accounts, so longer ones write each row less often (24,000
took a fifth less of processor time), and hold more in memory (130 MB more)."""


Share = Callable[[Collection[int]], Awaitable[None]]
"""Leaves these partitions to the other process; the rest is ours from then on."""


@contextlib.asynccontextmanager
async def projecting(home: Path) -> AsyncIterator[Share]:
    """While the block runs, another process folds the log of ``home``; it ends with the block, or with this process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, str(home), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    assert process.stdin is not None, "it was asked for"
    words = process.stdin

    async def share(partitions: Collection[int]) -> None:
        with contextlib.suppress(ConnectionError):  # it is gone: then all of them are ours
            words.write(msgspec.json.encode(sorted(partitions)) + b"\n")
            await words.drain()

    try:
        yield share
    finally:
        # The end of its standard input is the word to end, also when this process is killed.
        words.close()
        await process.wait()


class _Orders:
    """What the other process is told on its standard input: which partitions are its own, and when to end."""

    def __init__(self) -> None:
        self.partitions: list[int] | None = None
        self.ended = asyncio.create_task(asyncio.to_thread(self._listen))

    def _listen(self) -> None:
        for line in sys.stdin.buffer:
            self.partitions = msgspec.json.decode(line, type=list[int])


async def _fold(home: str) -> None:
    settings = bootstrap.settings({"ENGAGE_HOME": home})
    orders = _Orders()
    log = SqliteLog(bootstrap.log_path(settings), read_only=True)
    store = bootstrap.view_store(settings)
    projector = Projector(log, store, bootstrap.read_models(settings), cache=RowCache(_ROWS_KEPT))
    while not orders.ended.done():
        try:
            done = await projector.step(HISTORY_BATCH, orders.partitions)
        except PositionMovedError:
            continue
        if not done:
            await asyncio.wait([orders.ended], timeout=_LOOK_AGAIN_SECONDS)
    store.close()
    log.close()


if __name__ == "__main__":
    tune()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_fold(sys.argv[1]))
