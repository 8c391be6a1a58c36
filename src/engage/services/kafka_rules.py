"""The rules of one partition on Kafka: fence the predecessor, take up the state it left, then decide batch by batch.

State, position, decisions and dead letters of a batch are one transaction, so a zombie or a crash between two steps
cannot be seen in the result.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Self

import msgspec
import structlog

from engage.events import codec
from engage.events.envelope import Event
from engage.log.contract import Record
from engage.log.kafka import KafkaLog
from engage.log.topics import Topics
from engage.rules.cell import CellKey
from engage.rules.engine import TOLD, Engine, Failure
from engage.rules.mending import WORDS, consumer_of
from engage.rules.policy import NAME as POLICY
from engage.rules.policy import PolicySettings
from engage.rules.rule import Rule
from engage.services import metrics, tracing
from engage.services.decided_before import LoggedDecisions
from engage.services.intake import Stamp, tick
from engage.services.kafka_transaction import FencedProducer, Outgoing
from engage.services.letters.unread import RULES
from engage.services.partition_runner import PartitionRunner, activated
from engage.services.records import UNRECORDED, events_of
from engage.services.rules_changelog import Place, load, written

_PAGE = 8_000
_PART = 250
"""Events that go through all steps together: a batch of 8,000 is not in the processor's cache any more when the next
step comes to it, and took a fifth longer."""
MOST_AWAKE = 4_000
"""Accounts of a partition whose state is held as objects between batches, 6 kB each: to wake one takes as long as to
decide on half an event, and a worker has memory to spare."""
_UNWRITTEN = 10_000
"""How many records that change nothing may pass before the position is written: what is read again after a restart."""
_NEAR = 20_000
"""How many records behind the state are looked through for what was decided without it: a tenth of a second at each
claim. Where any was, some of it is among them, or intake drops what is decided again, whose ids are the same."""
_TRACEBACK_BYTES = 8_000
_FAILED = "failed"
"""The class of the dead letters that the rules write."""
_NO_BASIS = msgspec.msgpack.encode({})

_logger = structlog.get_logger(__name__)


class PartitionRules:
    """The one who decides for a partition of the log. Make it with ``claim``; after any error, drop it and claim anew.

    ``position`` is the log position it goes on from; ``parked`` are the rules and accounts that wait for a failure to
    be mended.
    """

    def __init__(self, bootstrap: str, topics: Topics, log: KafkaLog, engine: Engine) -> None:
        partition = engine.partition
        self.partition = partition
        self.parked: set[CellKey] = set()
        self._bootstrap = bootstrap
        self._topics = topics
        self._log = log
        self._engine = engine
        self._runner = PartitionRunner(engine, Stamp(partition), 0, lambda end: ())
        self._read = codec.reader(engine.wanted)
        self._producer = FencedProducer(bootstrap, f"{topics.prefix}-rules-{partition}", partition)
        self._before: LoggedDecisions | None = None
        self._caught_up_at = 0
        self._inactive = engine.activations()
        self._asked: set[str] = set()
        self._ticked: datetime | None = None
        self._written = self._begins = 0

    @classmethod
    async def claim(
        cls,
        partition: int,
        bootstrap: str,
        topics: Topics,
        log: KafkaLog,
        rules: Sequence[Rule[Any, Any]],
        policy: PolicySettings,
    ) -> Self:
        """Fence whoever decided for this partition before us, then take up the state from its changelog.

        LogGapError if the log has lost records that the state was not made from yet.
        """
        engine = Engine(partition, rules, policy)
        engine.cells.most_awake = MOST_AWAKE
        owner = cls(bootstrap, topics, log, engine)
        await owner._producer.claim()
        try:
            await owner._take_up()
        except BaseException:
            await owner.close()
            raise
        return owner

    @property
    def position(self) -> int:
        """The position behind the last record that was folded."""
        return self._engine.position

    @property
    def next_due(self) -> datetime | None:
        """When the next wake is due."""
        return self._engine.cells.next_due()

    async def close(self) -> None:
        """Give the partition up."""
        metrics.given_up(self.partition)
        await self._know_no_more()
        await self._producer.close()

    async def take(self, records: Sequence[Any], now: datetime) -> list[Event[Any]]:
        """Decide on a batch of the partition's Kafka records, in one transaction; what was decided, in order.

        What was folded before is skipped; ``now`` is the time of what is activated. FencedError if the partition has
        another owner.
        """
        position, began = self.position, tracing.began()
        unreadable, decided, said = list[Outgoing](), list[Event[Any]](), list[Outgoing]()
        count, oldest, told_here = 0, None, False
        waiting = self._events([each for each in records if each.offset >= position], unreadable)
        while events := _part(waiting):
            found = await self._runner.follow(events, self._past, self._before)
            decided += found
            said += [_outgoing(event) for event in found]
            if self._before is not None and self._before.exhausted:
                await self._know_no_more()
            count += len(events)
            oldest = oldest or events[0].recorded
            told_here = told_here or any(event.type in TOLD for event in events)
        cells = _changed(self._engine)  # a state that cannot be written down is a failure too
        failures = [(failure.rule, failure.account) for failure in self._engine.failures]
        if self._before is not None:
            self._engine.failures.clear()  # whoever decided on these records has told of them
        self._engine.mended.clear()
        self._engine.renewed.clear()
        if told_here:
            self._inactive = self._engine.activations()
            self._asked &= {activation.rule for activation in self._inactive}
        dead = unreadable + await self._dead_letters(records)
        asked = self._activations(now)
        await self._commit(said + [_outgoing(event) for event in asked], cells, dead)
        if asked:
            self._asked |= {activation.rule for activation in self._inactive}
        metrics.folded(count, decided, [_FAILED] * len(dead), oldest)
        tracing.decided(began, decided)
        if failures or (told_here and self.parked):
            self._count_parked(failures, anew=told_here)
        return decided

    async def idle(self, now: datetime) -> None:
        """Nothing arrives: let the log say what time it is if a wake is due; once, then it is waited for."""
        if self.position < self._caught_up_at:
            return
        asked = self._activations(now)
        due = self.next_due
        ticks = [tick(self.partition, due)] if due is not None and due <= now and due != self._ticked else []
        if asked or ticks:
            await self._producer.commit([(self._topics.inbox, [_outgoing(event) for event in asked + ticks])])
            self._asked |= {activation.rule for activation in self._inactive}
            self._ticked = due if ticks else self._ticked

    def _activations(self, now: datetime) -> list[Event[Any]]:
        """What must come onto the log before rules that are new or changed may speak, and was not asked for yet.

        Not before we have seen all that was on the log when we came: it may be there.
        """
        if self.position < self._caught_up_at:
            return []
        wanted = [activation for activation in self._inactive if activation.rule not in self._asked]
        return [activated(activation, self.partition, self.position, now) for activation in wanted]

    async def _take_up(self) -> None:
        stored = await load(self._bootstrap, self._topics.rules_state, self.partition)
        place = stored.place
        trimmed = place is not None and stored.begins > place.begins
        if trimmed:
            _logger.error(
                "the changelog of the rules was trimmed at its front: all is folded anew from the log; see that its "
                "cleanup.policy is compact",
                topic=self._topics.rules_state,
                partition=self.partition,
                begins=stored.begins,
            )
        if place is None or trimmed or place.generation != self._log.generation:
            place = Place(self._log.generation, 0, _NO_BASIS)
        self._begins = stored.begins
        self._runner.resume(place.position, place.basis, stored.cells)
        # A place stands in one transaction with what was decided: behind it nothing should be.
        known_to_its_end = 0 < self.position == place.position and not place.decided
        self._inactive = self._engine.activations()
        self._written = self.position
        self._count_parked()
        end = await self._log.confirm(self.partition, self.position)
        last = await self._log.last(self.partition)
        if last is None:
            return
        self._caught_up_at = last.offset + 1
        if self.position < self._caught_up_at:
            inbox = next((event.inboxoffset for event in events_of([last])), None)
            # Up to where the inbox is known to be taken: intake may go on meanwhile.
            untaken = 0 if inbox is None else inbox + 1
            if not known_to_its_end or await self._is_older(untaken):
                self._before = self._decided(self._caught_up_at, untaken)
                await self._before.begin()
        _logger.info(
            "rules claimed", partition=self.partition, position=self.position, end=end, cells=len(self._engine.cells)
        )

    async def _is_older(self, untaken: int) -> bool:
        """Whether the changelog stands before what was decided, as one that was restored does."""
        near = self._decided(min(self._caught_up_at, self.position + _NEAR), untaken)
        try:
            older = await near.begin()
        finally:
            await near.close()
        if older:
            _logger.error(
                "the changelog of the rules is older than what was decided: that is not decided again",
                topic=self._topics.rules_state,
                partition=self.partition,
                position=self.position,
            )
        return older

    def _decided(self, end: int, untaken: int) -> LoggedDecisions:
        return LoggedDecisions(self._bootstrap, self._topics, self.partition, (self.position, end), untaken)

    def _events(self, records: Iterable[Any], unreadable: list[Outgoing]) -> Iterator[Event[Any]]:
        for record in records:
            try:
                event = self._read(record.value or b"")
                fault = UNRECORDED if event.recorded is None else None
            except codec.NO_EVENT as error:
                fault = str(error)
            if fault is not None:  # intake lets none in: somebody else has written to the log
                unreadable.append(self._dead(record.key or b"", record.value, RULES, record.offset, fault))
                continue
            event.partition, event.offset = self.partition, record.offset
            yield event

    async def _past(self, end: int, start: int = 0) -> AsyncIterator[Sequence[Record]]:
        position = start
        while position < end:
            batch = await self._log.read(self.partition, position, min(_PAGE, end - position))
            yield [record for record in batch.records if record.offset < end]
            position = batch.next_position

    async def _know_no_more(self) -> None:
        before, self._before = self._before, None
        if before is not None:
            await before.close()

    def _count_parked(self, failures: Iterable[CellKey] = (), *, anew: bool = True) -> None:
        """Tell the metrics; looked up ``anew`` only where cells were replaced, for there may be a million of them."""
        self.parked = {key for key, _ in self._engine.cells.parked()} if anew else self.parked.union(failures)
        metrics.parked(self.partition, [*self._engine.rules, POLICY], self.parked)

    async def _commit(
        self, said: Sequence[Outgoing], cells: Sequence[tuple[str, str, bytes | None]], dead: list[Outgoing]
    ) -> None:
        if not cells and not said and not dead and self.position - self._written < _UNWRITTEN:
            return
        decided = self._before is not None
        place = Place(self._log.generation, self.position, self._runner.basis(), self._begins, decided)
        await self._producer.commit(
            [
                (self._topics.inbox, said),
                (self._topics.rules_state, written(place, cells)),
                (self._topics.dead_letters, dead),
            ]
        )
        self._written = self.position

    async def _dead_letters(self, records: Sequence[Any]) -> list[Outgoing]:
        failures = self._engine.failures
        if not failures:
            return []
        values = {record.offset: record.value for record in records}
        letters = []
        for failure in failures:
            _logger.error(
                "rule failed, its account is parked",
                rule=failure.rule,
                account=failure.account,
                partition=self.partition,
                offset=failure.offset,
            )
            if failure.offset not in values:
                past = await self._log.read(self.partition, failure.offset, 1)
                values |= {record.offset: record.value for record in past.records}
            letters.append(self._failed(failure, values.get(failure.offset)))
        failures.clear()
        return letters

    def _failed(self, failure: Failure, value: bytes | None) -> Outgoing:
        return self._dead(
            failure.account.encode(),
            value,
            consumer_of(failure.rule),
            failure.offset,
            failure.traceback,
            ("engage-event", failure.event_id.encode()),
        )

    def _dead(
        self, key: bytes, value: bytes | None, consumer: str, offset: int, fault: str, *more: tuple[str, bytes]
    ) -> Outgoing:
        return dead_letter_of(key, value, consumer, self._topics, self.partition, offset, fault, *more)


def dead_letter_of(
    key: bytes,
    value: bytes | None,
    consumer: str,
    topics: Topics,
    partition: int,
    offset: int,
    fault: str,
    *more: tuple[str, bytes],
) -> Outgoing:
    """What is kept of a record of the log, at that place, which a ``consumer`` of it could not take."""
    headers = [
        ("engage-consumer", consumer.encode()),
        ("engage-reason", _FAILED.encode()),
        ("engage-faults", fault.encode("utf-8", "replace")[-_TRACEBACK_BYTES:]),
        ("engage-topic", topics.interactions.encode()),
        ("engage-partition", str(partition).encode()),
        ("engage-offset", str(offset).encode()),
        *more,
    ]
    return Outgoing(key, value, headers)


def _changed(engine: Engine) -> list[tuple[str, str, bytes | None]]:
    """The engine's cells that are to be stored; apart, so that a benchmark can time it where the engine is compiled."""
    return engine.cells.changes()


def _part(waiting: Iterator[Event[Any]]) -> list[Event[Any]]:
    """The events of a batch that are decoded, decided on and encoded next.

    From an operator's word on it is all that are left: the past that words need is folded once for them together.
    """
    part = list(islice(waiting, _PART))
    if any(event.type in WORDS for event in part):
        part += waiting
    return part


def _outgoing(event: Event[Any]) -> Outgoing:
    return Outgoing(event.subject.encode(), codec.encode(event))
