"""Processes that fold what is far behind: each event counts once, whoever is killed, and none is left."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, closing
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from engage.log.partitioning import partition_of
from engage.services import folding_forks
from engage.services.folding import Folding, Told, read
from engage.services.folding_forks import FoldingForks, far_behind
from engage.services.projector import Projector
from engage.store.positions import GenerationError
from engage.store.views import ViewStore
from tests.services.killing import killed_and_nobody_is_left
from tests.services.shop_views import entries, order
from tests.services.town_views import assert_right, regulars, town_log, warmths

ORDERS = 400
BATCH = 20


@asynccontextmanager
async def opened(url: str, generation: str = "the town") -> AsyncIterator[Projector]:
    store = ViewStore(url)
    try:
        yield Projector(town_log(ORDERS, generation), store, [regulars, warmths, entries])
    finally:
        store.close()


def struck_once(struck: Path, by: signal.Signals) -> None:
    if not struck.exists():
        struck.touch()
        os.kill(os.getpid(), by)


@asynccontextmanager
async def dying(url: str, died: Path, by: signal.Signals = signal.SIGKILL) -> AsyncIterator[Projector]:
    """The first process that comes to its third step ends there, or hangs."""
    async with opened(url) as projector:
        step, steps = projector.step, 0

        async def stepping(*order: object) -> int:
            nonlocal steps
            steps += 1
            if steps == 3:
                struck_once(died, by)
            return await step(*order)  # type: ignore[arg-type]

        projector.step = stepping  # type: ignore[method-assign, assignment]
        yield projector


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/views.db"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding_forks, "WORTH", ORDERS // 2)
    monkeypatch.setattr(folding_forks, "BATCH", BATCH)


async def caught_up(url: str, forks: FoldingForks) -> tuple[int, int]:
    """How many records the processes folded, and how many were left; then everything must be right."""
    async with opened(url) as projector:
        folded = await forks.catch_up(projector)
        left = await projector.catch_up()
        assert set((await far_behind(projector, range(2))).values()) == {0}
        await assert_right(projector)
        return folded, left


def test_they_fold_all_that_is_far_behind_and_end(url: str):
    with FoldingForks(partial(opened, url), 2) as forks:
        assert asyncio.run(caught_up(url, forks)) == (ORDERS, 0)
        assert multiprocessing.active_children() == []
        assert forks.take() is None


def test_what_is_little_behind_is_left_to_who_asks(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(folding_forks, "WORTH", ORDERS + 1)
    with FoldingForks(partial(opened, url), 2) as forks:
        assert asyncio.run(caught_up(url, forks)) == (0, ORDERS)
        assert multiprocessing.active_children() == []


def test_one_is_killed_and_everything_is_folded_once(url: str, tmp_path: Path):
    with FoldingForks(partial(dying, url, tmp_path / "died"), 2) as forks:
        folded, left = asyncio.run(caught_up(url, forks))
        assert (tmp_path / "died").exists()
        assert folded + left == ORDERS


def test_all_are_killed_and_who_asks_folds_alone(url: str, tmp_path: Path):
    with FoldingForks(partial(dying, url, tmp_path / "died"), 1) as forks:
        folded, left = asyncio.run(caught_up(url, forks))
        assert 0 < folded < ORDERS
        assert folded + left == ORDERS


@asynccontextmanager
async def held_up(url: str, held: Path) -> AsyncIterator[Projector]:
    """Who comes to the second partition waits there as long as ``held`` is there."""
    async with opened(url) as projector:
        step, taken = projector.step, set[int]()

        async def stepping(limit: int, partitions: Collection[int]) -> int:
            taken.update(partitions)
            while len(taken) > 1 and await asyncio.to_thread(held.exists):
                await asyncio.sleep(0.01)
            return await step(limit, partitions)

        projector.step = stepping  # type: ignore[method-assign, assignment]
        yield projector


def test_what_comes_to_a_partition_that_is_caught_up_does_not_wait_for_the_others(url: str, tmp_path: Path):
    held, log = tmp_path / "held", town_log(ORDERS, "the town")
    held.touch()

    async def seen(store: ViewStore) -> None:
        projector = Projector(log, store, [regulars, warmths, entries])
        work = asyncio.create_task(forks.catch_up(projector))
        try:
            async with asyncio.timeout(30):
                while 0 not in (behind := await far_behind(projector, range(2))).values():
                    await asyncio.sleep(0.01)
                [there] = [partition for partition, by in behind.items() if not by]
                newcomer = next(name for name in map("new-{}".format, range(9)) if partition_of(name, 2) == there)
                log.append(order(10_000, subject=newcomer, day=28))
                while (await far_behind(projector, [there]))[there]:
                    await asyncio.sleep(0.01)
        finally:
            held.unlink()
            assert await work == ORDERS + 1

    with FoldingForks(partial(held_up, url, held), 1) as forks, closing(ViewStore(url)) as store:
        asyncio.run(seen(store))


@pytest.mark.timeout(30)
def test_one_that_hangs_is_killed_and_who_asks_folds_alone(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding_forks, "PATIENCE", 3.0)
    with FoldingForks(partial(dying, url, tmp_path / "hung", signal.SIGSTOP), 1) as forks:
        folded, left = asyncio.run(caught_up(url, forks))
        assert (tmp_path / "hung").exists()
        assert 0 < folded < ORDERS
        assert folded + left == ORDERS
        assert multiprocessing.active_children() == []


def folding(url: str, forks: FoldingForks, ends_at_once: bool, wrote: list[int] | None = None) -> list[Told]:
    """What a process that folds beside says until nothing is left, or as it is told to end as soon as it begins."""

    async def run() -> list[Told]:
        words, told = asyncio.StreamReader(), list[Told]()

        def say(line: bytes) -> None:
            told.append(read(line))
            if told[-1].done == 0:
                words.feed_eof()

        if ends_at_once:
            words.feed_eof()
        async with opened(url) as projector:
            heard = [] if wrote is None else wrote
            await Folding(town_log(ORDERS), projector, say, heard.append, forks).run(words)
        return told

    return asyncio.run(run())


def test_who_folds_beside_has_them_fold_what_is_far_behind_and_says_so(url: str):
    wrote = list[int]()
    with FoldingForks(partial(opened, url), 2) as forks:
        told = folding(url, forks, ends_at_once=False, wrote=wrote)
    assert (sum(one.done for one in told), told[-1].done) == (ORDERS, 0)
    assert len([seconds for one in told for seconds in one.waited]) > 2, "it is counted how long events waited"
    assert sum(wrote) == ORDERS
    assert max(wrote) < ORDERS / 2, "the write-ahead log is merged all the while"
    assert multiprocessing.active_children() == []


def test_who_folds_beside_ends_when_it_is_told_to_however_far_behind(url: str):
    with FoldingForks(partial(opened, url), 2) as forks:
        assert folding(url, forks, ends_at_once=True) == []
    assert multiprocessing.active_children() == []


def test_what_fails_in_them_is_told_by_who_folds_beside(url: str):
    with FoldingForks(partial(opened, url, "another town"), 2) as forks:
        assert sum(one.done for one in folding(url, forks, ends_at_once=False)) == ORDERS


@asynccontextmanager
async def failing(url: str) -> AsyncIterator[Projector]:
    async with opened(url) as projector:

        async def step(*_: object) -> int:
            raise LookupError("a step that fails")

        projector.step = step  # type: ignore[method-assign, assignment]
        yield projector


def test_what_fails_in_one_of_them_is_said_as_it_is_and_none_is_left(url: str, tmp_path: Path):
    with FoldingForks(partial(failing, url), 2, (tmp_path / "begun").touch) as forks:
        with pytest.raises(LookupError, match="a step that fails"):
            asyncio.run(caught_up(url, forks))
        assert multiprocessing.active_children() == []
    assert (tmp_path / "begun").exists(), "what each is to begin with was done"


def test_what_one_of_them_cannot_open_is_said_to_who_asks(url: str):
    async def stepping(forks: FoldingForks) -> None:
        async with opened(url):
            fork = forks.take()
            assert fork is not None
            try:
                await fork.step(BATCH, [0])
            finally:
                fork.end()

    with FoldingForks(partial(opened, url, "another town"), 1) as forks, pytest.raises(GenerationError):
        asyncio.run(stepping(forks))


def asking_until_killed(url: str, there: Connection) -> None:
    vars(folding_forks).update(WORTH=1, BATCH=BATCH)
    with FoldingForks(partial(slow, url, there), 2) as forks:
        asyncio.run(caught_up(url, forks))


@asynccontextmanager
async def slow(url: str, there: Connection) -> AsyncIterator[Projector]:
    """Who asks is killed as soon as this one is there, which holds ``there`` open for as long as it lives."""
    signal.alarm(30)
    os.kill(os.getppid(), signal.SIGKILL)
    async with opened(url) as projector:
        yield projector


def test_who_asked_is_killed_and_none_is_left(url: str):
    killed_and_nobody_is_left(asking_until_killed, url)
