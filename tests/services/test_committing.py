"""Commits that wait for the disk share a transaction, and one that fails takes with it what builds on it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import pytest

from engage.services.committing import AbandonedError, Committing


class Disk:
    """What was committed, transaction by transaction; while it is ``held``, a commit takes as long as that."""

    def __init__(self) -> None:
        self.transactions: list[list[int]] = []
        self.held = threading.Event()
        self.held.set()
        self.reached = threading.Event()
        self.refused: set[int] = set()

    def commit(self, several: Sequence[int]) -> None:
        self.reached.set()
        assert self.held.wait(10)
        if self.refused & set(several):
            raise OSError("disk full")
        self.transactions.append(list(several))


class Desk:
    """Commits to ``disk``, and how often it was told that something failed."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.failures = 0
        self.committing = Committing[int](self.disk.commit, self._failed)

    def _failed(self) -> None:
        self.failures += 1

    async def begun_while_held(self, *numbers: int) -> list[asyncio.Future[None]]:
        """The first is being committed when the others are begun, and all may go on then."""
        self.disk.held.clear()
        begun = [self.committing.begin(numbers[0])]
        assert await asyncio.to_thread(self.disk.reached.wait, 10)
        begun += [self.committing.begin(number) for number in numbers[1:]]
        self.disk.held.set()
        await self.committing.ended()
        return begun


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    yield desk
    await desk.committing.close()


async def test_what_is_begun_while_one_is_under_way_is_committed_together_and_in_order(desk: Desk) -> None:
    begun = await desk.begun_while_held(1, 2, 3, 4)
    assert desk.disk.transactions == [[1], [2, 3, 4]]
    assert [one.exception() for one in begun] == [None] * 4
    assert desk.failures == 0


async def test_of_those_committed_together_only_the_one_that_fails_and_those_behind_it_are_not(desk: Desk) -> None:
    desk.disk.refused = {3}
    one, two, three, four = await desk.begun_while_held(1, 2, 3, 4)
    assert desk.disk.transactions == [[1], [2]]
    assert one.exception() is two.exception() is None
    assert isinstance(three.exception(), OSError)
    assert isinstance(four.exception(), AbandonedError)
    assert desk.failures == 2


async def test_who_asks_whether_all_is_committed_hears_of_the_last_that_failed(desk: Desk) -> None:
    desk.disk.refused = {1}
    desk.committing.begin(1)
    with pytest.raises(AbandonedError, match="disk full"):
        await desk.committing.committed()
    await desk.committing.sound()
    await desk.committing.begin(2)
    await desk.committing.committed()
    assert desk.disk.transactions == [[2]]


async def test_work_is_done_behind_what_was_begun_before_it(desk: Desk) -> None:
    done: list[list[list[int]]] = []
    begun = desk.committing.begin(1)
    await desk.committing.behind(lambda: done.append(list(desk.disk.transactions)))
    await begun
    assert done == [[[1]]]
