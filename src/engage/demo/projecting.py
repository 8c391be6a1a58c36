"""Folds the read models beside a load: the load has one core, this has the other, and both when all is loaded.

The processes are forks, made before this one opens anything: what is imported they share, and so it is there once. They
begin small, while the one that loads is at its largest. Positions move by compare-and-swap, so each may be killed, and
may overlap with whoever folds after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from engage import bootstrap
from engage.interpreter import freeze, give_back, tune
from engage.log.sqlite import SqliteLog
from engage.services.projector import Projector
from engage.store.row_cache import RowCache
from engage.store.views import PositionMovedError

_FOLLOW, _SHARE = 1, 2
"""How many processes fold beside the load, and how many what is left: others, whose memory is not in pieces yet."""
_PROCESSES = _FOLLOW + _SHARE
_LOOK_AGAIN_SECONDS = 0.5
_CACHE_MIB = 8
"""A history's batches go through the whole file, and more of it in memory makes them no quicker."""
_ROWS_KEPT = 0
"""Most batches of a history meet other rows than the one before: they would be held for nothing."""
LOADED_AT_ONCE = 5_000
"""Records of one transaction: a batch of history meets most accounts, so longer ones write each row less often (12,000
take a tenth less of processor time), and hold more in memory (15 MB more)."""


class Beside:
    """Processes that fold the log of ``home`` as they are told; they end with the block, or with this process.

    Enter it before there is a loop or a connection; where there are threads already, they are no forks.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._processes: list[Any] = []
        self._orders: list[Connection] = []

    def __enter__(self) -> Self:
        # No thread outlives a fork, and elsewhere the system's own libraries may have begun some.
        forks = sys.platform == "linux" and threading.active_count() == 1
        context: Any = multiprocessing.get_context("fork" if forks else "spawn")
        freeze()
        for _ in range(_PROCESSES):
            ours, theirs = context.Pipe()
            process = context.Process(target=_fold_as_told, args=(str(self._home), theirs), daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._orders.append(ours)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def end(self) -> None:
        """Have them end with what they are at, and wait for it."""
        for number in range(_PROCESSES):
            self._tell(number, None)
        for process in self._processes:
            process.join()
        for connection in self._orders:
            connection.close()

    def follow(self, partitions: Sequence[int]) -> None:
        """Have one process fold these partitions for as long as the log grows."""
        self._tell(0, partitions)

    async def leave(self) -> None:
        """Have the one that follows end, and wait for it: it and the others at once would take most memory."""
        self._tell(0, None)
        await asyncio.to_thread(self._processes[0].join)

    def share(self, left: Mapping[int, int]) -> None:
        """Have the others fold what is ``left``, in records by partition: whole partitions, each about as many."""
        shares: list[list[int]] = [[] for _ in range(_SHARE)]
        for partition in sorted(left, key=lambda one: -left[one]):
            min(shares, key=lambda share: sum(left[one] for one in share)).append(partition)
        for number, share in enumerate(shares, _FOLLOW):
            self._tell(number, share)

    @property
    def alive(self) -> bool:
        """Whether all who share what is left are."""
        return all(process.is_alive() for process in self._processes[_FOLLOW:])

    def _tell(self, number: int, order: Sequence[int] | None) -> None:
        with contextlib.suppress(OSError):  # it is gone: whoever loads folds what is left
            self._orders[number].send(order)


def _fold_as_told(home: str, orders: Connection) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "it has been started by one"
    with contextlib.suppress(KeyboardInterrupt):
        if orders in wait([orders, parent.sentinel]) and (partitions := orders.recv()) is not None:
            tune()
            asyncio.run(_Folder(home, orders, partitions).run(parent.sentinel))


class _Folder:
    """Folds ``partitions``, until ``orders`` give it others or tell it to end."""

    def __init__(self, home: str, orders: Connection, partitions: Sequence[int]) -> None:
        self._settings = bootstrap.settings({"ENGAGE_HOME": home})
        self._orders = orders
        self._partitions = partitions
        self._ended = asyncio.Event()

    async def run(self, parent: int) -> None:
        """Until it is told to end, or the process behind the file descriptor ``parent`` is gone."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._orders.fileno(), self._hear)
        loop.add_reader(parent, self._ended.set)
        log = SqliteLog(bootstrap.log_path(self._settings), read_only=True)
        store = bootstrap.view_store(self._settings, cache_mib=_CACHE_MIB)
        projector = Projector(
            log, store, bootstrap.read_models(self._settings), cache=RowCache(_ROWS_KEPT), history=LOADED_AT_ONCE
        )
        while not self._ended.is_set():
            try:
                done = await projector.step(LOADED_AT_ONCE, self._partitions)
                give_back()
            except PositionMovedError:
                continue
            if not done:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), _LOOK_AGAIN_SECONDS)
        store.close()
        log.close()

    def _hear(self) -> None:
        try:
            order = self._orders.recv()
        except EOFError:
            order = None
        if order is None:
            self._ended.set()
        else:
            self._partitions = order
