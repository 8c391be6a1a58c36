"""Processes that one of ours makes of itself: how they are begun, and how they say what has gone wrong."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def forks() -> bool:
    """Whether processes can be forks of this one, which spares them a second of imports: it may have no thread."""
    return sys.platform == "linux" and threading.active_count() == 1


def context() -> Any:
    """How ``multiprocessing`` is to begin processes here and now."""
    return multiprocessing.get_context("fork" if forks() else "spawn")


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Ctrl-C is for who asked: a process that is begun in the block never hears of it, and is ended by us."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def sendable(error: Exception) -> Exception:
    """The error, or its words where it cannot be sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
