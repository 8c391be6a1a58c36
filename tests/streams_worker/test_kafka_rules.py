"""The rules of one partition on a real broker: who may write, what a successor knows, what is asked of the inbox."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from msgspec import Struct
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from engage.events import codec
from engage.events.catalogue.support import TicketOpened
from engage.events.envelope import Event, to_micros
from engage.log.contract import LogGapError, Record
from engage.rules.decisions import TYPES as DECISIONS
from engage.rules.policy import PolicySettings
from engage.rules.rule import Rule, Wake
from engage.services import kafka_rules, tracing
from engage.services.edge import Edge
from engage.services.kafka_partition import PartitionIntake
from engage.services.kafka_rules import PartitionRules
from engage.services.kafka_transaction import FencedError, Outgoing
from engage.services.rules_changelog import Place, load, written
from engage.testing.keyring import MemoryKeyring
from tests.log.inbox import records_in
from tests.log.kafka_platform import KafkaPlatform, kafka_platform
from tests.rules.probes import Seen, Settings, ask, asking, reminder
from tests.strangers import STRANGE

pytestmark = pytest.mark.anyio

START = datetime.now(UTC) - timedelta(minutes=30)


def counting(version: int, every: int) -> Rule[Seen, Settings]:
    """Asks at every so many tickets."""
    rule = Rule("counting", version=version, settings=Settings(), state=Seen)

    @rule.on(TicketOpened)
    def opened(state, event, settings):
        state.count += 1
        if state.count % every == 0:
            yield ask(f"ticket number {state.count}")

    return rule


class Partition:
    """One partition with its intake at hand, so that a test says what happens when."""

    def __init__(self, platform: KafkaPlatform) -> None:
        self.platform = platform
        self.tickets = 0

    async def rules(self, *rules: Rule[Any, Any]) -> PartitionRules:
        """A new owner of the partition's rules."""
        platform, policy = self.platform, PolicySettings(quiet_hours=None)
        return await PartitionRules.claim(0, platform.bootstrap, platform.topics, platform.log, rules, policy)

    async def open_tickets(self, count: int, *, traced: bool = False) -> None:
        """Publish tickets, and take in all that is in the inbox."""
        events = []
        for _ in range(count):
            self.tickets += 1
            data, name = TicketOpened(ticket_id=f"t-{self.tickets}"), f"e-{self.tickets}"
            events.append(codec.new_event(data, id=name, source="test", subject="acc-1", time=datetime.now(UTC)))
        await self.platform.publish(tracing.stamped(events) if traced else events)
        await self.take_in()

    async def take_in(self) -> None:
        """Bring what is in the inbox onto the log."""
        platform, edge = self.platform, Edge(MemoryKeyring(), lambda: datetime.now(UTC))
        intake = await PartitionIntake.claim(0, platform.bootstrap, platform.topics, platform.log, edge)
        await intake.take(await records_in(platform.bootstrap, platform.topics.inbox, 0), lambda: datetime.now(UTC))
        await intake.close()

    async def log(self) -> list[Any]:
        return await records_in(self.platform.bootstrap, self.platform.topics.interactions, 0)

    async def in_inbox(self, *types: str) -> list[Event[Any]]:
        """The events of these types in the inbox, their data typed."""
        records = await records_in(self.platform.bootstrap, self.platform.topics.inbox, 0)
        events = [codec.decode(record.value) for record in records]
        return [codec.open_data(event) for event in events if event.type in types]


@pytest.fixture
async def partition(kafka: str) -> AsyncIterator[Partition]:
    async with kafka_platform(kafka, partitions=1) as platform:
        yield Partition(platform)


def abouts(decisions: Sequence[Event[Any]]) -> list[str]:
    return [decision.data.about for decision in decisions]


def now() -> datetime:
    return datetime.now(UTC)


async def active(partition: Partition, *rules: Rule[Any, Any]) -> PartitionRules:
    """An owner whose rules are active."""
    owner = await partition.rules(*rules)
    await owner.idle(now())
    await partition.take_in()
    await owner.take(await partition.log(), now())
    return owner


async def test_what_was_decided_is_in_the_inbox_with_the_state_it_was_decided_on(partition: Partition) -> None:
    owner = await active(partition, counting(1, every=2))
    await partition.open_tickets(3)
    decided = await owner.take(await partition.log(), now())
    assert abouts(decided) == ["ticket number 2"]
    sent = await records_in(partition.platform.bootstrap, partition.platform.topics.inbox, 0)
    assert codec.encode(decided[0]) in [record.value for record in sent]
    await owner.close()
    successor = await partition.rules(counting(1, every=2))
    assert successor.position == owner.position
    await partition.open_tickets(1)
    assert abouts(await successor.take(await partition.log(), now())) == ["ticket number 4"]
    await successor.close()
    assert abouts(await partition.in_inbox(*DECISIONS)) == ["ticket number 2", "ticket number 4"]


async def test_a_large_batch_is_decided_on_in_order_and_in_one_transaction(partition: Partition) -> None:
    owner = await active(partition, counting(1, every=100))
    await partition.open_tickets(1_000)
    decided = await owner.take(await partition.log(), now())
    numbers = [f"ticket number {number}" for number in range(100, 1_001, 100)]
    assert abouts(decided) == abouts(await partition.in_inbox(*DECISIONS)) == numbers
    state = await records_in(partition.platform.bootstrap, partition.platform.topics.rules_state, 0)
    assert len(state) == 3, "the place at the activation, then the cell and its place once for all tickets"
    await owner.close()


async def test_a_trace_goes_from_the_inbox_over_the_decision_to_the_log(
    partition: Partition, spans: InMemorySpanExporter
) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    owner = await active(partition, counting(1, every=1))
    with tracing.request("POST", parent):
        await partition.open_tickets(1, traced=True)
    await owner.take(await partition.log(), now())
    await partition.take_in()
    await owner.close()
    records = [codec.decode(record.value) for record in await partition.log()]
    traced = {event.type for event in records if event.traceparent and event.traceparent[:36] == parent[:36]}
    assert traced == {"Ticket Opened", "follow_up.requested"}
    found = [span.name for span in spans.get_finished_spans()]
    assert (found.count("engage intake"), found.count("engage decide")) == (2, 1)


async def test_whoever_lost_the_partition_can_decide_nothing_any_more(partition: Partition) -> None:
    former = await active(partition, counting(1, every=1))
    successor = await partition.rules(counting(1, every=1))
    await partition.open_tickets(1)
    log = await partition.log()
    with pytest.raises(FencedError, match="Start this worker again"):
        await former.take(log, now())
    assert await partition.in_inbox(*DECISIONS) == []
    assert abouts(await successor.take(log, now())) == ["ticket number 1"]
    await former.close()
    await successor.close()
    assert len(await partition.in_inbox(*DECISIONS)) == 1


async def test_an_activation_is_asked_for_once_and_waited_for(partition: Partition) -> None:
    owner = await partition.rules(counting(1, every=1))
    for _ in range(3):
        await owner.idle(now())
    assert {event.data.rule for event in await partition.in_inbox("rule.activated")} == {"counting", "policy"}
    assert len(await partition.in_inbox("rule.activated")) == 2
    await partition.take_in()
    await owner.take(await partition.log(), now())
    await owner.idle(now())
    assert len(await partition.in_inbox("rule.activated")) == 2
    await owner.close()


async def test_activations_do_not_wait_for_a_quiet_moment(partition: Partition) -> None:
    await partition.open_tickets(2)
    owner = await partition.rules(counting(1, every=1))
    assert await owner.take(await partition.log(), now()) == []
    assert len(await partition.in_inbox("rule.activated")) == 2
    await owner.close()


async def test_a_changed_rule_folds_its_past_from_the_log_and_speaks_from_then_on(partition: Partition) -> None:
    owner = await active(partition, counting(1, every=2), asking())
    await partition.open_tickets(4)
    await owner.take(await partition.log(), now())
    await owner.close()
    changed = await partition.rules(counting(2, every=5), asking())
    await changed.take(await partition.log(), now())
    await changed.idle(now())
    await partition.take_in()
    assert await changed.take(await partition.log(), now()) == []
    await partition.open_tickets(1)
    assert abouts(await changed.take(await partition.log(), now())) == ["ticket number 5", "t-5"]
    await changed.close()


async def test_the_log_is_told_the_time_once_when_a_wake_is_due(partition: Partition) -> None:
    rule = reminder(after=timedelta(0))
    slow = Rule("slow", version=1, settings=Settings(after=timedelta(milliseconds=200)), state=Seen)

    @slow.on(TicketOpened)
    def opened(state, event, settings):
        yield Wake(event.time + settings.after, about=event.data.ticket_id)

    slow.on_wake(lambda state, wake, settings: [ask(wake.about)])
    owner = await active(partition, rule, slow)
    await partition.open_tickets(1)
    assert await owner.take(await partition.log(), now()) == []
    due = owner.next_due
    assert due is not None
    await owner.idle(due - timedelta(milliseconds=1))
    assert await partition.in_inbox("clock.ticked") == []
    await owner.idle(due)
    await owner.idle(due + timedelta(seconds=1))
    assert [event.data.until for event in await partition.in_inbox("clock.ticked")] == [due]
    await partition.take_in()
    assert abouts(await owner.take(await partition.log(), now())) == ["t-1"]
    await owner.close()


async def test_decisions_that_intake_has_not_taken_yet_are_known_to_rules_that_lost_their_state(
    partition: Partition,
) -> None:
    await decide_and_forget(partition)
    again = await partition.rules(counting(1, every=2))
    assert again.position == 0
    assert await again.take(await partition.log(), now()) == []
    await partition.open_tickets(2)
    assert abouts(await again.take(await partition.log(), now())) == ["ticket number 6"]
    await again.close()
    assert abouts(await partition.in_inbox(*DECISIONS)) == ["ticket number 2", "ticket number 4", "ticket number 6"]


async def test_decisions_that_intake_takes_while_rules_that_lost_their_state_look_for_them_are_known(
    partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    await decide_and_forget(partition)
    log = partition.platform.log

    async def taken_meanwhile(home: int) -> Record | None:
        monkeypatch.undo()
        await partition.take_in()
        while (found := await log.last(home)) is None or b"follow_up.requested" not in found.value:
            await log.wait({home: await log.end(home)}, 0.1)
        return found

    monkeypatch.setattr(log, "last", taken_meanwhile)
    again = await partition.rules(counting(1, every=2))
    assert await again.take(await partition.log(), now()) == []
    await again.close()


async def test_who_dies_while_it_folds_what_was_decided_before_has_no_successor_that_decides_it_again(
    partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_rules, "_NEAR", 0)
    await decide_and_forget(partition)
    await partition.take_in()
    doomed = await partition.rules(counting(1, every=2))
    assert await doomed.take((await partition.log())[:5], now()) == []
    await doomed.close()
    again = await partition.rules(counting(1, every=2))
    assert again.position == doomed.position > 0
    assert await again.take(await partition.log(), now()) == []
    await partition.open_tickets(2)
    assert abouts(await again.take(await partition.log(), now())) == ["ticket number 6"]
    await again.close()


async def test_a_changelog_that_is_older_than_what_was_decided_is_noticed_and_nothing_is_decided_again(
    partition: Partition, capsys: pytest.CaptureFixture[str]
) -> None:
    platform = partition.platform
    owner = await active(partition, counting(1, every=2))
    await partition.open_tickets(3)
    await owner.take(await partition.log(), now())
    older = await load(platform.bootstrap, platform.topics.rules_state, 0)
    await partition.open_tickets(2)
    await owner.take(await partition.log(), now())
    await owner.close()
    assert older.place is not None
    await put(platform, written(older.place, older.cells))
    again = await partition.rules(counting(1, every=2))
    assert again.position == older.place.position
    assert "is older than what was decided" in "".join(capsys.readouterr())
    assert await again.take(await partition.log(), now()) == []
    await partition.open_tickets(1)
    assert abouts(await again.take(await partition.log(), now())) == ["ticket number 6"]
    await again.close()


async def test_a_changelog_that_was_trimmed_at_its_front_is_noticed_and_folded_anew_once(
    partition: Partition, capsys: pytest.CaptureFixture[str]
) -> None:
    platform = partition.platform
    owner = await active(partition, counting(1, every=2), asking())
    await partition.open_tickets(3)
    await owner.take(await partition.log(), now())
    position = owner.position
    await owner.close()
    await trim(platform)
    again = await partition.rules(counting(1, every=2), asking())
    assert again.position == 0
    assert "was trimmed at its front" in "".join(capsys.readouterr())
    assert await again.take(await partition.log(), now()) == []
    await again.close()
    successor = await partition.rules(counting(1, every=2), asking())
    assert successor.position == position
    assert "was trimmed" not in "".join(capsys.readouterr())
    await partition.open_tickets(1)
    assert abouts(await successor.take(await partition.log(), now())) == ["ticket number 4", "t-4"]
    await successor.close()


async def trim(platform: KafkaPlatform) -> None:
    """Leave the last record of the changelog alone."""
    topic = platform.topics.rules_state
    [*_, last] = await records_in(platform.bootstrap, topic, 0)
    admin = AIOKafkaAdminClient(bootstrap_servers=platform.bootstrap)
    await admin.start()
    try:
        for policy in ("delete", "compact"):  # of what is compacted the broker lets nobody delete records
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"cleanup.policy": policy})])
            if policy == "delete":
                await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=last.offset)})
    finally:
        await admin.close()


async def decide_and_forget(partition: Partition) -> None:
    """Two decisions at four tickets, in the inbox still, and nothing is left of the state."""
    owner = await active(partition, counting(1, every=2))
    await partition.open_tickets(4)
    await owner.take(await partition.log(), now())
    await owner.close()
    await forget(partition)


async def forget(partition: Partition) -> None:
    """Tombstones over the whole changelog of the partition."""
    platform = partition.platform
    async with AIOKafkaProducer(bootstrap_servers=platform.bootstrap) as producer:
        for record in await records_in(platform.bootstrap, platform.topics.rules_state, 0):
            await producer.send_and_wait(platform.topics.rules_state, None, key=record.key, partition=0)


async def put(platform: KafkaPlatform, records: Sequence[Outgoing]) -> None:
    """Records onto the changelog of the partition, past its owner."""
    async with AIOKafkaProducer(bootstrap_servers=platform.bootstrap) as producer:
        for record in records:
            await producer.send_and_wait(platform.topics.rules_state, record.value, key=record.key, partition=0)


async def test_state_of_more_log_than_there_is_is_refused(partition: Partition) -> None:
    owner = await active(partition, counting(1, every=2))
    await partition.open_tickets(1)
    await owner.take(await partition.log(), now())
    await owner.close()
    platform = partition.platform
    stored = await load(platform.bootstrap, platform.topics.rules_state, 0)
    assert stored.place is not None
    await put(platform, written(Place(stored.place.generation, 10_000, stored.place.basis), []))
    with pytest.raises(LogGapError, match="10000 was asked for"):
        await partition.rules(counting(1, every=2))


async def test_a_record_that_nobody_can_read_is_a_dead_letter_and_the_next_one_is_decided_on(
    partition: Partition,
) -> None:
    owner = await active(partition, counting(1, every=1))
    platform = partition.platform
    async with AIOKafkaProducer(bootstrap_servers=platform.bootstrap) as producer:
        stamp = to_micros(now()) // 1_000
        for value in (*STRANGE.values(), None):
            await producer.send_and_wait(platform.topics.interactions, value, key=b"x", partition=0, timestamp_ms=stamp)
    await partition.open_tickets(1)
    assert len(await owner.take(await partition.log(), now())) == 1
    await owner.close()
    letters = await records_in(platform.bootstrap, platform.topics.dead_letters, 0)
    assert [letter.value for letter in letters] == [*STRANGE.values(), None]
    assert {dict(letter.headers)["engage-consumer"] for letter in letters} == {b"rules"}
    await forget(partition)
    successor = await partition.rules(counting(1, every=1))
    assert await successor.take(await partition.log(), now()) == [], "it was decided before"
    await successor.close()


class Anything(Struct):
    seen: Any = None


async def test_a_state_that_cannot_be_written_down_is_told_of_in_the_transaction_that_parks_it(
    partition: Partition,
) -> None:
    keeping = Rule("keeping", version=1, settings=Settings(), state=Anything)

    @keeping.on(TicketOpened)
    def opened(state, event, settings):
        state.seen = object()

    owner = await active(partition, keeping)
    await partition.open_tickets(1)
    await owner.take(await partition.log(), now())
    await owner.close()
    (letter,) = await records_in(partition.platform.bootstrap, partition.platform.topics.dead_letters, 0)
    assert b"cannot be kept" in dict(letter.headers)["engage-faults"]
    successor = await partition.rules(keeping)
    await successor.close()
    assert owner.parked == successor.parked == {("keeping", "acc-1")}
