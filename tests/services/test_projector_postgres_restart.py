"""PostgreSQL is stopped and comes back while read models are projected: they go on, and count every event once."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from engage.services.projector import Projector
from engage.services.turns import Turns
from engage.store.positions import Position
from engage.store.views import ViewStore
from tests.servers import ServerUnavailableError, StoppablePostgres, stoppable_postgres
from tests.services.town_views import assert_right, regulars, told, town_log, warmths

pytestmark = pytest.mark.postgres
DEADLINE = 60


@pytest.fixture
def server() -> Iterator[StoppablePostgres]:
    try:
        with tempfile.TemporaryDirectory(prefix="pg") as folder, stoppable_postgres(Path(folder)) as running:
            yield running
    except ServerUnavailableError as error:
        pytest.skip(f"NOT TESTED AGAINST POSTGRESQL: {error}")


async def test_stopped_and_started_again(server: StoppablePostgres) -> None:
    log = town_log(30)
    with closing(ViewStore(server.url)) as store:
        projector = Projector(log, store, [regulars, warmths])
        turns = Turns(log, {"projections": lambda: projector.step(5)})
        stop = asyncio.Event()
        work = asyncio.create_task(turns.run(stop))
        async with asyncio.timeout(DEADLINE):
            while sum(one.position for one in await _positions(projector)) < 2 * 30:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(server.stop)
            log.append(*told(30, 60))
            while "projections" not in turns.troubles:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(server.start)
            while turns.troubles or sum(one.position for one in await _positions(projector)) < 2 * 60:
                await asyncio.sleep(0.01)
        stop.set()
        await work
        await assert_right(projector)
        assert sum(one.orders for one in store.merged(warmths)) == 56


async def _positions(projector: Projector) -> list[Position]:
    return await asyncio.to_thread(projector.positions)
