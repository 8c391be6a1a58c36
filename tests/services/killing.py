"""Processes that kill themselves while others work for them, to see that none of those outlives them."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from typing import Any

import pytest


def killed_and_nobody_is_left(asking: Callable[..., None], *args: Any) -> None:
    """``asking`` gets ``args`` and a connection that all who work for it hold open, and is to kill itself."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=asking, args=(*args, theirs))
    process.start()
    theirs.close()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert ours.poll(20), "somebody lives who holds the other end"
    with pytest.raises(EOFError):
        ours.recv()
    ours.close()
