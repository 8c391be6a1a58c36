"""A process that projects the town's log, to be killed, stopped, or let run into a full disk.

    python -m tests.services.projecting_process URL WHAT

``run``: nothing happens to it. ``stop``: it stops itself (SIGSTOP) when it has folded a batch and before it writes it.
``kill-before`` and ``kill-after``: it kills itself around its third commit. ``disk-full``: its files may not grow until
it has failed once.
"""

import asyncio
import os
import resource
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError

from engage.services.projector import Projector
from engage.store.positions import Moved
from engage.store.views import Change, PositionMovedError, ViewStore
from tests.services.town_views import regulars, town_log, warmths

REFUSED = 3
FAILED_AND_RECOVERED = 4
_STEPS = 3


class StoppingStore(ViewStore):
    """One that stops its process before it writes its third batch."""

    commits = 0

    def commit(self, changes: Sequence[Change]) -> dict[tuple[str, int], Moved]:
        self.commits += 1
        if self.commits == _STEPS:
            # To this thread: sent to the process, it may strike when another step has taken the database's lock.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        return super().commit(changes)


def main(url: str, what: str) -> int:
    store = StoppingStore(url) if what == "stop" else ViewStore(url)
    projector = Projector(town_log(), store, [regulars, warmths])
    if what == "disk-full":
        return asyncio.run(_with_a_full_disk(projector, Path(f"{url.removeprefix('sqlite:///')}-wal")))
    committed = 0

    def die(connection: Connection) -> None:
        nonlocal committed
        committed += _writes(connection)
        if what.startswith("kill") and committed == _STEPS:
            if what == "kill-after":
                raw: Any = connection.connection.dbapi_connection
                raw.commit()
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(store.database.engine, "commit", die)
    while True:
        try:
            asyncio.run(projector.catch_up(limit=5))
        except PositionMovedError:
            if what == "stop":
                return REFUSED
        else:
            return 0


def _writes(connection: Connection) -> bool:
    return "engage_begin" in connection.get_execution_options()


async def _with_a_full_disk(projector: Projector, log: Path) -> int:
    await projector.step(5)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = await asyncio.to_thread(log.stat)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size.st_size, most))
    try:
        await projector.catch_up(limit=5)
    except OperationalError:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        await projector.catch_up(limit=5)
        return FAILED_AND_RECOVERED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
