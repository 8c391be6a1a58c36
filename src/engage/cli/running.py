"""What commands share while they run: the log of what happens on standard error, and an end that signals bring."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from engage.cli.output import messages

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def log_to_stderr() -> None:
    """Send engage's own log to standard error, so that standard output holds data alone."""
    import structlog

    console = messages()
    colours = console.is_terminal and not console.no_color
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback),
        ],
        # Asked for each time: a test, or a shell that redirects, may have replaced it since.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


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
