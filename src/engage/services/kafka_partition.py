"""Intake of one partition on Kafka: fence the predecessor, read the committed end, then go on from there.

What its state is made of (the stamp, the identities, the position in the inbox) stands on the log, so whoever owns the
partition next has the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec import Raw, Struct

from engage.events import codec
from engage.events.catalogue import CATALOGUE
from engage.events.envelope import PARTITION_SUBJECT, Event, to_micros
from engage.events.linking import PARTED
from engage.events.ours import OF_PARTITIONS, claims_to_be_ours, is_ours
from engage.events.validation import Fault, Refusal, check_event, clean, reserved
from engage.log.kafka import KafkaLog
from engage.log.partitioning import partition_of
from engage.log.record_size import DATA_BYTES, oversized, too_large
from engage.log.topics import Topics
from engage.services import kafka_message, metrics, tracing
from engage.services.edge import Edge, too_old
from engage.services.identities import Identities, digest_of
from engage.services.intake import MAX_LEAP, TICK, ClockLeapError, Stamp, tick
from engage.services.kafka_links import HANDED_ON, PartitionLinks
from engage.services.kafka_transaction import FencedProducer, Outgoing
from engage.services.records import events_of

WINDOW = timedelta(days=30)
"""How long the same event is known to be the same; what is new and happened earlier is refused."""

_PAGE = 8_000
_NEAR = 1_000
"""Records that are read at once to find the last one that is an event: seldom has anybody else written behind it."""
_KEY_BYTES = 64 << 10
"""What a dead letter keeps of its key: that, too, may have come out of a compressed batch."""

Dead = tuple[Any, Refusal]


class _Taken(Struct):
    """What taking up a partition needs of a record, read in half the time of the whole envelope."""

    subject: str
    source: str
    id: str
    recorded: datetime
    inboxoffset: int = -1
    origin: str | None = None
    retold: bool = False


_taken = msgspec.json.Decoder(_Taken).decode


class PartitionIntake:
    """The one writer of a partition of the log. Make it with ``claim``; after any error, drop it and claim anew."""

    def __init__(
        self,
        producer: FencedProducer,
        links: PartitionLinks,
        topics: Topics,
        log: KafkaLog,
        edge: Edge,
        window: timedelta,
        folder: Path | None,
    ) -> None:
        partition = producer.partition
        self.partition = partition
        self.stamp = Stamp(partition)
        self.next_inbox = 0
        self._topics = topics
        self._log = log
        self._edge = edge
        self._window = window
        # A tick may put ``recorded`` ahead of the append times by which an event's age is measured.
        self._known = Identities(window + MAX_LEAP, folder)
        self._producer = producer
        self._links = links

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
        producer = await intake_producer(bootstrap, topics, partition).claim()
        links = PartitionLinks(bootstrap, topics, log, edge, partition)
        owner = cls(producer, links, topics, log, edge, window, folder)
        try:
            await owner._recall()
        except BaseException:
            await owner.close()
            raise
        return owner

    async def close(self) -> None:
        """Give the partition up; an open transaction is aborted by whoever claims it next."""
        self._known.close()
        await self._producer.close()

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
            began = tracing.began()
            taken, forwards, dead = self._sort(records)
            await self._commit(taken, forwards, dead)
            metrics.taken(len(taken), [refusal.reason for _, refusal in dead])
            tracing.record("engage intake", began, taken)
            self.next_inbox = records[-1].offset + 1
            self._known.forget_old()
        if leap:
            raise leap

    @property
    def retells(self) -> bool:
        """Whether identities were linked or parted here, and not all is told once more where it belongs."""
        return self._links.moving

    async def retell(self) -> None:
        """Tell a page of the past once more, in one transaction, if there is one and it can be read yet.

        FencedError if the partition has another owner.
        """
        told = await self._links.retell()
        if told is None:
            return
        for event in told.here:
            self.stamp.put(event, self.stamp.last)
            event.inboxoffset = self.next_inbox - 1
        await self._commit(told.here, self._links.handed_on(told.on), [])

    def _sort(self, records: Sequence[Any]) -> tuple[list[Event[Raw]], list[Outgoing], list[Dead]]:
        """What becomes of each record: events for the log, what goes on to another partition, dead letter, nothing."""
        kept: list[tuple[Any, Event[Raw]]] = []
        forwards: list[Outgoing] = []
        dead: list[Dead] = []
        fresh: set[bytes] = set()
        for record in records:
            found = kafka_message.read(record)
            if isinstance(found, Event) and not _handed_on(record):
                clean(found)
            admitted: Event[Raw] | Refusal | None
            if isinstance(found, Refusal) or _handed_on(record):
                admitted = found  # what is handed on was looked at by another partition's intake
            elif claims_to_be_ours(found) and (not is_ours(found) or found.type == PARTED):
                admitted = reserved(found)
            elif found.type in OF_PARTITIONS:
                admitted = self._of_partition(record, found)
            else:
                admitted = self._admit(record, found, fresh, forwards)
            if isinstance(admitted, Refusal):
                dead.append((record, admitted))
            elif admitted is not None:
                kept.append((record, admitted))
        sealed = iter(self._edge.seal([event for _, event in kept if not event.is_copy]))
        taken: list[Event[Raw]] = []
        for record, found in kept:
            event = found if found.is_copy else next(sealed)
            assert isinstance(event, Event), "sealing refuses nothing"
            outcome = oversized(event) or self._links.admit(event)
            if isinstance(outcome, Refusal):
                dead.append((record, outcome))
                continue
            forwards += self._links.handed_on(outcome.on)
            taken += [event for event in outcome.here if self._put(event, record)]
        if not taken or taken[-1].inboxoffset != records[-1].offset:
            taken.append(self._milestone(records[-1]))
        return taken, forwards, dead

    def _put(self, event: Event[Raw], record: Any) -> bool:
        """Stamp an event for the log; False for a tick whose time is past."""
        if not self.stamp.put(event, kafka_message.record_time(record)):
            return False
        event.inboxoffset = record.offset
        if not event.subject.startswith(PARTITION_SUBJECT) and not event.is_copy:
            self._known.add(digest_of(event.identity), event.now)
        return True

    def _admit(
        self, record: Any, event: Event[Raw], fresh: set[bytes], forwards: list[Outgoing]
    ) -> Event[Raw] | Refusal | None:
        """An event of an account or a market if it belongs here and is new, or why it may not enter; None otherwise."""
        appended = kafka_message.record_time(record)
        # The append time is the same whoever runs intake, our own clock is not.
        checked = check_event(event, appended)
        if isinstance(checked, Refusal):
            return checked
        home = partition_of(event.subject, self._log.partitions)
        if home != self.partition:
            if (size := kafka_message.size_of(record) + len(record.key or b"")) > DATA_BYTES:
                return too_large(size)
            forwards.append(_forwarded(home, record))
            return None
        digest = digest_of(event.identity)
        if digest in self._known or digest in fresh:
            return None
        if (refused := too_old(event, appended, self._window)) is not None:
            return refused
        fresh.add(digest)
        return checked

    def _of_partition(self, record: Any, event: Event[Raw]) -> Event[Raw] | Refusal:
        """What engage sends to this partition itself, and not to an account, or why it may not enter."""
        try:
            data: Any = CATALOGUE[event.type].decode(event.data)
        except codec.NO_EVENT as error:
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

    async def _commit(self, taken: list[Event[Raw]], forwards: list[Outgoing], dead: list[Dead]) -> None:
        links = self._links.unwritten()
        if not taken and not forwards and not links:
            return
        first = await self._producer.commit(
            [
                (self._topics.interactions, [on_log(event.subject, event.now, codec.encode(event)) for event in taken]),
                (self._topics.inbox, forwards),
                (self._topics.dead_letters, [_dead(record, refusal) for record, refusal in dead]),
                (self._topics.links, links),
            ]
        )
        if taken:
            self._links.appended(taken, first)

    async def _recall(self) -> None:
        """Read back from the log, and who is linked from its changelog, what our predecessors left there."""
        await self._links.load()
        await self._recall_log()
        if not self._links.known:
            self._links.forget_moves()
        await self._commit([], [], [])

    async def _recall_log(self) -> None:
        end = await self._log.end(self.partition)
        last = await self._last_event()
        if last is None:
            return
        self.stamp.last = last.now
        window = await self._log.position_at(self.partition, last.now - self._window - MAX_LEAP)
        position = min(window, self._links.position)
        highest = -1 if last.inboxoffset is None else last.inboxoffset
        with self._known.loading():
            while position < end:
                batch = await self._log.read(self.partition, position, _PAGE)
                for record in batch.records:
                    self._links.recall(record)
                    if record.offset < window:
                        continue
                    try:
                        taken = _taken(record.value)
                    except codec.NO_EVENT:  # somebody else has written to the log: nothing of ours
                        continue
                    if taken.origin is None and not taken.retold and not taken.subject.startswith(PARTITION_SUBJECT):
                        self._known.add(digest_of((taken.subject, taken.source, taken.id)), taken.recorded)
                    highest = max(highest, taken.inboxoffset)
                position = batch.next_position
        self.next_inbox = highest + 1

    async def _last_event(self) -> Event[Any] | None:
        """The last record that is an event: somebody else may have written behind it."""
        record = await self._log.last(self.partition)
        while record is not None:
            if events := list(events_of([record])):
                return events[0]
            before = record.offset
            found = (await self._log.read(self.partition, max(0, before - _NEAR), _NEAR)).records
            record = next((one for one in reversed(found) if one.offset < before), None)
        return None


def _partition_in(subject: str) -> int | None:
    number = subject.removeprefix(PARTITION_SUBJECT)
    return int(number) if number.isdecimal() and len(number) < 10 else None


def intake_producer(bootstrap: str, topics: Topics, partition: int) -> FencedProducer:
    """The one who writes a partition of the log, by the name that shuts out whoever did before."""
    return FencedProducer(bootstrap, f"{topics.prefix}-intake-{partition}", partition)


def on_log(subject: str, recorded: datetime, value: bytes) -> Outgoing:
    """A record as it stands in the topic of the log."""
    return Outgoing(subject.encode(), value, timestamp=to_micros(recorded) // 1_000)


def _handed_on(record: Any) -> bool:
    return any(name == HANDED_ON for name, _ in record.headers)


def _forwarded(home: int, record: Any) -> Outgoing:
    return Outgoing(record.key, record.value, list(record.headers), partition=home)


def _dead(record: Any, refusal: Refusal) -> Outgoing:
    value, headers = kafka_message.dead_letter(record, refusal)
    key = b"" if record.key is None and value is None else record.key
    return Outgoing(key and key[:_KEY_BYTES], value, headers)
