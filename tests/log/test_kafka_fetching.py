"""What is read of a partition is the same however it was written, and in whatever steps it is read."""

from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer

from engage.events import codec
from engage.events.catalogue.commerce import OrderCompleted
from engage.log.contract import Record
from engage.log.kafka_fetching import FETCH_BYTES
from engage.testing.events import happened
from tests.log.kafka_platform import KafkaPlatform, kafka_platform

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@pytest.fixture
async def platform(kafka: str) -> AsyncIterator[KafkaPlatform]:
    async with kafka_platform(kafka, partitions=1) as platform:
        yield platform


async def write(platform: KafkaPlatform, producer: AIOKafkaProducer, values: list[bytes], *, aborts: bool) -> None:
    """A transaction of these, in batches that are sent before it ends."""
    await producer.begin_transaction()
    for value in values:
        await producer.send(platform.topics.interactions, value, partition=0)
    await producer.flush()
    await (producer.abort_transaction() if aborts else producer.commit_transaction())


async def read(platform: KafkaPlatform, position: int, limit: int) -> list[Record]:
    """Everything from ``position`` on, ``limit`` records at a time."""
    end, found = await platform.log.end(0), list[Record]()
    while position < end:
        batch = await platform.log.read(0, position, limit)
        assert len(batch.records) <= limit
        assert batch.next_position > position
        found += batch.records
        position = batch.next_position
    return found


@pytest.mark.parametrize("compression", [None, "gzip"])
async def test_records_are_the_same_in_whatever_steps_they_are_read(
    platform: KafkaPlatform, compression: str | None
) -> None:
    written: list[bytes] = []
    async with (
        AIOKafkaProducer(
            bootstrap_servers=platform.bootstrap, transactional_id=f"a-{platform.topics.prefix}", linger_ms=5
        ) as one,
        AIOKafkaProducer(
            bootstrap_servers=platform.bootstrap,
            transactional_id=f"b-{platform.topics.prefix}",
            compression_type=compression,
        ) as other,
    ):
        await other.begin_transaction()
        for turn in range(4):
            values = [f"one {turn} {number}".encode() for number in range(7)]
            await write(platform, one, values, aborts=turn % 2 == 0)
            written += values if turn % 2 else []
            beside = f"other {turn}".encode() * 3
            await other.send_and_wait(platform.topics.interactions, beside, partition=0)
            written.append(beside)
        await other.commit_transaction()
    whole = await read(platform, 0, 1_000)
    assert sorted(record.value for record in whole) == sorted(written)
    assert [record.offset for record in whole] == sorted({record.offset for record in whole})
    for limit in (1, 2, 3, 7):
        assert await read(platform, 0, limit) == whole
    for position in range(whole[-1].offset + 1):
        assert await read(platform, position, 5) == [record for record in whole if record.offset >= position]


async def test_a_reader_that_goes_back_or_ahead_sees_nothing_of_what_was_fetched_for_it_elsewhere(
    platform: KafkaPlatform,
) -> None:
    size = FETCH_BYTES // 40
    async with AIOKafkaProducer(bootstrap_servers=platform.bootstrap, max_batch_size=1 << 19) as producer:
        for number in range(100):  # two fetches and a half
            value = number.to_bytes(2) * (size // 2)
            await producer.send(platform.topics.interactions, value, partition=0)
        await producer.flush()
    for position in (0, 39, 5, 99, 41, 80, 0):
        batch = await platform.log.read(0, position, 100)
        assert [record.offset for record in batch.records][:1] == [position]
        assert all(record.value[:2] == record.offset.to_bytes(2) for record in batch.records)
    assert [record.offset for record in await read(platform, 0, 30)] == list(range(100))


async def test_a_record_tells_when_it_was_recorded_from_its_event(platform: KafkaPlatform) -> None:
    told = happened(OrderCompleted(order_id="o-1", total=1.0), at="2026-03-01T12:00:00.123456")
    async with AIOKafkaProducer(bootstrap_servers=platform.bootstrap) as producer:
        await producer.send_and_wait(platform.topics.interactions, codec.encode(told), partition=0)
    [record] = await read(platform, 0, 10)
    assert record.recorded == told.now
