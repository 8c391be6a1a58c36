"""One partition's transactional producer: whoever starts it next ends our transaction and shuts us out."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import IllegalOperation, InvalidProducerEpoch, KafkaError, ProducerFenced
from msgspec import Struct

from engage.log.topics import MAX_RECORD_BYTES, broker_errors

_BATCH_BYTES = 1 << 20
_CONNECT_SECONDS = 60.0
_CLOSE_SECONDS = 5.0
_RETRY_MS = 20


class FencedError(RuntimeError):
    """Another worker owns the partition now and nothing of ours was written: end this process, start it again."""


class OffsetError(RuntimeError):
    """A record stands elsewhere than it must: nothing was written."""


class Outgoing(Struct, frozen=True, gc=False):
    """A record on its way to a topic; ``value`` None is a tombstone.

    ``timestamp`` is in milliseconds, None for now; ``partition`` None is the producer's own.
    """

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] | None = None
    timestamp: int | None = None
    partition: int | None = None


class FencedProducer:
    """Writes to partition ``partition`` of several topics, a batch of records of each in one transaction.

    ``name`` is the same whoever owns the partition: it is by this that the broker knows the predecessor.
    """

    def __init__(self, bootstrap: str, name: str, partition: int) -> None:
        self.name = name
        self.partition = partition
        self._bootstrap = bootstrap
        self._producer: Any = None

    async def claim(self) -> Self:
        """End the predecessor's open transaction and bump the epoch: from here on it cannot write.

        BrokerUnavailableError if Kafka is away.
        """
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            transactional_id=self.name,
            acks="all",
            max_batch_size=_BATCH_BYTES,
            max_request_size=2 * MAX_RECORD_BYTES,
            # Each transaction waits this long, not 100 ms, when the broker has not quite done with the one before.
            retry_backoff_ms=_RETRY_MS,
        )
        try:
            with broker_errors(self._bootstrap, f"claiming {self.name}"):
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await self._producer.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def close(self) -> None:
        """Give the partition up; an open transaction is aborted by whoever claims it next."""
        if self._producer is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._producer.stop()
        except (TimeoutError, KafkaError):
            # Kafka is away: what waits for its answer fails with the connection.
            await self._producer.client.close()

    async def commit(self, records: Iterable[tuple[str, Sequence[Outgoing]]], *, at: int | None = None) -> int:
        """Write records, by topic, all or none; the first one's offset. FencedError if another owns the partition.

        ``at``: the offset that the first of them must get; OffsetError if it got another, and nothing is written.
        """
        producer = self._producer
        sent: list[Any] = []
        try:
            await producer.begin_transaction()
            for topic, outgoing in records:
                await self._queue(topic, outgoing, sent)
            # aiokafka commits even when a batch of the transaction failed, so each is waited for first.
            written = await asyncio.gather(*sent)
            if at is not None and written[0].offset != at:
                raise OffsetError(
                    f"a record that was to stand at {at} of {written[0].topic}:{self.partition} stands at "
                    f"{written[0].offset}: somebody else writes there; end them, then begin again"
                )
            await producer.commit_transaction()
            return int(written[0].offset) if written else -1
        except (ProducerFenced, InvalidProducerEpoch, IllegalOperation) as error:
            # What was fenced while records were queued has no transaction any more when the next one is.
            raise FencedError(
                f"another worker has claimed {self.name}; what we held of it was not written, and it has taken over. "
                "Start this worker again"
            ) from error
        except (KafkaError, OffsetError):
            with contextlib.suppress(KafkaError, AssertionError):
                await producer.abort_transaction()
            raise
        finally:
            for future in sent:
                future.cancel()

    async def _queue(self, topic: str, outgoing: Sequence[Outgoing], sent: list[Any]) -> None:
        """Queue the records as whole batches, 0.1 µs each: one by one they take 20."""
        by_partition: dict[int, list[Outgoing]] = {}
        for record in outgoing:
            home = self.partition if record.partition is None else record.partition
            by_partition.setdefault(home, []).append(record)
        now = int(time.time() * 1_000)
        for home, records in by_partition.items():
            for batch in _packed(self._producer.create_batch, records, now):
                queued = await self._producer.send_batch(batch, topic, partition=home)
                sent.append(queued)


def _packed(create: Callable[[], Any], records: Iterable[Outgoing], now: int) -> Iterator[Any]:
    """The records in as many batches as they need, each closed; ``now`` is the time of those that have none.

    They are put where aiokafka's ``append`` puts them, which is three calls of Python and takes four times as long.
    """
    batch, count = create(), 0
    put = batch._builder.append
    for record in records:
        timestamp = now if record.timestamp is None else record.timestamp
        headers = record.headers or []
        if put(count, timestamp, record.key, record.value, headers) is None:
            yield _closed(batch, count)
            batch, count = create(), 0
            put = batch._builder.append
            put(count, timestamp, record.key, record.value, headers)
        count += 1
    yield _closed(batch, count)


def _closed(batch: Any, count: int) -> Any:
    batch._relative_offset = count
    batch.close()
    return batch
