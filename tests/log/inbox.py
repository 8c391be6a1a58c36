"""What upstream systems that write to Kafka themselves do, and what lies in a topic."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from tests.log.kafka_platform import KafkaPlatform

STRUCTURED = [("content-type", b"application/cloudevents+json; charset=UTF-8")]


@asynccontextmanager
async def upstream(platform: KafkaPlatform) -> AsyncIterator["Upstream"]:
    """A system that writes to the inbox as it likes."""
    # Compressed, a record may be larger than the topic would take by itself.
    async with AIOKafkaProducer(
        bootstrap_servers=platform.bootstrap, acks="all", max_request_size=4 << 20, compression_type="gzip"
    ) as producer:
        yield Upstream(platform, producer)


class Upstream:
    def __init__(self, platform: KafkaPlatform, producer: Any) -> None:
        self._platform = platform
        self._producer = producer

    async def send(
        self,
        value: bytes | None,
        partition: int,
        headers: Sequence[tuple[str, bytes | None]] = (),
        key: bytes | None = b"key",
    ) -> int:
        """Write one record to the inbox; its offset there."""
        # As a batch: aiokafka itself would refuse a record without key and value, other clients do not.
        batch = self._producer.create_batch()
        batch.append(timestamp=None, key=key, value=value, headers=list(headers))
        batch.close()
        sent = await (await self._producer.send_batch(batch, self._platform.topics.inbox, partition=partition))
        self._platform.expect(partition, sent.offset)
        return int(sent.offset)


async def records_in(bootstrap: str, topic: str, partition: int) -> list[Any]:
    """Every committed record of a topic's partition, those of a transaction that is just being committed included."""
    found: list[Any] = []
    tp = TopicPartition(topic, partition)
    committed = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed")
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as anything, committed as consumer:
        end = (await anything.end_offsets([tp]))[tp]
        consumer.assign([tp])
        consumer.seek(tp, 0)
        async with asyncio.timeout(30):
            while await consumer.position(tp) < end:
                found += (await consumer.getmany(tp, timeout_ms=200)).get(tp, [])
    return found
