"""What every log promises, as tests that an adapter inherits to prove itself.

    class TestMyLog(LogContract):
        @pytest.fixture
        async def platform(self) -> AsyncIterator[Platform]:
            ...

They run with pytest and anyio's plugin. A log may hold records of its own (ticks, activated rules, decisions) between
those that the tests publish, so only what carries the tests' own source is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest
from msgspec import Raw

from engage.events import codec
from engage.events.catalogue.commerce import OrderCompleted, ProductsSearched
from engage.events.envelope import Event
from engage.events.validation import Refusal
from engage.log.contract import Answer, Duplicate, Log, LogGapError, Record, Taken
from engage.log.partitioning import partition_of

SOURCE = "test/log-contract"


class Platform(Protocol):
    """An empty log with its way in, ready to be used."""

    @property
    def log(self) -> Log: ...

    async def publish(self, events: Sequence[bytes | Event[Raw]]) -> list[Answer]:
        """As ``Publisher.publish``, with the edge's checks."""
        ...

    async def settle(self) -> None:
        """Wait until everything that was published is on the log."""
        ...


def order(number: int, account: str = "account-1", **more: Any) -> bytes:
    """An order that was placed just now, as CloudEvents JSON."""
    event = codec.new_event(
        OrderCompleted(order_id=f"order-{number}", total=10.0 + number),
        id=f"order-{number}",
        source=SOURCE,
        subject=account,
        time=more.get("time", datetime.now(UTC)),
    )
    return codec.encode(event)


def unknown(event_id: str, account: str, data: object) -> bytes:
    """An event of a type that no catalogue names."""
    event = Event(
        specversion="1.0",
        id=event_id,
        source=SOURCE,
        type="Gift Wrapped",
        subject=account,
        time=datetime.now(UTC),
        data=Raw(codec.encode(data)),
    )
    return codec.encode(event)


async def records_of(log: Log, partition: int, limit: int = 1_000) -> list[Record]:
    """All records of a partition, read ``limit`` at a time."""
    found: list[Record] = []
    position, end = 0, await log.end(partition)
    while position < end:
        batch = await log.read(partition, position, limit)
        assert len(batch.records) <= limit
        assert batch.next_position > position, "a read before the end gets on"
        found += batch.records
        position = batch.next_position
    return found


async def published(log: Log) -> list[Event[Raw]]:
    """The tests' own events, partition by partition, in the order of the log."""
    events = [
        codec.decode(record.value) for partition in range(log.partitions) for record in await records_of(log, partition)
    ]
    return [event for event in events if event.source.startswith(SOURCE)]


async def ids_on(log: Log) -> list[str]:
    """The ids of the tests' own events, as often as they are on the log."""
    return [event.id for event in await published(log)]


@pytest.mark.anyio
class LogContract:
    """The promises of *publish* and *log*, for an adapter whose ``platform`` fixture the subclass gives."""

    async def test_what_is_published_is_read_in_order_and_recorded_never_goes_back(self, platform: Platform) -> None:
        for start in range(0, 60, 20):
            events = [order(number, f"account-{number % 5}") for number in range(start, start + 20)]
            assert all(isinstance(answer, Taken) for answer in await platform.publish(events))
        await platform.settle()
        for account in range(5):
            partition = partition_of(f"account-{account}", platform.log.partitions)
            mine = [codec.decode(record.value) for record in await records_of(platform.log, partition)]
            ids = [event.id for event in mine if event.subject == f"account-{account}" and event.source == SOURCE]
            assert ids == [f"order-{number}" for number in range(account, 60, 5)]
        for partition in range(platform.log.partitions):
            records = await records_of(platform.log, partition)
            recorded = [record.recorded for record in records]
            assert recorded == sorted(recorded)
            assert [record.offset for record in records] == sorted({record.offset for record in records})

    async def test_a_record_says_where_it_stands_and_when_it_was_recorded(self, platform: Platform) -> None:
        before = datetime.now(UTC)
        await platform.publish([order(1)])
        await platform.settle()
        partition = partition_of("account-1", platform.log.partitions)
        records = await records_of(platform.log, partition)
        mine = [record for record in records if codec.decode(record.value).source == SOURCE]
        assert [record.partition for record in mine] == [partition]
        assert mine[0].recorded == codec.decode(mine[0].value).recorded
        assert abs(mine[0].recorded - before) < timedelta(minutes=1)
        assert (await platform.log.read(partition, mine[0].offset, 1)).records == [mine[0]]

    async def test_a_duplicate_is_counted_once(self, platform: Platform) -> None:
        again = order(1)
        first = await platform.publish([again, order(2)])
        second = await platform.publish([again, again, order(3)])
        assert all(isinstance(answer, Taken) for answer in first)
        assert all(isinstance(answer, Taken | Duplicate) for answer in second)
        await platform.settle()
        await platform.publish([again])
        await platform.settle()
        assert await ids_on(platform.log) == ["order-1", "order-2", "order-3"]

    async def test_the_same_id_of_another_source_or_account_is_another_event(self, platform: Platform) -> None:
        same = [order(1, "account-1"), order(1, "account-2")]
        other_source = codec.decode(order(1, "account-1"))
        other_source.source = f"{SOURCE}/other"
        assert all(isinstance(answer, Taken) for answer in await platform.publish([*same, other_source]))
        await platform.settle()
        found = sorted((event.subject, event.source) for event in await published(platform.log))
        assert found == [("account-1", SOURCE), ("account-1", f"{SOURCE}/other"), ("account-2", SOURCE)]

    async def test_a_bad_event_is_refused_with_its_fault_and_sinks_no_other(self, platform: Platform) -> None:
        bad = codec.decode(order(2))
        bad.data = Raw(b'{"order_id":"order-2","total":"ten"}')
        answers = await platform.publish([order(1), codec.encode(bad), b"{ no json", order(3)])
        assert [type(answer) for answer in answers] == [Taken, Refusal, Refusal, Taken]
        wrong, garbage = answers[1], answers[2]
        assert isinstance(wrong, Refusal)
        assert [fault.pointer for fault in wrong.faults] == ["/data/total"]
        assert isinstance(garbage, Refusal)
        assert garbage.reason == "not_json"
        await platform.settle()
        assert await ids_on(platform.log) == ["order-1", "order-3"]

    async def test_an_unknown_type_is_kept_and_sealed_whole(self, platform: Platform) -> None:
        await platform.publish([unknown("gift-1", "account-1", {"for": "Aunt Eleanor"})])
        await platform.settle()
        kept = await published(platform.log)
        assert [event.type for event in kept] == ["Gift Wrapped"]
        assert b"Eleanor" not in codec.encode(kept[0])

    async def test_a_personal_field_cannot_be_read_in_what_is_stored(self, platform: Platform) -> None:
        search = codec.new_event(
            ProductsSearched(query="gifts for Aunt Eleanor"),
            id="search-1",
            source=SOURCE,
            subject="account-1",
            time=datetime.now(UTC),
        )
        await platform.publish([search])
        await platform.settle()
        records = await records_of(platform.log, partition_of("account-1", platform.log.partitions))
        assert any(b"search-1" in record.value for record in records)
        assert not any(b"Eleanor" in record.value for record in records)

    async def test_reading_in_small_steps_loses_nothing(self, platform: Platform) -> None:
        await platform.publish([order(number) for number in range(50)])
        await platform.settle()
        partition = partition_of("account-1", platform.log.partitions)
        whole = await records_of(platform.log, partition)
        assert len(whole) >= 50
        for limit in (1, 7, 50):
            assert await records_of(platform.log, partition, limit) == whole

    async def test_two_readers_of_a_partition_do_not_disturb_each_other(self, platform: Platform) -> None:
        await platform.publish([order(number) for number in range(30)])
        await platform.settle()
        partition = partition_of("account-1", platform.log.partitions)
        whole = await records_of(platform.log, partition)
        readings = await asyncio.gather(*(records_of(platform.log, partition, limit) for limit in (3, 5)))
        assert readings == [whole, whole]

    async def test_at_the_end_there_is_nothing_and_the_position_stays(self, platform: Platform) -> None:
        await platform.publish([order(1)])
        await platform.settle()
        for partition in range(platform.log.partitions):
            end = await platform.log.end(partition)
            batch = await platform.log.read(partition, end, 10)
            assert list(batch.records) == []
            assert batch.next_position == end

    async def test_a_position_that_the_log_never_had_is_a_gap_and_no_jump(self, platform: Platform) -> None:
        await platform.publish([order(1)])
        await platform.settle()
        partition = partition_of("account-1", platform.log.partitions)
        end = await platform.log.end(partition)
        with pytest.raises(LogGapError):
            await platform.log.read(partition, end + 1_000, 10)

    async def test_a_moment_is_found_as_a_position(self, platform: Platform) -> None:
        for start in range(0, 30, 10):
            await platform.publish([order(number) for number in range(start, start + 10)])
            await platform.settle()
        partition = partition_of("account-1", platform.log.partitions)
        records = await records_of(platform.log, partition)
        for moment in {record.recorded + step for record in records for step in _AROUND}:
            at_or_after = [record for record in records if record.recorded >= moment]
            position = await platform.log.position_at(partition, moment)
            found = (await platform.log.read(partition, position, 1)).records
            assert list(found) == at_or_after[:1]
            if not at_or_after:
                assert position == await platform.log.end(partition)

    async def test_an_account_stays_in_the_partition_its_name_gives(self, platform: Platform) -> None:
        await platform.publish([order(number, f"account-{number % 8}") for number in range(40)])
        await platform.settle()
        for partition in range(platform.log.partitions):
            for record in await records_of(platform.log, partition):
                event = codec.decode(record.value)
                if event.source == SOURCE:
                    assert partition_of(event.subject, platform.log.partitions) == partition

    async def test_two_publishers_at_once_lose_nothing(self, platform: Platform) -> None:
        async def publish(numbers: range) -> None:
            for number in numbers:
                answers = await platform.publish([order(number, f"account-{number % 3}")])
                assert isinstance(answers[0], Taken)

        await asyncio.gather(publish(range(30)), publish(range(30, 60)))
        await platform.settle()
        assert sorted(await ids_on(platform.log)) == sorted(f"order-{number}" for number in range(60))

    async def test_waiting_ends_when_something_new_is_there_and_not_before(self, platform: Platform) -> None:
        ends = {partition: await platform.log.end(partition) for partition in range(platform.log.partitions)}
        assert not await platform.log.wait(ends, 0.05)
        waiting = asyncio.create_task(platform.log.wait(ends, 30))
        await platform.publish([order(1)])
        assert await waiting

    async def test_the_generation_names_the_log(self, platform: Platform) -> None:
        generation = platform.log.generation
        assert generation
        await platform.publish([order(1)])
        await platform.settle()
        assert platform.log.generation == generation


_AROUND = [timedelta(microseconds=step) for step in (-1, 0, 1)]
