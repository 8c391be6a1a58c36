"""Faust by the batch: a partition's fetched records reach an agent as one list, read committed, with nothing missed.

Stock Faust makes four tasks and a wait for each record, 150 µs; its settings ``ConsumerScheduler`` and ``Schema`` let a
list travel as one. Faust 0.15.3 fixes the consumer's isolation level and how long a fetch waits, and seeks to the
group's offsets; here the consumer reads what is committed, and goes on from where the owners of its partitions stand.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import aiokafka
import faust
import structlog
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import ConsumerRecord
from faust.transport.drivers import aiokafka as driver
from faust.transport.utils import DefaultSchedulingStrategy
from faust.types import TP
from msgspec import Struct

BATCH = 8_000
"""Records at most that an agent is handed at once."""
_FETCH_WAIT_MS, _FETCH_ENOUGH = 30, 200_000
"""How long a fetch waits until so many bytes are there: as long as it does, the broker is not asked about other
partitions. What comes meanwhile is one batch and one transaction a partition: at 1,000 events a second batches no
longer queue in front of intake, for 200 ms where the machine is full. A decision, two fetches away, comes 40 ms later
for it: with 50 ms it was 80, of the 100 that it may take."""
_RETRY_MS = 20

_logger = structlog.get_logger(__name__)


class Batch(Struct, frozen=True):
    """Records of a partition in order, all that are committed from ``start`` up to before ``end``."""

    topic: str
    partition: int
    start: int
    end: int
    records: Sequence[Any]


class Fetched(list[Any]):
    """A partition's fetched records, and from where up to where they reach, transaction markers included."""

    start: int
    end: int

    def batches(self) -> Iterator[Batch]:
        """At most ``BATCH`` records each."""
        start = self.start
        for first in range(0, len(self), BATCH):
            records = self[first : first + BATCH]
            end = self.end if first + BATCH >= len(self) else records[-1].offset + 1
            yield Batch(records[-1].topic, records[-1].partition, start, end, records)
            start = end


class Arrived(Struct, gc=False):
    """A Kafka record, its fields named as in aiokafka's ``ConsumerRecord``, but for those that nobody reads."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class BatchScheduler(DefaultSchedulingStrategy):
    """Faust's ``ConsumerScheduler``: hands out batches, a partition after the other in turn."""

    def iterate(self, records: Mapping[TP, Any]) -> Iterator[tuple[TP, Any]]:
        """Each batch as the one record that Faust sees."""
        waiting = {tp: fetched.batches() for tp, fetched in records.items()}
        while waiting:
            for tp in list(waiting):
                batch = next(waiting[tp], None)
                if batch is None:
                    del waiting[tp]
                else:
                    yield tp, _as_record(batch)


class BatchSchema(faust.Schema):  # type: ignore[type-arg]
    """Faust's ``Schema``: the agent gets the ``Batch`` as it is, and decodes what it wants of it."""

    def loads_key(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> None:
        """A batch has no key."""

    def loads_value(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:
        """The batch."""
        return message.value


class _BatchConsumer(aiokafka.AIOKafkaConsumer):  # type: ignore[misc]
    """An aiokafka consumer whose records are ``Arrived``.

    Its own take twice as long to make, and the thousands of them that wait to be worked on were most of what Python's
    collector of garbage looked through, a twentieth of the worker's time.
    """

    async def start(self) -> None:
        await super().start()
        self._fetcher._records = _Answers(self._fetcher._records)


class _Answers(dict[Any, Any]):
    """What brokers sent of each partition, an aiokafka ``FetchResult``: its records are made when they are taken."""

    def __setitem__(self, tp: Any, answer: Any) -> None:
        if isinstance(answer, FetchResult):
            answer._partition_records._consumer_record = _arrived
        super().__setitem__(tp, answer)


def _arrived(tp: TopicPartition, record: Any) -> Arrived:
    return Arrived(
        tp.topic, tp.partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers)
    )


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    """Reads committed records only, and says of each batch from where up to where it reaches."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.reached: dict[TP, int] = {}

    def _create_worker_consumer(self, transport: Any) -> Any:
        conf = self.app.conf
        self._assignor = RoundRobinPartitionAssignor
        return _BatchConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[self._assignor],
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset=conf.consumer_auto_offset_reset,
            max_poll_records=conf.broker_max_poll_records,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1_000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            fetch_min_bytes=_FETCH_ENOUGH,
            retry_backoff_ms=_RETRY_MS,
            request_timeout_ms=int(conf.broker_request_timeout * 1_000),
            session_timeout_ms=int(conf.broker_session_timeout * 1_000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1_000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1_000),
        )

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self.reached.clear()
        await super().on_partitions_assigned(assigned, generation_id)

    async def _seek_wait(self, consumer: Any, partitions: Mapping[TP, int]) -> None:
        self.reached.update(partitions)
        await super()._seek_wait(consumer, partitions)

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: Any,
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's signature
        max_records: int | None = None,
    ) -> Any:
        got = await super()._fetch_records(consumer, active_partitions, timeout, max_records)
        fetched = {}
        for tp, records in got.items():
            found = fetched[tp] = Fetched(records)
            found.start = min(self.reached.get(tp, records[0].offset), records[0].offset)
            found.end = self.reached[tp] = records[-1].offset + 1
        return fetched

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Tell the group how far we are: for tools that show lag, nobody goes on from there."""
        try:
            await self._ensure_consumer().commit({TopicPartition(*tp): offset for tp, offset in offsets.items()})
        except (KafkaError, IllegalStateError, ValueError) as error:
            _logger.debug("offsets not committed", reason=str(error))
            return False
        return True


class _Consumer(driver.Consumer):
    app: Any
    _thread: Any

    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def reached(self) -> Mapping[TP, int]:
        """How far each partition was fetched."""
        reached: Mapping[TP, int] = self._thread.reached
        return reached

    async def perform_seek(self) -> None:
        """Go on from where the partitions' owners stand, and not from what the group has committed."""
        held = self.assignment()
        positions = {tp: offset for tp, offset in self.app.positions().items() if tp in held}
        if positions:
            await self._thread.seek_wait(positions)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust looks for its own acknowledgements here, and there are none."""


class _Transport(driver.Transport):
    Consumer = _Consumer


class BatchApp(faust.App):
    """A Faust app whose agents are handed batches, and whose consumer goes on from ``positions``."""

    positions: Callable[[], Mapping[TP, int]]

    def _new_transport(self) -> _Transport:
        return _Transport(self.conf.broker_consumer, self)

    async def seek(self, positions: Mapping[TP, int]) -> None:
        """Read on from there, where we still hold the partition."""
        consumer: Any = self.consumer
        held = consumer.assignment()
        wanted = {tp: offset for tp, offset in positions.items() if tp in held}
        if wanted:
            await consumer._thread.seek_wait(wanted)

    def reached(self) -> Mapping[TP, int]:
        """How far each partition was fetched; agents may not have been handed all of it yet."""
        consumer: Any = self.consumer
        reached: Mapping[TP, int] = consumer.reached()
        return reached

    def show(self, positions: Mapping[TP, int]) -> Awaitable[bool]:
        """Commit positions to Kafka, so that tools can show the lag."""
        consumer: Any = self.consumer
        shown: Awaitable[bool] = consumer._commit(positions)
        return shown


def _as_record(batch: Batch) -> ConsumerRecord[None, Any]:
    last = batch.records[-1]
    return ConsumerRecord(
        topic=batch.topic,
        partition=batch.partition,
        offset=last.offset,
        timestamp=last.timestamp,
        timestamp_type=0,
        key=None,
        value=batch,
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
        headers=(),
    )
