"""The read models are folded beside a load by processes of their own, which end with the load however that ends."""

import asyncio
import sys
from datetime import UTC, date, datetime
from multiprocessing import active_children

from engage import bootstrap
from engage.demo.load import LoadClock, Plan, load
from engage.demo.projecting import Beside
from engage.services.platform import utc_now

PLAN = Plan(today=date(2026, 3, 1), now=datetime(2026, 3, 1, 18, tzinfo=UTC), scale=0.002)
WAITING = """
import sys, time
from pathlib import Path
from engage.demo.projecting import Beside

with Beside(Path(sys.argv[1])) as beside:
    beside.follow(range(4))
    print("begun", flush=True)
    time.sleep(600)
"""


async def loaded(home, beside, progress=None):
    """What is left to fold of each read model after a load."""
    clock = LoadClock(utc_now)
    async with bootstrap.platform(bootstrap.settings({"ENGAGE_HOME": str(home)}), clock=clock) as platform:
        await load(platform, clock, PLAN, progress, beside=beside)
        for projection in platform.projector.projections:
            assert await platform.projector.verify(projection) is None
        return [lag.behind for lag in await platform.projector.lag()]


def test_what_was_folded_beside_the_load_is_the_fold_of_the_log(home):
    with Beside(home) as beside:
        assert set(asyncio.run(loaded(home, beside))) == {0}
    assert active_children() == []


def test_a_load_whose_helpers_are_killed_folds_what_is_left_itself(home):
    def kill(done, total):
        for process in active_children():
            process.kill()

    with Beside(home) as beside:
        assert set(asyncio.run(loaded(home, beside, kill))) == {0}


async def test_they_end_when_the_process_that_loads_is_killed(home):
    async with bootstrap.platform(bootstrap.settings({"ENGAGE_HOME": str(home)})):
        pass
    command = (sys.executable, "-c", WAITING, str(home))
    loads = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert loads.stdout
    assert await loads.stdout.readline() == b"begun\n"
    loads.kill()
    await loads.wait()
    # They have its standard output too: it ends with the last of them.
    assert await asyncio.wait_for(loads.stdout.read(), 60) == b""
