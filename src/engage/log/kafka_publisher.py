"""Takes interactions in by the inbox of a log on Apache Kafka."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from msgspec import Raw

from engage.events import codec
from engage.events.envelope import PARTITION_SUBJECT, Event
from engage.events.validation import MAX_BYTES, Refusal, check, clean
from engage.log.contract import Answer, Taken, Token
from engage.log.partitioning import partition_of
from engage.log.record_size import oversized
from engage.log.topics import MAX_RECORD_BYTES, Layout, Topics, broker_errors, check_topics

_BATCH_BYTES = 1 << 20

Outgoing = tuple[int, bytes, bytes]
"""An event's place among those that are published together, its key and its value."""


class Gate(Protocol):
    """What checks and seals events from outside (``engage.services.edge.Edge``)."""

    async def take(self, events: Sequence[bytes | Event[Raw]]) -> list[Event[Raw] | Refusal]: ...


class KafkaPublisher:
    """Publishes to the topic ``<prefix>.inbox``; an async context manager.

    With an ``edge``, events are checked and their personal fields sealed before they leave this process; without one
    (engage's own events) they go as they are. A token names partition and offset in the inbox: the log's record of the
    event, or a later one of its partition, has that ``inboxoffset`` or a higher one. Whether an event is a duplicate
    only intake knows, so this never answers ``Duplicate``.
    """

    def __init__(
        self, bootstrap: str, topics: Topics | None = None, *, edge: Gate | None = None, seconds: float = 30.0
    ) -> None:
        self._bootstrap = bootstrap
        self._edge = edge
        self._topics = topics or Topics()
        self._seconds = seconds
        self._layout: Layout | None = None
        self._producer: Any = None
        self._connecting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self._connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Close the connection."""
        producer, self._producer = self._producer, None
        if producer:
            await producer.stop()

    async def publish(self, events: Sequence[bytes | Event[Raw]]) -> list[Answer]:
        """One answer for each event, in order: ``Taken`` once every copy of the inbox has it, or why it is refused.

        BrokerUnavailableError if Kafka did not take all that it should within ``seconds``. Some may have been taken
        then: publish the same again, intake counts each once.
        """
        return await self.append(
            await self._edge.take(events) if self._edge else [_unchecked(event) for event in events]
        )

    async def append(self, checked: Sequence[Event[Raw] | Refusal]) -> list[Answer]:
        """See ``Appender.append``."""
        if not checked:
            return []
        checked = [event if isinstance(event, Refusal) else oversized(event) or event for event in checked]
        answers: list[Answer | None] = [event if isinstance(event, Refusal) else None for event in checked]
        deadline = asyncio.get_running_loop().time() + self._seconds
        sent: list[tuple[list[int], Any]] = []
        with broker_errors(self._bootstrap, f"publishing {answers.count(None)} events to {self._topics.inbox}"):
            async with asyncio.timeout_at(deadline):  # others may be connecting, each for as long as it may wait
                producer, partitions = await self._connect()
            try:
                async with asyncio.timeout_at(deadline):
                    for home, records in _by_partition(checked, partitions).items():
                        await self._send(producer, home, records, sent)
                    done = await asyncio.gather(*(future for _, future in sent))
            except (KafkaError, TimeoutError):
                # After a lost batch an idempotent producer's sequence has a hole: only a new one can go on.
                await self._drop(producer, [future for _, future in sent])
                raise
        for (indices, _), metadata in zip(sent, done, strict=True):
            for place, index in enumerate(indices):
                answers[index] = Taken(Token(metadata.partition, metadata.offset + place))
        return [answer for answer in answers if answer is not None]

    async def _send(
        self, producer: Any, home: int, records: Sequence[Outgoing], sent: list[tuple[list[int], Any]]
    ) -> None:
        """Send whole batches, 3 µs a record where one by one they take 20; ``sent`` says which are in which."""
        now = int(time.time() * 1_000)
        batch, indices = producer.create_batch(), list[int]()
        for index, key, value in records:
            if batch.append(timestamp=now, key=key, value=value) is None:
                sent.append((indices, await producer.send_batch(batch, self._topics.inbox, partition=home)))
                batch, indices = producer.create_batch(), []
                batch.append(timestamp=now, key=key, value=value)
            indices.append(index)
        batch.close()
        sent.append((indices, await producer.send_batch(batch, self._topics.inbox, partition=home)))

    async def _connect(self) -> tuple[Any, int]:
        async with self._connecting:
            if self._layout is None:
                self._layout = await check_topics(self._bootstrap, self._topics)
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    acks="all",
                    enable_idempotence=True,
                    max_batch_size=_BATCH_BYTES,
                    max_request_size=MAX_RECORD_BYTES,
                    request_timeout_ms=int(self._seconds * 1_000),
                )
                with broker_errors(self._bootstrap, "connecting"):
                    try:
                        async with asyncio.timeout(self._seconds):
                            await producer.start()
                    except BaseException:
                        await producer.stop()
                        raise
                self._producer = producer
            return self._producer, self._layout.partitions

    async def _drop(self, producer: Any, futures: list[Any]) -> None:
        if self._producer is producer:
            self._producer = None
        for future in futures:
            future.cancel()
        await producer.stop()


def _by_partition(checked: Sequence[Event[Raw] | Refusal], partitions: int) -> dict[int, list[Outgoing]]:
    """What goes to each partition of the inbox."""
    found: dict[int, list[Outgoing]] = {}
    for index, event in enumerate(checked):
        if isinstance(event, Event):
            home = inbox_partition(event.subject, partitions)
            found.setdefault(home, []).append((index, event.subject.encode(), codec.encode(clean(event))))
    return found


def inbox_partition(subject: str, partitions: int) -> int:
    """Where an event of ``subject`` goes: an account's own partition, or the one that the subject names."""
    if subject.startswith(PARTITION_SUBJECT):
        return int(subject.removeprefix(PARTITION_SUBJECT))
    return partition_of(subject, partitions)


def _unchecked(event: bytes | Event[Raw]) -> Event[Raw] | Refusal:
    """An event of our own; what is not even one is refused as the edge would."""
    if isinstance(event, Event):
        return event
    if len(event) <= MAX_BYTES:
        try:
            return codec.decode(event)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    refused = check(event, datetime.now(UTC))
    assert isinstance(refused, Refusal), "what does not decode is refused"
    return refused
