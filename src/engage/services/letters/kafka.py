"""Dead letters on Kafka: the topic that intake and rules write them to, and the cells that stand still."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition

from engage.log.contract import Token
from engage.log.kafka import KafkaLog
from engage.log.topics import MAX_RECORD_BYTES, Topics, broker_errors
from engage.rules.deciding import Basis
from engage.rules.mending import consumer_of
from engage.services.kafka_message import record_time
from engage.services.kafka_rules import dead_letter_of
from engage.services.letters.letter import INTAKE
from engage.services.letters.source import Refused, Stopped, parked_in
from engage.services.letters.unread import READERS, Unread
from engage.services.partition_runner import read_basis
from engage.services.records import events_of
from engage.services.rules_changelog import committed, latest_place, load

_NEAR = 64


class Kafka:
    """The dead letters of a log on Kafka."""

    def __init__(self, bootstrap: str, topics: Topics, log: KafkaLog) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._log = log

    async def stopped(self, partition: int | None = None) -> list[Stopped]:
        """See ``Source.stopped``."""
        found = []
        for at in range(self._log.partitions) if partition is None else (partition,):
            stored = await load(self._bootstrap, self._topics.rules_state, at)
            found += [(at, *one) for one in parked_in(stored.cells)]
        errors = {}
        if found:
            async for record, told in self._letters():
                consumer, offset = told.get("engage-consumer", b"").decode(), told.get("engage-offset", b"")
                if consumer:
                    account = (record.key or b"").decode("utf-8", "replace")
                    errors[consumer, account, int(offset)] = told.get("engage-faults", b"").decode("utf-8", "replace")
        return [
            Stopped(rule, account, at, parked, errors.get((consumer_of(rule), account, parked.offset), ""))
            for at, rule, account, parked in found
        ]

    async def bases(self) -> list[dict[str, Basis]]:
        """See ``Source.bases``."""
        places = [
            await latest_place(self._bootstrap, self._topics.rules_state, partition)
            for partition in range(self._log.partitions)
        ]
        return [
            read_basis(place.basis) if place is not None and place.generation == self._log.generation else {}
            for place in places
        ]

    async def refused(self) -> list[Refused]:
        """See ``Source.refused``."""
        found = []
        async for record, told in self._letters():
            if told.get("engage-consumer", INTAKE.encode()).decode() == INTAKE:
                found.append(
                    Refused(
                        record.partition,
                        record.offset,
                        record.key or b"",
                        record.value,
                        [(name, held) for name, held in record.headers if not name.startswith("engage-")],
                        told.get("engage-reason", b"").decode("utf-8", "replace"),
                        told.get("engage-faults", b"").decode("utf-8", "replace"),
                        record_time(record),
                        "engage-cut-from-bytes" in told,
                    )
                )
        return found

    async def keep(self, unread: Unread) -> None:
        """See ``Source.keep``; by a connection of its own, for it is seldom."""
        place = unread.partition, unread.offset
        records = (await self._log.read(*place, 1)).records
        value = records[0].value if records and records[0].offset == unread.offset else None
        event_id = ("engage-event", unread.event_id.encode())
        told = dead_letter_of(
            unread.account.encode(), value, unread.consumer, self._topics, *place, unread.error, event_id
        )
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap, acks="all", max_request_size=2 * MAX_RECORD_BYTES
        )
        with broker_errors(self._bootstrap, f"writing to {self._topics.dead_letters}"):
            try:
                await producer.start()
                await producer.send_and_wait(
                    self._topics.dead_letters, told.value, told.key, unread.partition, headers=told.headers
                )
            finally:
                await producer.stop()

    async def unread(self) -> list[Unread]:
        """See ``Source.unread``."""
        found = {}
        async for record, told in self._letters():
            consumer, offset = told.get("engage-consumer", b"").decode(), told.get("engage-offset", b"")
            if consumer in READERS:
                found[consumer, record.partition, offset] = Unread(
                    consumer=consumer,
                    partition=record.partition,
                    offset=int(offset),
                    account=(record.key or b"").decode("utf-8", "replace"),
                    event_id=told.get("engage-event", b"").decode("utf-8", "replace"),
                    error=told.get("engage-faults", b"").decode("utf-8", "replace"),
                    at=record_time(record),
                )
        return list(found.values())

    async def settle(self, unread: Unread) -> None:
        """See ``Source.settle``: the log says so, and the topic lets go of what is old."""

    async def passed(self, token: Token) -> bool:
        """See ``Source.passed``: the log's records say up to which place of the inbox they were taken."""
        place = await latest_place(self._bootstrap, self._topics.rules_state, token.partition)
        if place is None or place.generation != self._log.generation:
            return False
        start = max(0, place.position - _NEAR)
        batch = await self._log.read(token.partition, start, _NEAR)
        before = events_of(record for record in batch.records if record.offset < place.position)
        return any(event.inboxoffset is not None and event.inboxoffset >= token.offset for event in before)

    async def _letters(self) -> AsyncIterator[tuple[Any, Mapping[str, bytes]]]:
        """Every record of the topic, and what engage says of it in its headers: the last word of a name counts."""
        for partition in range(self._log.partitions):
            async for records in committed(self._bootstrap, TopicPartition(self._topics.dead_letters, partition)):
                for record in records:
                    yield record, {name: held or b"" for name, held in record.headers if name.startswith("engage-")}
