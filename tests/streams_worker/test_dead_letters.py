"""Dead letters on a real broker: a word on the log lets rules and intake go on, or sets aside what they cannot take."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from engage.events import codec
from engage.events.catalogue.rule import RuleDisabled, RuleEnabled
from engage.events.catalogue.support import TicketOpened
from engage.events.envelope import Event
from engage.events.validation import Fault, Refusal
from engage.log.contract import Record
from engage.log.kafka_publisher import KafkaPublisher
from engage.rules.decisions import TYPES as DECISIONS
from engage.rules.engine import Engine
from engage.rules.policy import PolicySettings
from engage.rules.rule import Rule
from engage.services import kafka_partition
from engage.services.intake import Stamp
from engage.services.kafka_rules import PartitionRules
from engage.services.letters.acting import Command, act
from engage.services.letters.finding import DeadLetters
from engage.services.letters.kafka import Kafka
from engage.services.letters.letter import Chosen
from engage.services.letters.unread import DESK, Unread
from engage.services.partition_runner import PartitionRunner
from tests.log.kafka_platform import kafka_platform
from tests.rules.probes import Seen, Settings, ask
from tests.streams_worker.given import on_log
from tests.streams_worker.test_kafka_rules import Partition, abouts, active, forget, now

pytestmark = pytest.mark.anyio
ANY_HOUR = PolicySettings(quiet_hours=None)


def picky(bad: str = "") -> Rule[Any, Any]:
    """Counts tickets and asks for each; one is too much for it."""
    rule = Rule("picky", version=1, settings=Settings(), state=Seen)

    @rule.on(TicketOpened)
    def opened(state, event, settings):
        state.count += 1
        if event.data.ticket_id == bad:
            raise ZeroDivisionError("cannot take it")
        yield ask(f"{event.data.ticket_id}-{state.count}")

    return rule


@pytest.fixture
async def partition(kafka: str) -> AsyncIterator[Partition]:
    async with kafka_platform(kafka, partitions=1) as platform:
        yield Partition(platform)


def letters_of(partition: Partition) -> DeadLetters:
    platform = partition.platform
    return DeadLetters(platform.log, None, (), Kafka(platform.bootstrap, platform.topics, platform.log))


def working(partition: Partition, owner: PartitionRules) -> Callable[[], Awaitable[None]]:
    """Intake and rules take what there is."""

    async def work() -> None:
        await partition.take_in()
        await owner.take(await partition.log(), now())

    return work


def refolded(records: list[Any], *rules: Rule[Any, Any]) -> list[bytes]:
    """What the embedded runner decides on the same records."""
    log = [Record(0, one.offset, now(), one.value) for one in records]
    runner = PartitionRunner(Engine(0, rules, ANY_HOUR), Stamp(0), 0, lambda end: [x for x in log if x.offset < end])
    return [codec.encode(one) for one in runner.fold(log)]


async def test_a_rule_goes_on_with_an_account_once_it_is_mended_or_the_event_is_passed_over(
    partition: Partition,
) -> None:
    owner = await active(partition, picky(bad="t-2"))
    await partition.open_tickets(3)
    await owner.take(await partition.log(), now())
    letters = letters_of(partition)
    [letter] = await letters.listed(Chosen(rule="picky"))
    assert (letter.account, letter.fault) == ("acc-1", "ZeroDivisionError: cannot take it")
    assert "Traceback" in (await letters.one(letter.id)).error

    publish = partition.platform.publish
    retry = Command("retry", "ada", now())
    [done] = await act(letters, Chosen(ids=(letter.id,)), retry, publish, {}, settle=working(partition, owner))
    assert (done.outcome, done.detail) == ("failed_again", "ZeroDivisionError: cannot take it")
    [done] = await act(letters, Chosen(ids=(letter.id,)), Command("retry", "ada", now()), publish, {}, seconds=0)
    assert done.outcome == "waits"
    await owner.close()

    owner = await partition.rules(picky(bad="t-2"))
    skip = Command("skip", "ada", now(), "a test")
    [done] = await act(letters, Chosen(rule="picky"), skip, publish, {}, settle=working(partition, owner))
    assert done.outcome == "goes_on"
    assert await letters.listed(Chosen()) == []
    await owner.close()

    owner = await partition.rules(picky())  # who comes next heeds what was passed over
    await partition.open_tickets(1)
    assert abouts(await owner.take(await partition.log(), now())) == ["t-4-3"]
    await partition.take_in()
    await owner.close()
    assert abouts(await partition.in_inbox(*DECISIONS)) == ["t-1-1", "t-4-3"]
    records = await partition.log()
    assert refolded(records, picky(bad="t-2")) == on_log(records)


async def test_rules_that_lost_their_state_stay_silent_where_they_stood_still_however_the_log_comes_in_batches(
    partition: Partition,
) -> None:
    owner = await active(partition, picky(bad="t-2"))
    await partition.open_tickets(3)
    await owner.take(await partition.log(), now())
    await owner.close()
    owner = await partition.rules(picky())
    letters, retry = letters_of(partition), Command("retry", "ada", now())
    [done] = await act(letters, Chosen(), retry, partition.platform.publish, {}, settle=working(partition, owner))
    assert done.outcome == "goes_on"
    await owner.close()
    await forget(partition)
    owner = await partition.rules(picky())
    records = await partition.log()
    last_decided_at = next(n for n, one in enumerate(records) if codec.decode(one.value).type == "Ticket Opened")
    assert await owner.take(records[: last_decided_at + 1], now()) == []
    assert await owner.take(records[last_decided_at + 1 :], now()) == []
    await owner.close()


async def test_what_intake_refused_is_read_anew_or_set_aside(
    partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = partition.platform
    producer = AIOKafkaProducer(bootstrap_servers=platform.bootstrap)
    await producer.start()
    await producer.send_and_wait(platform.topics.inbox, b"no event at all", key=b"acc-9", partition=0)
    await producer.stop()

    def unknown(event: Event[Any], appended: Any) -> Any:  # the catalogue as it was
        return Refusal("data", (Fault("/data", "is of a shape to come"),))

    with monkeypatch.context() as then:
        then.setattr(kafka_partition, "check_event", unknown)
        await partition.open_tickets(1)
    letters = letters_of(partition)
    assert [one.fault.split(":")[0] for one in await letters.listed(Chosen(consumer="intake"))] == ["not_json", "data"]

    done = await act(letters, Chosen(), Command("retry", "ada", now()), platform.publish, {})
    assert [one.outcome for one in done] == ["failed_again", "goes_on"]
    await partition.take_in()
    assert [codec.decode(one.value).type for one in await partition.log()].count("Ticket Opened") == 1
    [left] = await letters.listed(Chosen())
    await act(letters, Chosen(ids=(left.id,)), Command("skip", "ada", now(), "noise"), platform.publish, {})
    await partition.take_in()
    assert await letters.listed(Chosen()) == []


async def test_a_rule_that_is_disabled_rests_across_owners_until_it_is_enabled(partition: Partition) -> None:
    owner = await active(partition, picky())

    async def said(data: Any, number: int) -> None:
        name = f"said-{number}"
        word = codec.new_event(data, id=name, source="engage/operators", subject="partition:0", time=now())
        async with KafkaPublisher(partition.platform.bootstrap, partition.platform.topics) as publisher:
            await publisher.publish([word])
        await working(partition, owner)()

    await partition.open_tickets(1)
    await owner.take(await partition.log(), now())
    await said(RuleDisabled(partition=0, rule="picky"), 1)
    await owner.close()
    owner = await partition.rules(picky())
    await partition.open_tickets(2)
    assert await owner.take(await partition.log(), now()) == []
    await said(RuleEnabled(partition=0, rule="picky"), 2)
    await partition.open_tickets(1)
    assert abouts(await owner.take(await partition.log(), now())) == ["t-4-4"]
    await partition.take_in()
    await owner.close()
    records = await partition.log()
    assert refolded(records, picky()) == on_log(records)


async def test_what_the_desk_could_not_read_is_a_dead_letter_until_it_is_retried_or_skipped(
    partition: Partition,
) -> None:
    await partition.open_tickets(2)
    letters, again = letters_of(partition), list[tuple[int, int]]()
    at = [record.offset for record in await partition.log()]
    for offset in (*at, at[0]):  # the same once more is the same one
        await letters.source.keep(Unread(consumer=DESK, partition=0, offset=offset, account="acc-1", error="no event"))
    first, second = await letters.listed(Chosen(consumer=DESK))
    assert ((first.partition, first.offset), first.fault) == ((0, at[0]), "no event")

    async def taken(where: int, offset: int) -> None:
        again.append((where, offset))

    publish = partition.platform.publish
    await act(letters, Chosen(ids=(first.id,)), Command("retry", "ada", now()), publish, {DESK: taken})
    await act(letters, Chosen(ids=(second.id,)), Command("skip", "ada", now(), "noise"), publish, {DESK: taken})
    await partition.take_in()
    assert again == [(0, at[0])]
    assert await letters.listed(Chosen()) == []


async def test_what_is_no_event_on_the_log_is_listed_and_may_be_skipped(partition: Partition) -> None:
    await partition.open_tickets(1)
    owner = await active(partition, picky())
    platform = partition.platform
    async with AIOKafkaProducer(bootstrap_servers=platform.bootstrap) as producer:
        await producer.send_and_wait(platform.topics.interactions, b"{ no json", key=b"x", partition=0)
    await owner.take(await partition.log(), now())
    await owner.close()
    letters = letters_of(partition)
    [letter] = await letters.listed(Chosen())
    assert (letter.consumer, letter.account) == ("rules", "x")
    [done] = await act(letters, Chosen(), Command("retry", "ada", now()), platform.publish, {})
    assert (done.outcome, "published" in done.detail) == ("refused", True)
    [done] = await act(letters, Chosen(), Command("skip", "ada", now(), "not ours"), platform.publish, {})
    assert done.outcome == "goes_on"
