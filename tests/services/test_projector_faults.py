"""Killed, stopped, cut off or out of room, a process that projects leaves every event counted once."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, NullPool, create_engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError

from engage.services.projector import Projector
from engage.store import database
from engage.store.views import ViewStore
from tests.services.projecting_process import FAILED_AND_RECOVERED, REFUSED
from tests.services.town_views import assert_right, regulars, town_log, warmths

DEADLINE = 60


@pytest.fixture
def store(url: str) -> Iterator[ViewStore]:
    with closing(ViewStore(url)) as opened:
        yield opened


def projecting(url: str, what: str) -> subprocess.Popen[bytes]:
    command = (sys.executable, "-m", "tests.services.projecting_process", url, what)
    return subprocess.Popen(command, cwd=Path(__file__).resolve().parents[2])


def holding(file: Path) -> subprocess.Popen[bytes]:
    """A process that holds SQLite's lock until its standard input ends."""
    code = (
        "import sqlite3, sys; held = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "held.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()"
    )
    command = (sys.executable, "-c", code, str(file))
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


async def assert_each_counted_once(store: ViewStore) -> None:
    """The views go on from where they are, and are those of somebody whom nothing ever happened to."""
    projector = Projector(town_log(), store, [regulars, warmths])
    await projector.catch_up()
    await assert_right(projector)
    assert sum(one.orders for one in store.merged(warmths)) == 56


@pytest.mark.parametrize("what", ["kill-before", "kill-after"])
async def test_killed_around_the_commit(store: ViewStore, url: str, what: str) -> None:
    assert await asyncio.to_thread(projecting(url, what).wait, DEADLINE) == -signal.SIGKILL
    assert 0 < sum(one.position for one in store.positions()) < 2 * 60
    await assert_each_counted_once(store)


async def test_a_zombie_that_wakes_up_is_refused(store: ViewStore, url: str) -> None:
    zombie = projecting(url, "stop")
    _, status = await asyncio.to_thread(os.waitpid, zombie.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    try:
        await assert_each_counted_once(store)
    finally:
        zombie.send_signal(signal.SIGCONT)
    assert await asyncio.to_thread(zombie.wait, DEADLINE) == REFUSED
    await assert_each_counted_once(store)


@pytest.mark.postgres
@pytest.mark.parametrize("committed", [False, True], ids=["before it was done", "when it was done"])
async def test_a_connection_is_killed_during_the_commit(postgres_url: str, committed: bool) -> None:
    with closing(ViewStore(postgres_url)) as store:
        projector = Projector(town_log(), store, [regulars, warmths])
        await projector.step(5)
        admin = create_engine(postgres_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)

        cuts = 0

        def cut(connection: Connection) -> None:
            nonlocal cuts
            if "engage_begin" not in connection.get_execution_options() or cuts:
                return
            cuts += 1
            raw: Any = connection.connection.dbapi_connection
            backend = raw.info.backend_pid
            if committed:
                raw.commit()
            with admin.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": backend})
            raw.execute("SELECT 1")  # the answer that never comes

        event.listen(store.database.engine, "commit", cut)
        with pytest.raises((DBAPIError, psycopg.OperationalError)):
            await projector.step(5)
        await projector.catch_up(limit=5)
        await assert_each_counted_once(store)


async def test_sqlite_is_locked_by_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.1)
    with closing(ViewStore(f"sqlite:///{tmp_path}/views.db")) as store:
        projector = Projector(town_log(), store, [regulars, warmths])
        await projector.step(5)
        with holding(tmp_path / "views.db") as holder:
            assert holder.stdout is not None
            assert await asyncio.to_thread(holder.stdout.readline) == b"held\n"
            before = store.positions()
            with pytest.raises(OperationalError, match="database is locked"):
                await projector.step(5)
            assert store.positions() == before
            holder.communicate()
        await projector.catch_up(limit=5)
        await assert_each_counted_once(store)


async def test_the_disk_is_full_and_then_it_is_not(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/views.db"
    assert await asyncio.to_thread(projecting(url, "disk-full").wait, DEADLINE) == FAILED_AND_RECOVERED
    with closing(ViewStore(url)) as store:
        assert {one.position for one in store.positions()} == {await town_log().end(0), await town_log().end(1)}
        await assert_each_counted_once(store)


async def test_several_processes_that_project_the_same_get_in_nobodys_way(store: ViewStore, url: str) -> None:
    processes = [projecting(url, "run") for _ in range(2)]
    assert [await asyncio.to_thread(process.wait, DEADLINE) for process in processes] == [0, 0]
    await assert_each_counted_once(store)
