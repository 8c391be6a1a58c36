"""Read models as they stood, for who asks while engage serves: one account in a thread, a whole model beside it all.

A fold of everything takes long and would hold up whoever publishes: it has a process of its own, one at a time.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import structlog
from msgspec import Struct

from engage.log.contract import Batch, Log
from engage.services.as_of import AheadError, as_of
from engage.services.prefix import ends_at
from engage.services.snapshots import Snapshot, Snapshots, kind_of
from engage.services.whole_as_of import ever_linked, fold_whole, stands_live
from engage.store.views import ViewStore
from engage.views.projection import ReadModel

ACCOUNTS_AT_ONCE, ACCOUNTS_WAITING = 2, 16
NEAR = 2_000
"""So many records are folded, or an account's are, while another process starts."""
_SPAWNING = multiprocessing.get_context("spawn")

OpenLog = Callable[[], AbstractAsyncContextManager[Log]]
House = Callable[[], Sequence[ReadModel[Any]]]
T = TypeVar("T")


class BusyError(RuntimeError):
    """So much of the past is asked for already that it would wait too long: ask again in a moment."""

    def __init__(self) -> None:
        super().__init__("so much of the past is being folded already that this would wait too long: ask again")


class UnfoldedError(RuntimeError):
    """The fold of a whole read model ended without it; the message says why."""


class Then(Struct, frozen=True):
    """A whole read model at a moment: ``model`` folded up to ``ends``."""

    model: ReadModel[Any]
    moment: datetime
    ends: dict[int, int]

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.model.name} as of {self.moment.isoformat()}"


class Past:
    """Answers from folds of what ``log`` was, which the live ``store`` helps to find.

    ``open_log`` and ``house`` (the read models) are called in another process too, so they can be pickled. AheadError
    for a moment behind that of ``clock``.
    """

    def __init__(
        self,
        log: Log,
        store: ViewStore,
        clock: Callable[[], datetime],
        snapshots: Snapshots,
        open_log: OpenLog,
        house: House,
    ) -> None:
        self.snapshots = snapshots
        self._log = log
        self._store = store
        self._clock = clock
        self._open_log = open_log
        self._house = house
        self._threads = ThreadPoolExecutor(ACCOUNTS_AT_ONCE, "engage-past")
        self._accounts = 0
        self._one_at_a_time = asyncio.Lock()

    async def of_account(
        self, account: str, models: Sequence[ReadModel[Any]], moment: datetime, ask: Callable[[ViewStore], T]
    ) -> T:
        """What ``ask`` finds in ``models`` as ``account`` alone had made them; BusyError if too many ask."""
        self._see_past(moment)
        if self._accounts >= ACCOUNTS_AT_ONCE + ACCOUNTS_WAITING:
            raise BusyError
        loop = asyncio.get_running_loop()

        async def asked() -> T:
            log = _Elsewhere(self._log, loop)
            async with as_of(log, models, moment, moment, account=account, store=self._store) as then:
                return ask(then)

        self._accounts += 1
        try:
            return await loop.run_in_executor(self._threads, lambda: asyncio.run(asked()))
        finally:
            self._accounts -= 1

    async def then(self, model: ReadModel[Any], moment: datetime) -> Then:
        """What is to be folded for all of ``model``."""
        self._see_past(moment)
        return Then(model, moment, await ends_at(self._log, moment))

    async def lives(self, then: Then) -> bool:
        """Whether it need not be folded: see ``stands_live``."""
        linked = ever_linked(self._log)  # here, where the log is used
        return await asyncio.to_thread(stands_live, self._store, then.model, then.ends, then.moment, linked=linked)

    async def kept(self, then: Then) -> Snapshot | None:
        """The snapshot, if it was folded before."""
        return await asyncio.to_thread(self.snapshots.at, kind_of(self._log, then.model), then.ends, then.moment)

    async def fold(self, then: Then, progress: Callable[[int, int], None]) -> None:
        """Fold it, after those that were asked for before; UnfoldedError if it fails.

        It has a process of its own, unless a snapshot is so near that to start one would take longer. Cancelled, it
        ends, and what it has kept by then stays of use.
        """
        async with self._one_at_a_time:
            if await self.kept(then):
                return
            begun = await asyncio.to_thread(self.snapshots.before, kind_of(self._log, then.model), then.ends)
            if sum(then.ends.values()) - (begun.records if begun else 0) <= NEAR:
                await self._fold_here(then)
            else:
                task = Task(self._open_log, self._house, self.snapshots, then.model.name, then.moment, then.ends)
                await _in_a_process(task, progress)
        if not await self.kept(then):
            raise UnfoldedError(f"{then.name} was folded and is gone already: ask again")

    async def close(self) -> None:
        """Wait for the folds of accounts that are under way."""
        await asyncio.to_thread(self._threads.shutdown)

    async def _fold_here(self, then: Then) -> None:
        loop = asyncio.get_running_loop()
        log = _Elsewhere(self._log, loop)

        def fold() -> None:
            asyncio.run(fold_whole(log, then.model, then.ends, then.moment, self.snapshots))

        await loop.run_in_executor(self._threads, fold)

    def _see_past(self, moment: datetime) -> None:
        if moment > self._clock():
            raise AheadError(moment)


class Task(Struct, frozen=True):
    """What a process of its own is given: the log, the read models, where to keep what it folds, and what that is."""

    open_log: OpenLog
    house: House
    snapshots: Snapshots
    model: str
    moment: datetime
    ends: Mapping[int, int]


class _Elsewhere:
    """A log that lives in another thread's ``loop``, for a loop of one's own."""

    def __init__(self, log: Log, loop: asyncio.AbstractEventLoop) -> None:
        self._log = log
        self._loop = loop
        self.partitions = log.partitions
        self.generation = log.generation

    async def read(self, partition: int, position: int, limit: int) -> Batch:
        """See ``Log.read``."""
        return await self._there(lambda: self._log.read(partition, position, limit))

    async def end(self, partition: int) -> int:
        """See ``Log.end``."""
        return await self._there(lambda: self._log.end(partition))

    async def position_at(self, partition: int, moment: datetime) -> int:
        """See ``Log.position_at``."""
        return await self._there(lambda: self._log.position_at(partition, moment))

    async def wait(self, ends: Mapping[int, int], seconds: float) -> bool:
        """See ``Log.wait``."""
        return await self._there(lambda: self._log.wait(ends, seconds))

    async def _there(self, ask: Callable[[], Awaitable[T]]) -> T:
        async def asked() -> T:
            return await ask()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asked(), self._loop))


async def _in_a_process(task: Task, progress: Callable[[int, int], None]) -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = _SPAWNING.Pipe(duplex=False)
    ended: asyncio.Future[str | None] = loop.create_future()

    def heard() -> None:
        try:
            told = ours.recv()
        except EOFError:
            told = "its process was ended"
        if isinstance(told, tuple):
            progress(*told)
        elif not ended.done():
            ended.set_result(told)

    process = _SPAWNING.Process(target=_fold, args=(task, theirs), name="engage-as-of", daemon=True)
    process.start()
    theirs.close()
    loop.add_reader(ours.fileno(), heard)
    try:
        if (why := await ended) is not None:
            raise UnfoldedError(f"{task.model} as of {task.moment.isoformat()} could not be folded: {why}")
    finally:
        loop.remove_reader(ours.fileno())
        ours.close()
        process.kill()
        await asyncio.to_thread(process.join)
        process.close()


def _fold(task: Task, telling: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who serves
    # What cannot be folded stands still in the live model too, and was told there.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

    async def run() -> None:
        model = next(one for one in task.house() if one.name == task.model)
        async with task.open_log() as log:
            await fold_whole(
                log, model, task.ends, task.moment, task.snapshots, progress=lambda *told: telling.send(told)
            )

    try:
        asyncio.run(run())
    except BrokenPipeError:  # who asked is gone
        return
    except Exception as error:
        telling.send(f"{type(error).__name__}: {error}")
    else:
        telling.send(None)
