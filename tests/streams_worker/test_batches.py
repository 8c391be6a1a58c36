"""Batches on their way from the consumer to whoever owns their partition: none is missed, none is jumped over."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord
from faust.types import TP

from engage.services.faust_batches import BATCH, Batch, BatchScheduler, Fetched
from engage.services.streams_shares import Owner, Shares

pytestmark = pytest.mark.anyio

HERE = TopicPartition("log", 0)


def record(offset: int, partition: int = 0) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord("log", partition, offset, 0, 1, b"k", b"v", None, 1, 1, ())


def fetched(offsets: Sequence[int], *, start: int, partition: int = 0) -> Fetched:
    found = Fetched(record(offset, partition) for offset in offsets)
    found.start, found.end = start, offsets[-1] + 1
    return found


def batch(start: int, end: int) -> Batch:
    return Batch("log", 0, start, end, [record(offset) for offset in range(start, end)])


class Reader:
    """An owner that remembers what it was handed."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.closed = False

    async def take(self, records: Sequence[Any], now: datetime) -> None:
        self.offsets += [each.offset for each in records]

    async def idle(self, now: datetime) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        self.closed = True


class Slow(Reader):
    """Does not end its first batch before it may."""

    def __init__(self) -> None:
        super().__init__()
        self.at_work = asyncio.Event()
        self.may_end = asyncio.Event()
        self.taken: list[range] = []

    async def take(self, records: Sequence[Any], now: datetime) -> None:
        self.taken.append(range(records[0].offset, records[-1].offset + 1))
        self.at_work.set()
        await self.may_end.wait()


def shares(reader: Reader, position: int = 100) -> Shares:
    async def claim(tp: TopicPartition) -> tuple[Owner, int]:
        return reader, position

    return Shares(claim, lambda: datetime.now(UTC))


async def owned(reader: Reader) -> Shares:
    made = shares(reader)
    await made.assign([], [HERE])
    await made.ready()
    return made


def test_a_fetch_is_cut_into_batches_that_join_without_a_gap():
    offsets = [each for each in range(3, 2 * BATCH + 1_000) if each % 50]  # markers have taken the others
    batches = list(fetched(offsets, start=2).batches())
    assert [len(each.records) for each in batches] == [BATCH, BATCH, len(offsets) - 2 * BATCH]
    assert batches[0].start == 2
    assert batches[-1].end == offsets[-1] + 1
    assert all(before.end == after.start for before, after in pairwise(batches))


def test_partitions_take_turns_and_each_batch_travels_as_one_record():
    got = {TP("log", p): fetched(range(BATCH + 1), start=0, partition=p) for p in (0, 1)}
    handed = list(BatchScheduler().iterate(got))
    assert [tp.partition for tp, _ in handed] == [0, 1, 0, 1]
    assert [one.offset for _, one in handed] == [BATCH - 1, BATCH - 1, BATCH, BATCH]
    assert isinstance(handed[0][1].value, Batch)


async def test_batches_that_follow_each_other_are_taken():
    reader = Reader()
    made = await owned(reader)
    assert await made.take(batch(100, 105)) is None
    assert await made.take(batch(105, 110)) is None
    assert reader.offsets == list(range(100, 110))
    assert made.positions() == {HERE: 110}


async def test_what_came_while_the_owner_was_at_work_is_taken_together():
    reader = Slow()
    made = await owned(reader)
    taking = [asyncio.ensure_future(made.take(batch(start, start + 5))) for start in (100, 105, 110)]
    await reader.at_work.wait()
    taking += [asyncio.ensure_future(made.take(batch(start, start + 5))) for start in (115, 113, 118)]
    reader.may_end.set()
    assert await asyncio.gather(*taking) == [None] * 6
    assert reader.taken == [range(100, 105), range(105, 120), range(113, 123)], "what overlaps comes by itself"
    assert made.positions() == {HERE: 123}


async def test_a_batch_that_would_jump_over_records_is_not_taken_but_read_again():
    reader = Reader()
    made = await owned(reader)
    assert await made.take(batch(105, 110)) == 100
    assert reader.offsets == []
    assert made.positions() == {HERE: 100}


async def test_nothing_is_taken_between_the_call_for_rest_and_the_next_assignment():
    reader = Reader()
    made = await owned(reader)
    await made.take(batch(100, 105))
    await made.rest()
    assert await made.take(batch(105, 110)) is None
    await made.assign([], [])
    await made.ready()
    assert made.positions() == {HERE: 105}, "what is kept goes on from where it was"
    await made.take(batch(105, 110))
    assert reader.offsets == list(range(100, 110))


async def test_what_is_revoked_while_it_is_claimed_stops_nobody_who_waits_until_all_is_claimed():
    may_claim = asyncio.Event()

    async def claim(tp: TopicPartition) -> tuple[Owner, int]:
        await may_claim.wait()
        return Reader(), 100

    made, elsewhere = Shares(claim, lambda: datetime.now(UTC)), TopicPartition("log", 1)
    await made.assign([], [HERE, elsewhere])
    waiting = asyncio.create_task(made.ready())
    await asyncio.sleep(0)
    await made.rest()
    await made.assign([elsewhere], [])
    may_claim.set()
    await waiting
    await made.take(batch(100, 105))
    assert made.positions() == {HERE: 100}, "what was shared out before the call for rest does not flow"
    await made.ready()
    await made.take(batch(100, 105))
    assert made.positions() == {HERE: 105}


async def test_what_is_revoked_is_given_up_and_what_was_fetched_of_it_dropped():
    reader = Reader()
    made = await owned(reader)
    await made.assign([HERE], [])
    assert reader.closed
    assert made.positions() == {}
    assert await made.take(batch(100, 105)) is None
    assert reader.offsets == []


async def test_a_partition_that_was_fetched_and_never_came_is_read_again(monkeypatch: pytest.MonkeyPatch):
    made = await owned(Reader())
    later = asyncio.get_running_loop().time() + 60
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: later)
    assert made.missed({HERE: 100}) == {}
    assert made.missed({HERE: 140}) == {HERE: 100}
