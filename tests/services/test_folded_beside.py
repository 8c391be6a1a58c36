"""The process that folds beside: whatever it says or does, it is ended and started again, and ends when it is told."""

import asyncio
import itertools
import sys
from collections.abc import Sequence

import pytest
import uvloop

from engage.services import folded_beside, folding
from engage.services.folded_beside import FoldedBeside
from engage.services.folding import APART_SECONDS, Folding, Pace, Told, read
from engage.testing.memory_log import MemoryLog

PATIENCE = 30.0


@pytest.mark.parametrize("said", ["b'{'", "b'?\\n'", "b'x' * 200_000"], ids=["half", "no word", "too much"])
async def test_one_that_says_what_cannot_be_read_is_started_again(said: str):
    says = f"""import sys; sys.stdout.buffer.write(b'{{"done":7}}\\n' + {said})"""
    beside, stop = FoldedBeside((sys.executable, "-I", "-S", "-c", says)), asyncio.Event()
    heard: list[Told] = []

    def tell(told: Told) -> None:
        heard.append(told)
        if len(heard) == 4:
            stop.set()

    async with asyncio.timeout(PATIENCE):
        await beside.run(stop, tell)
    assert [one.done for one in heard] == [7, 0, 7, 0]
    assert "ended with" in str(heard[1].trouble)


async def test_one_that_hangs_is_killed_and_started_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(folded_beside, "_SILENT_SECONDS", 1.0)
    monkeypatch.setattr(folded_beside, "_END_SECONDS", 0.1)  # whoever is stopped does not end when it is told to
    says = "import os, signal; os.write(1, b'{}\\n'); os.kill(os.getpid(), signal.SIGSTOP)"
    beside, stop = FoldedBeside((sys.executable, "-I", "-S", "-c", says)), asyncio.Event()
    heard: list[Told] = []

    def tell(told: Told) -> None:
        heard.append(told)
        if len(heard) == 3:
            stop.set()

    async with asyncio.timeout(PATIENCE):
        await beside.run(stop, tell)
    assert [bool(one.trouble) for one in heard] == [False, True, False]


async def test_one_that_needs_longer_than_one_that_hangs_is_given_twice_as_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(folded_beside, "_SILENT_SECONDS", 0.5)
    says = """import os, time; os.write(1, b'{}\\n'); time.sleep(0.8); os.write(1, b'{"done":7}\\n'); os.read(0, 1)"""
    beside, stop = FoldedBeside((sys.executable, "-I", "-S", "-c", says)), asyncio.Event()
    heard: list[Told] = []

    def tell(told: Told) -> None:
        heard.append(told)
        if told.done == 7:
            stop.set()

    async with asyncio.timeout(PATIENCE):
        await beside.run(stop, tell)
    assert any(one.trouble for one in heard)


def test_that_the_log_grows_while_it_ends_or_when_it_is_gone_hurts_nobody():
    async def grown_all_the_time(program: str) -> None:
        beside, stop = FoldedBeside((sys.executable, "-I", "-S", "-c", program)), asyncio.Event()
        ended = asyncio.create_task(beside.run(stop, lambda _: stop.set()))
        try:
            async with asyncio.timeout(PATIENCE):
                while not ended.done():
                    beside.grown()
                    beside._asked = False  # it answers nothing
                    await asyncio.sleep(0)
        finally:
            stop.set()
            await ended

    # On the loop that engage runs on: to write where nobody reads is an error there.
    uvloop.run(grown_all_the_time("import sys; print('{}', flush=True); sys.stdin.read()"))
    uvloop.run(grown_all_the_time("import os; os.close(0); print('{}', flush=True)"))


class Busy:
    """Read models that are far behind, or fail."""

    def __init__(self, trouble: str = "") -> None:
        self.turns = 0
        self.trouble = trouble
        self.moved: dict[tuple[str, int], int] = {}

    async def step(self, limit: int) -> int:
        self.turns += 1
        await asyncio.sleep(0)
        if self.trouble:
            raise ValueError(self.trouble)
        return limit

    def next_dues(self) -> dict[int, object]:
        return {}


async def test_it_ends_when_it_is_told_to_however_far_behind_it_is():
    words, busy = asyncio.StreamReader(), Busy()
    told: list[bytes] = []

    def say(line: bytes) -> None:
        told.append(line)
        if len(told) == 3:
            words.feed_data(b"\n")
            words.feed_eof()
        assert len(told) < 100, "it goes on"

    await Folding(MemoryLog(partitions=1), busy, say).run(words)
    assert busy.turns < 6


async def test_what_fails_is_told_in_a_line_that_can_be_read():
    words = asyncio.StreamReader()
    told: list[bytes] = []

    def say(line: bytes) -> None:
        told.append(line)
        words.feed_eof()

    await Folding(MemoryLog(partitions=1), Busy("no " * 25_000), say).run(words)
    assert len(told[0]) < 2**16
    assert str(read(told[0]).trouble).startswith("ValueError: no no")


class Long(Busy):
    """Read models whose first turn is over once ``over`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.over = asyncio.Event()

    async def step(self, limit: int) -> int:
        await self.over.wait()
        return 0


async def said_during_a_long_turn(monkeypatch, used):
    """What is said in a turn during which it is looked ten times, each ``used`` seconds of the processor later."""
    words, long, looks = asyncio.StreamReader(), Long(), itertools.count()
    told, before = list[bytes](), list[bytes]()

    def process_time():
        if (look := next(looks)) == 10:
            before.extend(told)
            words.feed_eof()
            long.over.set()
        return look * used

    monkeypatch.setattr(folding, "_ALIVE_SECONDS", 0.001)
    monkeypatch.setattr(folding, "process_time", process_time)
    async with asyncio.timeout(PATIENCE):
        await Folding(MemoryLog(partitions=1), long, told.append).run(words)
    return before


async def test_who_is_at_work_says_so_however_long_a_turn_takes(monkeypatch: pytest.MonkeyPatch):
    assert await said_during_a_long_turn(monkeypatch, used=1.0) == [b"{}\n"] * 9
    assert read(b"{}") == Told()


async def test_who_waits_for_a_database_that_does_not_answer_says_nothing(monkeypatch: pytest.MonkeyPatch):
    assert await said_during_a_long_turn(monkeypatch, used=0.001) == []


def turns(rates: Sequence[float], cost: float = 0.0001) -> list[tuple[float, float]]:
    """When each turn begins, and how long is rested after it: ``rates`` records come, by each hundredth of a second.

    A turn takes 5 ms, and ``cost`` seconds for each record that had come when it began.
    """
    come = [0.0, *itertools.accumulate(rate / 100 for rate in rates)]
    began, folded, pace, found = 0.0, 0, Pace(0.0), list[tuple[float, float]]()
    while (by := int(began * 100)) < len(come):
        over = began + 0.005 + cost * (int(come[by]) - folded)
        pace.folded(int(come[by]) - folded, over)
        folded = int(come[by])
        found.append((began, rest := pace.rest(began, over)))
        began = over + rest
    return found


def test_nobody_is_held_up_where_a_thousand_events_come_each_second():
    assert not any(rest for _, rest in turns([1_000] * 500))


def test_a_hiccup_at_a_thousand_events_a_second_has_nobody_rest():
    assert not any(rest for _, rest in turns([1_000] * 900 + [0] * 199 + [200_000] + [1_000] * 200))


def test_where_thousands_come_each_second_they_are_folded_twice_a_second():
    *_, (before, _), (last, rest) = turns([4_000] * 900)
    assert last - before == pytest.approx(APART_SECONDS)
    assert rest > APART_SECONDS / 2


def test_one_that_does_not_get_through_does_not_rest():
    assert not any(rest for _, rest in turns([8_000] * 3_000, cost=0.0002)[-5:])


def test_few_are_soon_folded_at_once_again_after_many():
    assert not any(rest for began, rest in turns([8_000] * 900 + [500] * 1_200) if began > 17)


def test_it_gives_way_where_thousands_come_each_second_and_soon_no_more_when_they_have_ended():
    pace = Pace(0.0)
    pace.folded(500, 1.0)
    assert not pace.gives_way()
    pace.folded(3_000, 2.0)
    assert pace.gives_way()
    pace.folded(0, 5.0)
    assert not pace.gives_way()
