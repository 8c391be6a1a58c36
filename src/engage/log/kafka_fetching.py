"""One partition's records as the brokers send them, the next ones under way while these are worked on.

aiokafka's consumer makes eleven fields of every record and takes it through three iterators, which costs as much as
counting and summing it, and asks for more only when all it had is given away: so its client is asked here by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from itertools import chain, dropwhile, islice
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import CorruptRecordException, KafkaError, LeaderNotAvailableError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.memory_records import MemoryRecords
from msgspec import Struct

from engage.log.contract import Record

FETCH_BYTES = 4 << 20
"""Fetches of 4 MiB: with 1 MiB a fold of small events waits for the network a third of its time."""

PATIENCE = 30.0
"""Seconds that a fetch, and a read, is tried again for."""

_WAIT_MS = 20
"""How long a broker keeps a fetch that finds nothing; nobody fetches at the end of what is committed."""
_RETRY_SECONDS = 0.02
_READ_COMMITTED = 1


class _Part(Struct):
    """A batch of records as it was written, none if nobody is to see them, and the position behind it."""

    records: Iterator[Any]
    next_position: int


class _Answer(Struct):
    """What a broker sent: the ``parts``, the position behind them, the last stable offset, and the size in bytes."""

    parts: deque[_Part]
    next_position: int
    end: int
    size: int


class Fetching:
    """Reads a partition of ``topic`` on from where it stands; one read at a time, whose ``turn`` it is.

    ``client`` is an AIOKafkaClient that knows the topic. ``end`` is the last stable offset as the last fetch told it,
    -1 if there was none.
    """

    def __init__(self, client: Any, topic: str, partition: int) -> None:
        self.home = TopicPartition(topic, partition)
        self.turn = asyncio.Lock()
        self.position = self.end = -1
        self._client = client
        self._parts = deque[_Part]()
        self._ahead: asyncio.Task[_Answer] | None = None

    def move(self, position: int) -> None:
        """Read from ``position`` on; what was fetched for another one is dropped."""
        if position != self.position:
            self.drop()
            self.position = position

    def drop(self) -> None:
        """Forget what was fetched, and where it stands."""
        self._parts.clear()
        self.position = self.end = -1
        if self._ahead is not None:
            self._ahead.cancel()
            self._ahead.add_done_callback(_heard)
            self._ahead = None

    async def take(self, limit: int) -> list[Record]:
        """Some records, perhaps none; the position moves on over transaction markers and aborted records too.

        OffsetOutOfRangeError if the position is not on the log, another KafkaError if brokers do not answer for 30 s.
        """
        if not self._parts:
            await self._receive()
        partition, found = self.home.partition, list[Record]()
        while self._parts and len(found) < limit:
            part, wanted = self._parts[0], limit - len(found)
            came = [Record(partition, one.offset, None, one.value or b"") for one in islice(part.records, wanted)]
            found += came
            if len(came) < wanted:
                self._parts.popleft()
                self.position = part.next_position
            else:
                self.position = came[-1].offset + 1
        return found

    async def _receive(self) -> None:
        ahead, self._ahead = self._ahead, None
        answer = await (self._fetch(self.position) if ahead is None else ahead)
        self._parts, self.end = answer.parts, answer.end
        if 2 * answer.size > FETCH_BYTES and answer.next_position < answer.end:
            self._ahead = asyncio.create_task(self._fetch(answer.next_position))

    async def _fetch(self, position: int) -> _Answer:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return await self._asked(position)
            except KafkaError as error:
                if not error.retriable or time.monotonic() > deadline:
                    raise
                if error.invalid_metadata:
                    self._client.force_metadata_update()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _asked(self, position: int) -> _Answer:
        topic, partition = self.home
        leader = self._client.cluster.leader_for_partition(self.home)
        if leader is None or leader == -1:
            raise LeaderNotAvailableError(f"{topic}:{partition}")
        wanted = [(topic, [(partition, position, FETCH_BYTES)])]
        answer = await self._client.send(leader, FetchRequest(_WAIT_MS, 1, FETCH_BYTES, _READ_COMMITTED, wanted))
        [(_, [(_, code, _, end, *facts, data)])] = answer.topics
        if code:
            raise for_code(code)({self.home: position})
        # Of the facts there are more with every version of the answer; all have this one as a list of pairs.
        aborted = next((fact for fact in facts if isinstance(fact, list)), [])
        parts = deque(_parts(MemoryRecords(data), sorted(aborted, key=lambda one: one[1]), position))
        return _Answer(parts, parts[-1].next_position if parts else position, end, len(data))


def _parts(batches: Any, aborted: list[tuple[int, int]], position: int) -> Iterator[_Part]:
    """The batches of an answer; ``aborted`` are the producers whose transactions came to nothing, each from an offset.

    From there on, up to the marker that says so, a producer's batches are void.
    """
    void, coming = set[int](), deque(aborted)
    while batches.has_next():
        batch = batches.next_batch()
        if not batch.validate_crc():
            raise CorruptRecordException(f"the batch at offset {batch.base_offset} has another checksum than it says")
        while coming and coming[0][1] <= batch.base_offset:
            void.add(coming.popleft()[0])
        seen: Iterator[Any] = iter(())
        if batch.is_control_batch:
            if any(ControlRecord.parse(marker.key) == ABORT_MARKER for marker in batch):
                void.discard(batch.producer_id)
        elif not (batch.is_transactional and batch.producer_id in void):
            seen = chain.from_iterable((batch,))  # it is unpacked when its turn comes, and can be begun once only
            if batch.base_offset < position:  # a batch is sent whole, wherever in it the reader stands
                seen = dropwhile(lambda record: record.offset < position, seen)
        yield _Part(seen, batch.next_offset)


def _heard(ahead: asyncio.Task[_Answer]) -> None:
    """A fetch that nobody waits for any more may fail."""
    if not ahead.cancelled():
        ahead.exception()
