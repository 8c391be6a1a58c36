"""The read models are folded beside a load by a process of its own, which ends with the load however that ends."""

import asyncio
import sys
from datetime import UTC, date, datetime

from engage import bootstrap
from engage.demo.load import LoadClock, Plan, load
from engage.demo.projecting import projecting
from engage.services.platform import utc_now

PLAN = Plan(today=date(2026, 3, 1), now=datetime(2026, 3, 1, 18, tzinfo=UTC), scale=0.002)


async def test_what_was_folded_beside_the_load_is_the_fold_of_the_log(home):
    clock = LoadClock(utc_now)
    async with bootstrap.platform(bootstrap.settings({"ENGAGE_HOME": str(home)}), clock=clock) as platform:
        await load(platform, clock, PLAN, beside=projecting(home))
        for projection in platform.projector.projections:
            assert await platform.projector.verify(projection) is None
        assert all(lag.behind == 0 for lag in await platform.projector.lag())


async def test_it_ends_when_the_process_that_loads_is_gone(home):
    async with bootstrap.platform(bootstrap.settings({"ENGAGE_HOME": str(home)})):
        pass
    command = (sys.executable, "-m", "engage.demo.projecting", str(home))
    beside = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)
    assert beside.stdin
    beside.stdin.close()
    assert await asyncio.wait_for(beside.wait(), 60) == 0
