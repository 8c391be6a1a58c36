"""The log on Kafka that an export is restored into: written as intake writes it, by whoever shuts intake out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from engage.log.contract import Record
from engage.log.kafka import KafkaLog
from engage.log.sqlite_seen import Identity
from engage.log.topics import Topics, broker_errors
from engage.rules.mending import consumer_of
from engage.services.kafka_partition import intake_producer, on_log
from engage.services.kafka_rules import dead_letter_of
from engage.services.kafka_transaction import Outgoing
from engage.services.letters.source import Refused, Stopped
from engage.services.moving.manifest import NotEmptyError

_GROUPS = ("intake", "streams", "projections")
"""The consumer groups of those who work on a log, behind its prefix."""


class AtWorkError(RuntimeError):
    """Somebody works on the log that is to be restored: stop them first."""


class KafkaAppending:
    """Appends to every partition of the log, each by the transactional producer of its intake; a context manager."""

    def __init__(self, bootstrap: str, topics: Topics, log: KafkaLog) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._log = log
        self._producers = [intake_producer(bootstrap, topics, partition) for partition in range(log.partitions)]
        self._ends: dict[int, int] = {}

    @property
    def ends(self) -> Mapping[int, int]:
        """See ``Appending``."""
        return self._ends

    async def append(self, records: Mapping[int, Sequence[tuple[Record, Identity]]]) -> None:
        """See ``Appending``: a transaction a partition."""
        await asyncio.gather(*(self._append(partition, ours) for partition, ours in records.items()))

    async def _append(self, partition: int, records: Sequence[tuple[Record, Identity]]) -> None:
        outgoing = [on_log(subject, record.recorded, record.value) for record, (subject, _, _) in records]
        await self._producers[partition].commit([(self._topics.interactions, outgoing)], at=self._ends[partition])
        self._ends[partition] += len(records) + 1  # the transaction's marker

    async def put_letters(self, stopped: Sequence[Stopped], refused: Sequence[Refused]) -> int:
        """See ``Appending``: a transaction a partition, where nothing is yet; each counts as new from now on."""
        letters: dict[int, list[Outgoing]] = {}
        for one in stopped:
            letters.setdefault(one.partition, []).append(await self._stopped(one))
        for letter in refused:
            letters.setdefault(letter.partition % len(self._producers), []).append(_refused(letter))
        there = await _ends(self._bootstrap, self._topics.dead_letters, len(self._producers))
        for partition, ours in letters.items():
            if not there[partition]:
                await self._producers[partition].commit([(self._topics.dead_letters, ours)])
        return 0

    async def _stopped(self, one: Stopped) -> Outgoing:
        record = await self._log.read(one.partition, one.parked.offset, 1)
        return dead_letter_of(
            one.account.encode(),
            record.records[0].value if record.records else None,
            consumer_of(one.rule),
            self._topics,
            one.partition,
            one.parked.offset,
            one.error or one.parked.error,
            ("engage-event", one.parked.event_id.encode()),
        )

    async def __aenter__(self) -> Self:
        try:
            for producer in self._producers:
                await producer.claim()
            self._ends = {one: await self._log.end(one) for one in range(self._log.partitions)}
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        await asyncio.gather(*(producer.close() for producer in self._producers))


async def must_be_quiet(bootstrap: str, topics: Topics) -> None:
    """AtWorkError if somebody works on the log, as far as the members of consumer groups tell."""
    with broker_errors(bootstrap, "asking who works on the log"):
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        try:
            await admin.start()
            # Those that exist: of a group that never was a broker that is new cannot say anything.
            there = {name for name, *_ in await admin.list_consumer_groups()}
            ours = there.intersection(f"{topics.prefix}-{one}" for one in _GROUPS)
            at_work = []
            for answer in await admin.describe_consumer_groups(sorted(ours)):
                at_work += [group[1] for group in answer.groups if group[5]]
        finally:
            await admin.close()
    if at_work:
        raise AtWorkError(
            f"{', '.join(at_work)}: workers of these groups are at work on the log {topics.prefix!r}. Stop them "
            "(`engage worker …`), wait ten seconds, then restore"
        )


async def must_have_no_inbox(bootstrap: str, topics: Topics, partitions: int) -> None:
    """NotEmptyError if the inbox holds events.

    Those of another log would come onto this one behind the restored records, perhaps a second time.
    """
    with broker_errors(bootstrap, f"looking into {topics.inbox}"):
        held = sum((await _ends(bootstrap, topics.inbox, partitions)).values())
    if held:
        raise NotEmptyError(
            f"the inbox {topics.inbox!r} holds {held:,} records: restore into a log that nobody has published to "
            "(another ENGAGE_TOPICS), and publish afterwards"
        )


async def _ends(bootstrap: str, topic: str, partitions: int) -> dict[int, int]:
    """How many offsets of each partition of a topic are held."""
    places = [TopicPartition(topic, partition) for partition in range(partitions)]
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False) as consumer:
        starts, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    return {place.partition: ends[place] - starts[place] for place in places}


def _refused(letter: Refused) -> Outgoing:
    why = [("engage-reason", letter.reason.encode()), ("engage-faults", letter.faults.encode())]
    if letter.cut:
        why.append(("engage-cut-from-bytes", str(len(letter.value or b"")).encode()))
    return Outgoing(letter.key, letter.value, [*letter.headers, *why])
