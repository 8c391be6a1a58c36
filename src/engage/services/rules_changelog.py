"""The changelog of a partition's rules: the engine's cells and what they are a fold of, kept by Kafka, read in batches.

It is a cache of the log: deleted, or trimmed at its front, it is folded anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct

from engage.log.kafka_fetching import FETCH_BYTES
from engage.log.topics import broker_errors
from engage.services.kafka_transaction import Outgoing

_PLACE = b"\0place"
_SEPARATOR = "\0"
_NEAR_THE_END = 256
_FETCH_WAIT_MS = 200
_RETRY_MS = 20
"""The first question about a partition is asked before its leader is known, and again after this long."""


class Place(Struct, frozen=True):
    """Where the cells stand: a fold of the log ``generation`` up to ``position``, by the rules in ``basis``.

    ``begins`` is the first offset of the changelog when they were all written to it. ``decided``: the log may hold
    what was decided behind it, by one whose state was lost.
    """

    generation: str
    position: int
    basis: bytes
    begins: int = 0
    decided: bool = False


class Stored(Struct, frozen=True):
    """What the changelog holds: the place, None if it is empty, and the cells ``(rule, account, bytes)``.

    ``begins`` is its first offset. Compaction leaves that alone: behind a place's, some cells may be lost.
    """

    place: Place | None
    cells: list[tuple[str, str, bytes]]
    begins: int


_place = msgspec.msgpack.Decoder(Place).decode


def written(place: Place, cells: Iterable[tuple[str, str, bytes | None]]) -> list[Outgoing]:
    """The records of a changed state: cells (None: nothing left to keep), then their place."""
    records = [Outgoing(f"{rule}{_SEPARATOR}{account}".encode(), value) for rule, account, value in cells]
    return [*records, Outgoing(_PLACE, msgspec.msgpack.encode(place))]


async def load(bootstrap: str, topic: str, partition: int) -> Stored:
    """Read a partition of the changelog up to its last committed record; BrokerUnavailableError if Kafka is away."""
    tp = TopicPartition(topic, partition)
    async with _reader(bootstrap, tp) as consumer:
        begins = (await consumer.beginning_offsets([tp]))[tp]
        found = await _latest(_committed(consumer, tp, begins))
    place = found.pop(_PLACE, None)
    cells = []
    for key, value in found.items():
        rule, _, account = key.decode().partition(_SEPARATOR)
        cells.append((rule, account, value))
    return Stored(_place(place) if place else None, cells, begins)


async def latest(bootstrap: str, topic: str, partition: int) -> dict[bytes, bytes]:
    """What a partition of a compacted topic holds, by key; BrokerUnavailableError if Kafka is away."""
    return await _latest(committed(bootstrap, TopicPartition(topic, partition)))


async def _latest(batches: AsyncIterator[list[Any]]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    async for records in batches:
        for record in records:
            if record.value is None:
                found.pop(record.key, None)
            else:
                found[record.key] = record.value
    return found


async def latest_place(bootstrap: str, topic: str, partition: int) -> Place | None:
    """Where the cells of a partition stand; each transaction writes it last, so that it is found near the end."""
    tp, back = TopicPartition(topic, partition), _NEAR_THE_END
    async with _reader(bootstrap, tp) as consumer:
        end = (await consumer.end_offsets([tp]))[tp]
    while True:
        found = None
        async for records in committed(bootstrap, tp, max(0, end - back)):
            places = [record.value for record in records if record.key == _PLACE]
            found = places[-1] if places else found
        if found is not None or back >= end:
            return _place(found) if found else None
        back *= 16


async def committed(bootstrap: str, tp: TopicPartition, start: int = 0) -> AsyncIterator[list[Any]]:
    """A partition's committed Kafka records from ``start`` up to the end as it is now, batch after batch."""
    async with _reader(bootstrap, tp) as consumer:
        async for records in _committed(consumer, tp, start):
            yield records


async def _committed(consumer: Any, tp: TopicPartition, start: int) -> AsyncIterator[list[Any]]:
    end = (await consumer.end_offsets([tp]))[tp]
    consumer.assign([tp])
    consumer.seek(tp, start)
    while await consumer.position(tp) < end:
        for records in (await consumer.getmany(tp, timeout_ms=_FETCH_WAIT_MS)).values():
            yield records


@asynccontextmanager
async def _reader(bootstrap: str, tp: TopicPartition) -> AsyncIterator[Any]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        # Compaction and retention take records from the front: what is left begins later.
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=_FETCH_WAIT_MS,
        retry_backoff_ms=_RETRY_MS,
    )
    with broker_errors(bootstrap, f"reading {tp.topic}:{tp.partition}"):
        try:
            await consumer.start()
            yield consumer
        finally:
            await consumer.stop()
