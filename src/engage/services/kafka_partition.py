"""Intake of one partition on Kafka: fence the predecessor, read the committed end, then go on from there.

What its state is made of (the stamp, the identities, the position in the inbox) stands on the log, so whoever owns the
partition next has the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced
from msgspec import Raw, Struct

from engage.events import codec
from engage.events.catalogue import CATALOGUE
from engage.events.envelope import PARTITION_SUBJECT, Event, to_micros
from engage.events.ours import OF_PARTITIONS, claims_to_be_ours, is_ours
from engage.events.validation import Fault, Refusal, check_event, reserved
from engage.log.kafka import KafkaLog
from engage.log.partitioning import partition_of
from engage.log.topics import MAX_RECORD_BYTES, Topics, broker_errors
from engage.services import kafka_message
from engage.services.edge import Edge
from engage.services.identities import Identities, digest_of
from engage.services.intake import MAX_LEAP, TICK, ClockLeapError, Stamp, tick

WINDOW = timedelta(days=30)
"""How long the same event is known to be the same; what happened earlier than this and is new comes in by import."""

_PAGE = 8_000
_BATCH_BYTES = 1 << 20
_CONNECT_SECONDS = 60.0

Dead = tuple[Any, Refusal]


class _Taken(Struct):
    """What taking up a partition needs of a record, read in half the time of the whole envelope."""

    subject: str
    source: str
    id: str
    inboxoffset: int = -1


_taken = msgspec.json.Decoder(_Taken).decode


class FencedError(RuntimeError):
    """Another worker owns the partition now and nothing of ours was written: end this process, start it again."""


class PartitionIntake:
    """The one writer of a partition of the log. Make it with ``claim``; after any error, drop it and claim anew."""

    def __init__(
        self, partition: int, topics: Topics, log: KafkaLog, edge: Edge, window: timedelta, folder: Path | None
    ) -> None:
        self.partition = partition
        self.stamp = Stamp(partition)
        self.next_inbox = 0
        self._topics = topics
        self._log = log
        self._edge = edge
        self._window = window
        # A tick may put ``recorded`` ahead of the append times by which an event's age is measured.
        self._known = Identities(window + MAX_LEAP, folder)
        self._producer: Any = None

    @classmethod
    async def claim(
        cls,
        partition: int,
        bootstrap: str,
        topics: Topics,
        log: KafkaLog,
        edge: Edge,
        window: timedelta = WINDOW,
        folder: Path | None = None,
    ) -> Self:
        """Fence whoever wrote this partition before us, then learn from the log where it stands.

        ``folder`` is where the window of identities goes while it is owned, None for the system's temporary folder.
        """
        owner = cls(partition, topics, log, edge, window, folder)
        owner._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            transactional_id=f"{topics.prefix}-intake-{partition}",
            acks="all",
            max_batch_size=_BATCH_BYTES,
            max_request_size=2 * MAX_RECORD_BYTES,
        )
        try:
            with broker_errors(bootstrap, f"claiming {topics.interactions}:{partition}"):
                async with asyncio.timeout(_CONNECT_SECONDS):
                    # Ends the predecessor's open transaction and bumps the epoch: from here on it cannot write.
                    await owner._producer.start()
            await owner._recall()
        except BaseException:
            await owner.close()
            raise
        return owner

    async def close(self) -> None:
        """Give the partition up; an open transaction is aborted by whoever claims it next."""
        self._known.close()
        await self._producer.stop()

    async def take(self, records: Sequence[Any], clock: Callable[[], datetime]) -> None:
        """Bring a batch of the partition's inbox records onto the log, in one transaction.

        What was taken before is skipped. FencedError if the partition has another owner; ClockLeapError if a record's
        append time lies too far ahead: those before it are taken.
        """
        records = [record for record in records if record.offset >= self.next_inbox]
        leap: ClockLeapError | None = None
        for index, record in enumerate(records):
            try:
                self.stamp.guard(kafka_message.record_time(record), clock())
            except ClockLeapError as error:
                leap, records = error, records[:index]
                break
        if records:
            taken, forwards, dead = self._sort(records)
            await self._commit(taken, forwards, dead)
            self.next_inbox = records[-1].offset + 1
            self._known.forget_old()
        if leap:
            raise leap

    def _sort(self, records: Sequence[Any]) -> tuple[list[Event[Raw]], list[tuple[int, Any]], list[Dead]]:
        """What becomes of each record: event for the log, forward (to partition, record), dead letter, or nothing."""
        kept: list[tuple[Any, Event[Raw]]] = []
        forwards: list[tuple[int, Any]] = []
        dead: list[Dead] = []
        fresh: set[bytes] = set()
        for record in records:
            found = kafka_message.read(record)
            admitted: Event[Raw] | Refusal | None
            if isinstance(found, Refusal):
                admitted = found
            elif claims_to_be_ours(found) and not is_ours(found):
                admitted = reserved(found)
            elif found.type in OF_PARTITIONS:
                admitted = self._of_partition(record, found)
            else:
                admitted = self._admit(record, found, fresh, forwards)
            if isinstance(admitted, Refusal):
                dead.append((record, admitted))
            elif admitted is not None:
                kept.append((record, admitted))
        sealed = self._edge.seal([event for _, event in kept])
        taken: list[Event[Raw]] = []
        for (record, _), event in zip(kept, sealed, strict=True):
            assert isinstance(event, Event), "sealing refuses nothing"
            if self.stamp.put(event, kafka_message.record_time(record)):
                event.inboxoffset = record.offset
                taken.append(event)
                if not event.subject.startswith(PARTITION_SUBJECT):
                    self._known.add(digest_of(event.identity), event.now)
        if not taken or taken[-1].inboxoffset != records[-1].offset:
            taken.append(self._milestone(records[-1]))
        return taken, forwards, dead

    def _admit(
        self, record: Any, event: Event[Raw], fresh: set[bytes], forwards: list[tuple[int, Any]]
    ) -> Event[Raw] | Refusal | None:
        """An event of an account or a market if it belongs here and is new, or why it may not enter; None otherwise.

        Engage's own may be as old as the last commands that a relay missed: what a person was told is done is not lost.
        """
        appended = kafka_message.record_time(record)
        # The append time is the same whoever runs intake, our own clock is not.
        checked = check_event(event, appended)
        if isinstance(checked, Refusal):
            return checked
        home = partition_of(event.subject, self._log.partitions)
        if home != self.partition:
            forwards.append((home, record))
            return None
        digest = digest_of(event.identity)
        if digest in self._known or digest in fresh:
            return None
        if appended - event.time > self._window and not is_ours(event):
            age = f"{event.time.isoformat()} is more than {self._window // timedelta(days=1)} days ago"
            return Refusal("too_old", (Fault("/time", f"{age}: bring it in by import, which checks the log"),))
        fresh.add(digest)
        return checked

    def _of_partition(self, record: Any, event: Event[Raw]) -> Event[Raw] | Refusal:
        """What engage sends to this partition itself, and not to an account, or why it may not enter."""
        try:
            data: Any = CATALOGUE[event.type].decode(event.data)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            return Refusal("data", (Fault("/data", str(error)),))
        if not data.partition == self.partition == _partition_in(event.subject):
            said = f"is said of another partition than {self.partition}: send it there"
            return Refusal("subject", (Fault("/subject", said),))
        if event.type == TICK:
            appended = kafka_message.record_time(record)
            if data.until - appended > MAX_LEAP:
                # By the append time, which was held against our clock already and is the same whoever runs intake.
                ahead = f"{data.until.isoformat()} lies more than {MAX_LEAP} ahead of {appended.isoformat()}"
                return Refusal("in_future", (Fault("/data/until", f"{ahead}: set the clock of its sender right"),))
        return event

    def _milestone(self, record: Any) -> Event[Raw]:
        """The tick that carries the inbox position where a batch's tail left nothing else on the log."""
        moment = max(self.stamp.last, kafka_message.record_time(record))
        event = tick(self.partition, moment)
        event.recorded = self.stamp.last = moment
        event.inboxoffset = record.offset
        return event

    async def _commit(self, taken: list[Event[Raw]], forwards: list[tuple[int, Any]], dead: list[Dead]) -> None:
        producer = self._producer
        sent: list[Any] = []
        try:
            await producer.begin_transaction()
            sent += await self._append(taken)
            for home, record in forwards:
                sent.append(
                    await producer.send(
                        self._topics.inbox, record.value, record.key, partition=home, headers=list(record.headers)
                    )
                )
            for record, refusal in dead:
                value, headers = kafka_message.dead_letter(record, refusal)
                key = b"" if record.key is None and value is None else record.key
                sent.append(
                    await producer.send(
                        self._topics.dead_letters, value, key, partition=self.partition, headers=headers
                    )
                )
            # aiokafka commits even when a batch of the transaction failed, so each is waited for first.
            await asyncio.gather(*sent)
            await producer.commit_transaction()
        except (ProducerFenced, InvalidProducerEpoch) as error:
            raise FencedError(
                f"another worker has claimed {self._topics.interactions}:{self.partition}; what we held of it was not "
                "written, and it has taken over. Start this worker again"
            ) from error
        except KafkaError:
            with contextlib.suppress(KafkaError, AssertionError):
                await producer.abort_transaction()
            raise
        finally:
            for future in sent:
                future.cancel()

    async def _append(self, taken: list[Event[Raw]]) -> list[Any]:
        """Queue the log records as whole batches: 3 µs each, where one by one they take 20."""
        sent = []
        batch = self._producer.create_batch()
        for event in taken:
            record = {
                "timestamp": to_micros(event.now) // 1_000,
                "key": event.subject.encode(),
                "value": codec.encode(event),
            }
            if batch.append(**record) is None:
                sent.append(await self._send(batch))
                batch = self._producer.create_batch()
                batch.append(**record)
        sent.append(await self._send(batch))
        return sent

    async def _send(self, batch: Any) -> Any:
        batch.close()
        return await self._producer.send_batch(batch, self._topics.interactions, partition=self.partition)

    async def _recall(self) -> None:
        """Read back from the log what our predecessors left there."""
        end = await self._log.end(self.partition)
        record = await self._log.last(self.partition)
        if record is None:
            return
        last = codec.decode(record.value)
        self.stamp.last = last.now
        position = await self._log.position_at(self.partition, last.now - self._window - MAX_LEAP)
        highest = -1 if last.inboxoffset is None else last.inboxoffset
        with self._known.loading():
            while position < end:
                batch = await self._log.read(self.partition, position, _PAGE)
                for record in batch.records:
                    taken = _taken(record.value)
                    if not taken.subject.startswith(PARTITION_SUBJECT):
                        self._known.add(digest_of((taken.subject, taken.source, taken.id)), record.recorded)
                    highest = max(highest, taken.inboxoffset)
                position = batch.next_position
        self.next_inbox = highest + 1


def _partition_in(subject: str) -> int | None:
    number = subject.removeprefix(PARTITION_SUBJECT)
    return int(number) if number.isdecimal() and len(number) < 10 else None
