"""The parts of the platform go on when one of them fails, and it is known which one and why."""

import asyncio

from engage.services import turns
from engage.services.turns import LeftBehindError, Turns
from engage.store.views import PositionMovedError
from engage.testing.memory_log import MemoryLog


class Part:
    """Counts its turns; raises what it is told to."""

    def __init__(self, *errors):
        self.turns = 0
        self.errors = list(errors)

    async def __call__(self):
        self.turns += 1
        if self.errors:
            raise self.errors.pop(0)
        return 1


async def running(made, until):
    stop = asyncio.Event()
    task = asyncio.create_task(made.run(stop))
    async with asyncio.timeout(20):
        while not until():
            await asyncio.sleep(0.005)
    stop.set()
    await task


async def test_a_part_that_fails_is_named_and_stops_no_other(monkeypatch):
    monkeypatch.setattr(turns, "IDLE_SECONDS", 15.0)
    bad, good = Part(*[OSError("disk full")] * 3), Part()
    made = Turns(MemoryLog(partitions=1), {"relay": bad, "desk": good})
    assert await made.turn() == 1
    assert made.troubles == {"relay": "OSError: disk full"}
    assert await made.turn() == 1
    assert (bad.turns, good.turns) == (1, 2)  # the failing one waits a little before it is tried again


async def test_a_part_that_works_again_is_in_no_trouble_any_more(monkeypatch):
    monkeypatch.setattr(turns, "IDLE_SECONDS", 0.001)
    bad = Part(*[OSError("disk full")] * 3)
    made = Turns(MemoryLog(partitions=1), {"relay": bad})
    await running(made, lambda: bad.turns > 4)
    assert made.troubles == {}


async def test_a_part_that_leaves_something_behind_is_in_trouble_and_goes_on_with_the_rest():
    part = Part(LeftBehindError("one is refused"), LeftBehindError("one is refused"))
    made = Turns(MemoryLog(partitions=1), {"announcements": part})
    part.errors[1].done = 7
    assert (await made.turn(), await made.turn()) == (0, 7)
    assert made.troubles == {"announcements": "LeftBehindError: one is refused"}
    assert (await made.turn(), made.troubles) == (1, {})


async def test_another_process_that_was_faster_is_no_trouble():
    part = Part(PositionMovedError("moved"))
    made = Turns(MemoryLog(partitions=1), {"projections": part})
    assert (await made.turn(), made.troubles) == (0, {})
    assert await made.turn() == 1


async def test_a_log_that_cannot_be_read_is_tried_again(monkeypatch):
    monkeypatch.setattr(turns, "IDLE_SECONDS", 0.001)

    class Away(MemoryLog):
        failures = 2

        async def end(self, partition):
            if self.failures:
                self.failures -= 1
                raise ConnectionError("the broker is away")
            return await super().end(partition)

    part = Part()
    made = Turns(Away(partitions=1), {"desk": part})
    await running(made, lambda: part.turns)
    assert made.troubles == {}


async def test_what_takes_turns_of_its_own_waits_for_no_other_part():
    async def stuck():
        await asyncio.Event().wait()
        return 0

    quick = Part()
    made = Turns(MemoryLog(partitions=1), {"desk": stuck, "projections": quick}, beside=("projections",))
    task = asyncio.create_task(made.run(asyncio.Event()))
    async with asyncio.timeout(20):
        while quick.turns < 3:
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
