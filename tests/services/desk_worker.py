"""A process for fault tests: desk and relay, a few records at a time, a line a step; killed from outside."""

import asyncio
import itertools
import os
import signal
import sqlite3
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from engage.relationships.application import Relationships
from engage.relationships.commands import Complete
from engage.services.desk import Desk
from engage.services.relay import Relay
from tests.relationships.given import ASKED, EXPIRES, FileLog, Keys, an_id

LATER = ASKED + timedelta(hours=1)


async def work(log_file: Path, url: str, count: int) -> None:
    with closing(FileLog(log_file)) as log, closing(Relationships(url)) as store:
        desk, relay = Desk(store, log, Keys()), Relay(store, log)
        while await desk.step(3):
            said("opened")
            await relay.step(5)
        for first in range(0, count, 4):
            some = [number for number in range(first, first + 4) if number % 2]
            desk.do([Complete(id=an_id(number), actor="anna", at=LATER, outcome="reached") for number in some])
            said("completed")
            await relay.step(5)
        await desk.expire_due(EXPIRES)
        while await relay.step(5):
            said("relayed")


def die_at_commit(number: int) -> None:
    """End this process as kill -9 does, just before SQLite commits for the ``number``-th time."""
    connect, commits = sqlite3.connect, itertools.count(1)

    def watch(statement: str) -> None:
        if statement == "COMMIT" and next(commits) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        connection.set_trace_callback(watch)
        return connection

    sqlite3.connect = watched  # type: ignore[assignment]


def said(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if len(sys.argv) > 4:
        die_at_commit(int(sys.argv[4]))
    asyncio.run(work(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
