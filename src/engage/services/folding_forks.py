"""Processes that fold with this one while it is far behind the log, each on a core that one interpreter cannot use.

They are forks where they can be, made while this process has no thread, connection or loop: what is imported they
share, and until they are told to fold they hold nothing else. Positions move by compare-and-swap, so each may be
killed, and may overlap with whoever folds after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

import structlog

from engage.interpreter import freeze
from engage.services import metrics
from engage.services.forking import context, deaf_to_interrupts, forks, sendable
from engage.services.projector import BATCH, Projector
from engage.store.views import PositionMovedError

WORTH = 20_000
"""Records behind from which on another process pays: to open log and views takes it as long as to fold 5,000."""
_END_SECONDS = 10.0
_LOOK_SECONDS = 0.25
"""How often who asked looks for what came to partitions that are caught up, while others are not."""
PATIENCE = 60.0
"""Seconds after which one that does not answer is killed, stopped or waiting for a database as it may be: its longest
step is a batch of history, a second or two, and who asked does without it what would have taken longer."""

_log = structlog.get_logger(__name__)

Opened = Callable[[], AbstractAsyncContextManager[Projector]]
"""Opens a projector with a log and a store of its own. It can be pickled."""


def _as_it_is() -> None:
    """What there is to set up where a fork has it all."""


class ForkGoneError(RuntimeError):
    """A process that folds was killed, or hung and is killed now: of its last batch was written all or nothing.

    Whoever asked folds on from where it stands.
    """


class FoldingFork:
    """One of them, for one who asks at a time."""

    def __init__(self, process: Any, orders: Connection) -> None:
        self._process = process
        self._orders = orders

    async def step(self, limit: int, partitions: Collection[int]) -> int:
        """See ``Projector.step``, whose errors are raised here; ForkGoneError if the process is gone or hangs.

        How long events waited to be seen is counted here, where somebody fetches it.
        """
        try:
            self._orders.send((limit, list(partitions)))
            async with asyncio.timeout(PATIENCE):
                said = await _heard(self._orders)
        except TimeoutError as error:
            self._process.kill()
            raise ForkGoneError(
                f"the process {self._process.pid} that folds partitions did not answer for {PATIENCE:g} s: it is killed"
            ) from error
        except (EOFError, OSError) as error:
            raise ForkGoneError(f"the process {self._process.pid} that folds partitions is gone") from error
        if isinstance(said, Exception):
            raise said
        done, waited = said
        for seconds in waited:
            metrics.viewed(seconds)
        return int(done)

    def end(self) -> None:
        """Have it end with what it is at, and wait for it."""
        with suppress(OSError):  # it is gone
            self._orders.send(None)
        self._process.join(_END_SECONDS)
        self._process.kill()
        self._process.join()
        self._orders.close()


class FoldingForks:
    """``count`` processes that fold what ``opened`` opens; they end with the block, or with this process.

    ``begun`` is called in each before anything else, and sets up what this one has not, or what no fork inherits: where
    its log goes above all. It can be pickled.
    """

    def __init__(self, opened: Opened, count: int, begun: Callable[[], object] = _as_it_is) -> None:
        self._opened = opened
        self._count = count
        self._begun = begun
        self._left: list[FoldingFork] = []

    def __enter__(self) -> Self:
        forked, made_by = forks(), context()
        freeze()
        inherited: list[Connection] = []
        for _ in range(self._count):
            ours, theirs = made_by.Pipe()
            inherited.append(ours)
            args = self._opened, self._begun, theirs, inherited if forked else []
            process = made_by.Process(target=_fold_as_told, args=args, daemon=True)
            with deaf_to_interrupts():
                process.start()
            theirs.close()
            self._left.append(FoldingFork(process, ours))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def take(self) -> FoldingFork | None:
        """One of them, whose end is the caller's from now on; None when there is none left."""
        return self._left.pop() if self._left else None

    async def catch_up(self, projector: Projector, wrote: Callable[[int], object] = lambda _: None) -> int:
        """Fold what is far from its end, each process a partition at a time, and end them; how many records.

        ``wrote`` hears of them step by step. What comes to those that are caught up meanwhile is folded by
        ``projector``, and so is what one that is killed has left; what fails in one is raised here.
        """
        behind = await far_behind(projector, range(projector.partitions))
        partitions = sorted(behind, key=lambda partition: behind[partition])  # the longest are begun first
        caught_up, done = set[int](), 0

        async def work(fork: FoldingFork) -> None:
            nonlocal done
            while partitions:
                partition = partitions.pop()
                near = 0
                while near < 2:  # behind its end it is said how rows stand, and that is work as well
                    try:
                        more = await fork.step(BATCH, [partition])
                    except PositionMovedError:  # somebody else folds it too: go on from where that has come
                        continue
                    except ForkGoneError as error:
                        _log.error("what it was to fold is folded without it", why=str(error))
                        return
                    done += more
                    wrote(more)
                    near += more < BATCH
                caught_up.add(partition)

        async def keep_up(works: Collection[asyncio.Task[None]]) -> None:
            nonlocal done
            while not all(one.done() for one in works):
                more = 0
                with suppress(PositionMovedError):
                    more = await _whole(projector.step(BATCH, caught_up.copy())) if caught_up else 0
                if more:
                    done += more
                    wrote(more)
                else:
                    await asyncio.wait(works, timeout=_LOOK_SECONDS)

        try:
            async with asyncio.TaskGroup() as group:
                if sum(behind.values()) >= WORTH:
                    group.create_task(keep_up([group.create_task(work(fork)) for fork in self._left]))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        finally:
            await asyncio.to_thread(self.end)
        return done

    def end(self) -> None:
        """End those that nobody has taken."""
        while self._left:
            self._left.pop().end()


async def far_behind(projector: Projector, partitions: Collection[int]) -> dict[int, int]:
    """How many records the slowest read model has before it, by partition; nothing of what is paused."""
    behind = dict.fromkeys(partitions, 0)
    for one in await projector.lag():
        if one.partition in behind and one.paused is None:
            behind[one.partition] = max(behind[one.partition], one.behind)
    return behind


def _fold_as_told(
    opened: Opened, begun: Callable[[], object], orders: Connection, inherited: Collection[Connection]
) -> None:
    for reading in inherited:  # while one of us holds it, nobody would see that who asked was killed
        reading.close()
    begun()
    with suppress(EOFError, OSError):  # who asked is gone
        if (first := orders.recv()) is not None:
            try:
                asyncio.run(_fold(opened, orders, first))
            except Exception as error:  # it cannot be opened
                orders.send(sendable(error))


async def _fold(opened: Opened, orders: Connection, order: Any) -> None:
    waited = list[float]()
    with metrics.view_waits(waited.append):
        async with opened() as projector:
            while order is not None:
                said: tuple[int, list[float]] | Exception
                try:
                    said = await projector.step(*order), waited
                except Exception as error:
                    said = sendable(error)
                orders.send(said)
                waited.clear()
                order = await _heard(orders)


async def _whole(step: Coroutine[Any, Any, int]) -> int:
    """Whoever is not to wait for it any more waits until it is over: a commit may be under way."""
    task = asyncio.ensure_future(step)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def _heard(connection: Connection) -> Any:
    """The next word of the other side; EOFError when it is gone."""
    loop = asyncio.get_running_loop()
    come: asyncio.Future[None] = loop.create_future()
    loop.add_reader(connection.fileno(), lambda: None if come.done() else come.set_result(None))
    try:
        await come
    finally:
        loop.remove_reader(connection.fileno())
    return connection.recv()
