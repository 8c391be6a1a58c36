"""The process that folds the read models beside the one that owns the folder, which starts it and ends it.

``python -m engage.cli.folding HOME`` ends with its standard input, also when its owner is killed; signals that reach
the whole group (Ctrl-C) are for its owner to hear.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from msgspec import structs

from engage import bootstrap
from engage.cli.log_lines import log_to_stderr
from engage.cli.running import SIGNALS
from engage.interpreter import answer, tune
from engage.log.sqlite import SqliteLog
from engage.scheduling import AT_A_STRETCH, run_for, step_aside
from engage.services.folding import Folding
from engage.services.folding_forks import FoldingForks
from engage.services.projector import Projector
from engage.settings import Settings

_NICE = 10
"""Where the cores do not suffice, publishing goes first: it has ten times the share of this process then."""

_THREADS = 4
"""Of either kind: they wait for one another's rows, and the interpreter."""
_FORKS = 2
"""Processes that fold what is far behind when it begins: more would wait for one another in one SQLite file."""


def command(settings: Settings) -> tuple[str, ...]:
    """What starts the process for the folder of ``settings``; it reads the environment as its owner did."""
    return sys.executable, "-m", __name__, str(settings.home_path)


async def fold(settings: Settings, forks: FoldingForks) -> None:
    """Fold until standard input ends; with ``forks`` as long as the read models are far behind."""
    words = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(words), sys.stdin.buffer)
    log = SqliteLog(bootstrap.log_path(settings), read_only=True)
    store = bootstrap.view_store(settings)
    told, sys.stdout = sys.stdout.buffer, sys.stderr  # what anybody prints is no word to the owner

    def say(line: bytes) -> None:
        told.write(line)
        told.flush()

    projector = Projector(log, store, bootstrap.read_models(settings))
    answer()  # the owner, for those who wait until their events can be read
    with (
        ThreadPoolExecutor(_THREADS, "engage-fold") as usual,
        ThreadPoolExecutor(_THREADS, "engage-fold-aside", step_aside) as aside,
        contextlib.suppress(BrokenPipeError),  # its owner is gone
    ):

        def give_way(yes: bool) -> None:
            loop.set_default_executor(aside if yes else usual)

        await Folding(log, projector, say, store.wrote, forks, give_way).run(words)
    store.close()
    log.close()


def main() -> None:
    """Set the process up, and fold."""
    for name in SIGNALS:
        signal.signal(name, signal.SIG_IGN)
    os.nice(_NICE)
    run_for(AT_A_STRETCH)
    tune()
    settings = structs.replace(bootstrap.settings(), home=sys.argv[1])
    logged = partial(log_to_stderr, settings)
    logged()
    with bootstrap.folding_forks(settings, _FORKS, logged) as forks, bootstrap.traces("projections"):
        asyncio.run(fold(settings, forks))


if __name__ == "__main__":
    main()
