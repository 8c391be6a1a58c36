"""Group commit: those who publish at once share a transaction, and each gets the answers to its own events."""

import asyncio
import sqlite3
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engage.events.sealing import AccountKey
from engage.log.contract import Answer, Taken, Token
from engage.log.sqlite import LogMovedError
from engage.services.committing import AbandonedError
from engage.services.gathering import Gathering


class Ledger:
    """Takes events in as a log does, and notes what came together."""

    def __init__(self) -> None:
        self.commits: list[list[bytes]] = []
        self.fails = False

    async def append(self, events: Sequence[bytes]) -> list[Answer]:
        if self.fails:
            raise OSError("disk full")
        self.commits.append(list(events))
        return [Taken(Token(0, int(event))) for event in events]


class Door:
    """What comes is taken as it is; of what begins with a letter the key is there when ``made`` is."""

    def __init__(self) -> None:
        self.made = asyncio.Event()
        self.fails = False

    def look(self, events: Sequence[bytes]) -> Any:
        without = {event[:1].decode() for event in events if event[:1].isalpha()}
        return SimpleNamespace(without=without, sealed=lambda keys: [event[bool(keys) :] for event in events])

    async def take(self, events: Sequence[bytes]) -> Any:
        looked = self.look(events)
        return looked.sealed(await self.keys(looked.without) if looked.without else {})

    async def keys(self, owners: set[str]) -> dict[str, AccountKey]:
        await self.made.wait()
        if self.fails:
            raise OSError("no room for keys")
        return dict.fromkeys(owners, AccountKey(1, b""))


def gathering_of(append: Any, door: Door | None = None, **said: Any) -> Any:
    return Gathering(cast(Any, door or Door()), append, **said)


def batches(*sizes: int) -> list[list[bytes]]:
    numbers = iter(range(sum(sizes)))
    return [[str(next(numbers)).encode() for _ in range(size)] for size in sizes]


def numbers(answers: Sequence[Answer]) -> list[int]:
    return [answer.token.offset for answer in answers if isinstance(answer, Taken)]


async def test_who_publishes_at_once_is_committed_together_and_answered_apart():
    ledger = Ledger()
    gathering = gathering_of(ledger.append)
    asked = batches(3, 1, 2)
    answers = await asyncio.gather(*map(gathering.publish, asked))
    assert len(ledger.commits) == 1
    assert [numbers(each) for each in answers] == [[0, 1, 2], [3], [4, 5]]


async def test_a_commit_is_bounded_and_what_is_larger_than_one_is_taken_in_order():
    ledger = Ledger()
    gathering = gathering_of(ledger.append, most=4)
    answers = await asyncio.gather(*map(gathering.publish, batches(3, 9, 2)))
    assert [numbers(each) for each in answers] == [[0, 1, 2], list(range(3, 12)), [12, 13]]
    assert max(map(len, ledger.commits)) <= 4


async def test_what_comes_after_everything_was_answered_is_answered_too():
    gathering = gathering_of(Ledger().append)
    for number in range(20):
        assert numbers(await asyncio.wait_for(gathering.publish([str(number).encode()]), 5)) == [number]


async def test_where_many_publish_the_next_who_come_are_waited_for_a_little():
    ledger = Ledger()
    gathering = gathering_of(ledger.append, at_once=3, apart=0.2)
    await asyncio.gather(*map(gathering.publish, batches(1, 1, 1, 1)))
    early = asyncio.create_task(gathering.publish([b"4"]))
    await asyncio.sleep(0.02)
    assert numbers(await gathering.publish([b"5"])) == [5]
    assert numbers(await early) == [4]
    assert [len(commit) for commit in ledger.commits] == [4, 2]


async def test_who_publishes_alone_waits_for_nobody():
    gathering = gathering_of(Ledger().append, apart=60)
    for number in range(20):
        assert numbers(await asyncio.wait_for(gathering.publish([str(number).encode()]), 5)) == [number]


async def test_who_waits_for_a_new_key_is_taken_in_a_later_call_and_whole():
    door, ledger = Door(), Ledger()
    gathering = gathering_of(ledger.append, door)
    new = asyncio.create_task(gathering.publish([b"a1", b"b2"]))
    assert [numbers(await each) for each in map(gathering.publish, ([b"3"], [b"4"]))] == [[3], [4]]
    assert not new.done()
    door.made.set()
    assert numbers(await new) == [1, 2]
    assert ledger.commits == [[b"3"], [b"4"], [b"1", b"2"]]


async def test_who_is_given_no_key_is_told_and_nobody_else():
    door, ledger = Door(), Ledger()
    door.fails = True
    door.made.set()
    gathering = gathering_of(ledger.append, door)
    new, other = await asyncio.gather(*map(gathering.publish, ([b"a1"], [b"2"])), return_exceptions=True)
    assert (str(new), numbers(other)) == ("no room for keys", [2])
    assert ledger.commits == [[b"2"]]


async def test_who_gave_up_while_a_key_was_made_has_published_nothing():
    door, ledger = Door(), Ledger()
    gathering = gathering_of(ledger.append, door)
    gone = asyncio.create_task(gathering.publish([b"a1"]))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    door.made.set()
    assert numbers(await gathering.publish([b"2"])) == [2]
    assert ledger.commits == [[b"2"]]


async def test_who_cannot_be_taken_sinks_nobody_who_came_at_the_same_time():
    class Choosy(Ledger):
        async def append(self, events: Sequence[bytes]) -> list[Answer]:
            if b"1" in events:
                raise ZeroDivisionError("a bug that this event meets")
            return await super().append(events)

    gathering = gathering_of(Choosy().append)
    first, broken, last = await asyncio.gather(*map(gathering.publish, batches(1, 1, 2)), return_exceptions=True)
    assert isinstance(broken, ZeroDivisionError)
    assert [numbers(each) for each in (first, last) if not isinstance(each, BaseException)] == [[0], [2, 3]]


async def test_who_shares_a_commit_that_fails_is_told_and_the_next_one_goes_on():
    ledger = Ledger()
    gathering = gathering_of(ledger.append)
    ledger.fails = True
    failed = await asyncio.gather(*map(gathering.publish, batches(1, 1)), return_exceptions=True)
    assert [str(error) for error in failed] == ["disk full", "disk full"]
    ledger.fails = False
    assert numbers(await gathering.publish([b"7"])) == [7]


class Failing(Ledger):
    """A log that fails so often, each time with ``error``."""

    def __init__(self, error: Exception, times: int) -> None:
        super().__init__()
        self.error = error
        self.times = times

    async def append(self, events: Sequence[bytes]) -> list[Answer]:
        await asyncio.sleep(0)
        if self.times:
            self.times -= 1
            raise self.error
        return await super().append(events)


async def test_of_a_log_that_cannot_be_written_to_all_are_told_at_once():
    ledger = Failing(sqlite3.OperationalError("database or disk is full"), 1)
    failed = await asyncio.gather(*map(gathering_of(ledger.append).publish, batches(1, 1, 1)), return_exceptions=True)
    assert [str(error) for error in failed] == ["database or disk is full"] * 3
    assert (ledger.times, ledger.commits) == (0, [])


@pytest.mark.parametrize("error", [AbandonedError("what came before failed"), LogMovedError("another was here")])
async def test_who_came_behind_a_commit_that_failed_is_taken_together_after_it(error):
    ledger = Failing(error, 2)
    answers = await asyncio.gather(*map(gathering_of(ledger.append).publish, batches(1, 2)))
    assert [numbers(each) for each in answers] == [[0], [1, 2]]
    assert len(ledger.commits) == 1


async def test_who_gave_up_before_the_commit_has_published_nothing():
    ledger = Ledger()
    gathering = gathering_of(ledger.append)
    gone = asyncio.create_task(gathering.publish([b"1"]))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert numbers(await gathering.publish([b"2"])) == [2]
    assert ledger.commits == [[b"2"]]
