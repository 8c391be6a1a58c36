"""What commands share while they run: an end that signals bring."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def on_signals(end: Callable[[], None]) -> Iterator[None]:
    """Call ``end`` when the process is interrupted or asked to terminate, instead of dying."""
    loop = asyncio.get_running_loop()
    for name in SIGNALS:
        loop.add_signal_handler(name, end)
    try:
        yield
    finally:
        for name in SIGNALS:
            loop.remove_signal_handler(name)
