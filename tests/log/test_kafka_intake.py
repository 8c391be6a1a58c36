"""Intake on a real Kafka broker: what upstream systems write to the inbox, and what becomes of it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import AIOKafkaProducer
from msgspec import Raw

from engage.events import codec
from engage.events.catalogue.follow_up import FollowUpStarted
from engage.events.catalogue.rule import RuleActivated
from engage.events.envelope import Event
from engage.log.contract import Record
from engage.log.partitioning import partition_of
from engage.services.edge import Edge
from engage.services.intake import MAX_LEAP, TICK, ClockLeapError, tick
from engage.services.kafka_intake import KafkaIntake
from engage.services.kafka_partition import PartitionIntake
from engage.services.kafka_transaction import FencedError
from engage.services.records import events_of
from engage.testing.keyring import MemoryKeyring
from engage.testing.log_contract import ids_on, order, published, records_of
from tests.log.inbox import STRUCTURED, records_in, upstream
from tests.log.kafka_platform import PARTITIONS, KafkaPlatform, intake, kafka_platform
from tests.strangers import STRANGE

pytestmark = pytest.mark.anyio

HOME = partition_of("account-1", PARTITIONS)
ELSEWHERE = (HOME + 1) % PARTITIONS


@pytest.fixture
async def platform(kafka: str) -> AsyncIterator[KafkaPlatform]:
    async with kafka_platform(kafka) as platform:
        yield platform


def now() -> datetime:
    return datetime.now(UTC)


async def claim(platform: KafkaPlatform, partition: int = HOME, days: int = 30) -> PartitionIntake:
    edge = Edge(MemoryKeyring(), now)
    window = timedelta(days=days)
    return await PartitionIntake.claim(partition, platform.bootstrap, platform.topics, platform.log, edge, window)


async def dead_letters(platform: KafkaPlatform, partition: int = HOME) -> list[tuple[bytes | None, dict[str, bytes]]]:
    found = await records_in(platform.bootstrap, platform.topics.dead_letters, partition)
    return [(record.value, dict(record.headers)) for record in found]


async def test_an_event_in_the_wrong_partition_is_forwarded_and_counted_once(platform: KafkaPlatform) -> None:
    async with upstream(platform) as shop, intake(platform):
        twice = order(1)
        await shop.send(twice, ELSEWHERE, STRUCTURED)
        await shop.send(twice, ELSEWHERE, STRUCTURED)
        await platform.settle()
        forwarded = await records_in(platform.bootstrap, platform.topics.inbox, HOME)
        assert [record.value for record in forwarded] == [twice, twice]
        platform.expect(HOME, forwarded[-1].offset)
        await platform.settle()
        assert [(event.id, event.subject) for event in await published(platform.log)] == [("order-1", "account-1")]
        assert any(b"order-1" in record.value for record in await records_of(platform.log, HOME))


async def test_structured_and_binary_mode_give_the_same_event(platform: KafkaPlatform) -> None:
    structured = codec.decode(order(1))
    binary = codec.decode(order(2, time=structured.time))
    attributes = {
        "specversion": "1.0",
        "id": binary.id,
        "source": binary.source,
        "type": binary.type,
        "subject": binary.subject,
        "time": binary.time.isoformat(),
        "dataversion": "1",
    }
    headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
    async with upstream(platform) as shop, intake(platform):
        await shop.send(codec.encode(structured), HOME, STRUCTURED)
        await shop.send(bytes(binary.data), HOME, [*headers, ("content-type", b"application/json")])
        await platform.settle()
    first, second = await published(platform.log)
    assert (first.id, second.id) == ("order-1", "order-2")
    assert (first.type, first.subject, first.time) == (second.type, second.subject, second.time)
    assert bytes(second.data) == bytes(binary.data)


async def test_who_takes_up_a_partition_goes_on_behind_what_a_stranger_wrote_there(
    platform: KafkaPlatform,
) -> None:
    async with upstream(platform) as shop, intake(platform):
        await shop.send(order(1), HOME, STRUCTURED)
        await platform.settle()
    async with AIOKafkaProducer(bootstrap_servers=platform.bootstrap) as stranger:
        for value in (*STRANGE.values(), None):
            await stranger.send_and_wait(platform.topics.interactions, value, key=b"account-1", partition=HOME)
    async with upstream(platform) as shop, intake(platform):
        for number in (1, 2):
            await shop.send(order(number), HOME, STRUCTURED)
        async with asyncio.timeout(60):
            while b"order-2" not in (await records_of(platform.log, HOME))[-1].value:
                await platform.log.wait({HOME: await platform.log.end(HOME)}, 0.2)
    assert [event.id for event in events_of(await records_of(platform.log, HOME))] == ["order-1", "order-2"]


async def test_garbage_becomes_dead_letters_with_its_own_bytes_and_sinks_no_neighbour(platform: KafkaPlatform) -> None:
    wrong = codec.decode(order(2))
    wrong.data = Raw(b'{"order_id":"order-2","total":"ten"}')
    bad = [b"{ no json", codec.encode(wrong), None, b"\xff\xfe", b"[1]", b"x" * 3_000_000]
    async with upstream(platform) as shop, intake(platform):
        await shop.send(order(1), HOME)
        offsets = [await shop.send(value, HOME, [("trace", b"t-1")]) for value in bad]
        await shop.send(b"oops", HOME, [("ce_id", b"1"), ("content-type", b"application/json")])
        await shop.send(b"[]", HOME, [("content-type", b"application/cloudevents-batch+json")])
        await shop.send(order(3), HOME)
        await platform.settle()
    assert await ids_on(platform.log) == ["order-1", "order-3"]
    letters = await dead_letters(platform)
    assert [value for value, _ in letters] == [*bad, b"oops", b"[]"]
    reasons = [headers["engage-reason"].decode() for _, headers in letters]
    assert reasons == ["not_json", "data", "not_json", "not_json", "envelope", "too_large", "not_json", "envelope"]
    assert b"/data/total" in letters[1][1]["engage-faults"]
    for (_, headers), offset in zip(letters, offsets, strict=False):
        assert headers["trace"] == b"t-1"
        assert headers["engage-topic"].decode() == platform.topics.inbox
        assert (int(headers["engage-partition"]), int(headers["engage-offset"])) == (HOME, offset)


async def test_only_engage_itself_may_speak_of_a_partition(platform: KafkaPlatform) -> None:
    until = now() + timedelta(seconds=1)
    own_tick = codec.encode(tick(HOME, until))
    activated = codec.new_event(
        RuleActivated(partition=HOME, rule="win-back", rule_version=1, settings={}),
        id="activated",
        source="engage/rules",
        subject=f"partition:{HOME}",
        time=now(),
    )
    stranger = codec.decode(order(9, f"partition:{HOME}"))
    async with upstream(platform) as engage, intake(platform):
        await engage.send(codec.encode(activated), HOME)
        await engage.send(own_tick, HOME)
        await engage.send(own_tick, HOME)
        await engage.send(codec.encode(tick(ELSEWHERE, until)), HOME)
        await engage.send(codec.encode(stranger), HOME)
        await engage.send(order(1), HOME)
        await platform.settle()
    events = [codec.decode(record.value) for record in await records_of(platform.log, HOME)]
    kinds = [event.type for event in events]
    assert kinds.count("rule.activated") == 1
    assert kinds[-1] == "Order Completed"
    assert events[-1].now >= until, "the tick raised the partition's time"
    assert [headers["engage-reason"] for _, headers in await dead_letters(platform)] == [b"subject", b"subject"]


def relayed(time: datetime, number: int = 1) -> bytes:
    """What the relay publishes of a follow-up of account-1."""
    event = codec.new_event(
        FollowUpStarted(follow_up_id=f"f-{number}"),
        id=f"relayed-{number}",
        source="engage/relationships",
        subject="account-1",
        time=time,
    )
    return codec.encode(event)


async def all_on(platform: KafkaPlatform) -> list[str]:
    """The ids of whatever was taken to HOME, other than intake's own ticks."""
    events = [codec.decode(record.value) for record in await records_of(platform.log, HOME)]
    return [event.id for event in events if event.type != TICK]


async def test_a_stranger_s_tick_moves_no_time_and_none_moves_it_far_ahead(platform: KafkaPlatform) -> None:
    strange = tick(HOME, now() + timedelta(minutes=10))
    strange.source = "urn:shop"
    far = tick(HOME, now() + MAX_LEAP + timedelta(minutes=10))
    async with upstream(platform) as shop, intake(platform):
        await shop.send(codec.encode(strange), HOME)
        await shop.send(codec.encode(far), HOME)
        await shop.send(order(1), HOME)
        await platform.settle()
    assert [headers["engage-reason"] for _, headers in await dead_letters(platform)] == [b"reserved", b"in_future"]
    assert (await records_of(platform.log, HOME))[-1].recorded < now() + timedelta(minutes=1)


async def test_what_uses_a_type_or_source_of_engage_and_does_not_fit_is_a_dead_letter(platform: KafkaPlatform) -> None:
    erased, squatter, forged = (codec.decode(order(number)) for number in (1, 2, 3))
    erased.type, erased.data = "account.erased", Raw(b'{"generation":1}')
    squatter.source = "engage/relationships"
    forged.type, forged.source = "follow_up.requested", "engage/relationships"
    async with upstream(platform) as shop, intake(platform):
        for event in (erased, squatter, forged):
            await shop.send(codec.encode(event), HOME)
        await shop.send(relayed(now()), HOME)
        await platform.settle()
    assert await all_on(platform) == ["relayed-1"]
    assert {headers["engage-reason"] for _, headers in await dead_letters(platform)} == {b"reserved"}


async def test_an_acknowledged_command_reaches_the_log_however_late_or_early_and_once(platform: KafkaPlatform) -> None:
    late, early = relayed(now() - timedelta(days=60), 1), relayed(now() + timedelta(hours=2), 2)
    async with upstream(platform) as relay, intake(platform):
        for value in (late, early, late, early):
            await relay.send(value, HOME)
        await platform.settle()
    assert await all_on(platform) == ["relayed-1", "relayed-2"]
    assert await dead_letters(platform) == []


async def test_a_text_that_only_begins_like_a_sealed_one_is_sealed_at_intake(platform: KafkaPlatform) -> None:
    event = codec.decode(order(1))
    event.type, event.data = "Account Identified", Raw(b'{"email":"sealed:john@secret.org"}')
    async with upstream(platform) as shop, intake(platform):
        await shop.send(codec.encode(event), HOME)
        await platform.settle()
    assert await ids_on(platform.log) == ["order-1"]
    assert not any(b"john" in record.value for record in await records_of(platform.log, HOME))


async def test_a_batch_that_leaves_nothing_behind_still_says_how_far_it_went(platform: KafkaPlatform) -> None:
    async with upstream(platform) as shop:
        async with intake(platform):
            await shop.send(order(1), HOME)
            await platform.settle()
            last = await shop.send(b"garbage", HOME)
            await platform.settle()
        assert await platform.reached(HOME) == last
        successor = await claim(platform)
        await successor.close()
    assert successor.next_inbox == last + 1
    assert len(await dead_letters(platform)) == 1


async def test_what_happened_before_the_window_and_is_not_known_is_a_dead_letter(platform: KafkaPlatform) -> None:
    old = now() - timedelta(days=31)
    async with intake(platform):
        await platform.publish([order(1, time=old), order(2, time=now() - timedelta(days=29))])
        await platform.settle()
    assert await ids_on(platform.log) == ["order-2"]
    assert [headers["engage-reason"] for _, headers in await dead_letters(platform)] == [b"too_old"]


async def test_a_successor_knows_what_was_taken_and_its_time_never_goes_back(platform: KafkaPlatform) -> None:
    ahead = now() + timedelta(minutes=10)
    async with upstream(platform) as engage, intake(platform):
        await platform.publish([order(1)])
        await engage.send(codec.encode(tick(HOME, ahead)), HOME)
        await platform.settle()
    async with intake(platform):
        await platform.publish([order(1), order(2)])
        await platform.settle()
    assert await ids_on(platform.log) == ["order-1", "order-2"]
    recorded = [record.recorded for record in await records_of(platform.log, HOME)]
    assert recorded == sorted(recorded)
    assert recorded[-1] >= ahead


async def test_whoever_lost_a_partition_cannot_write_to_it_any_more(platform: KafkaPlatform) -> None:
    await platform.publish([order(1), order(2)])
    inbox = await records_in(platform.bootstrap, platform.topics.inbox, HOME)
    former = await claim(platform)
    await former.take(inbox[:1], now)
    successor = await claim(platform)
    with pytest.raises(FencedError, match="Start this worker again"):
        await former.take(inbox[1:], now)
    assert successor.next_inbox == inbox[0].offset + 1
    await successor.take(inbox, now)
    await former.close()
    await successor.close()
    await platform.settle()
    assert await ids_on(platform.log) == ["order-1", "order-2"]


async def test_a_leap_of_the_clock_stops_the_partition_at_that_record(platform: KafkaPlatform) -> None:
    await platform.publish([order(1), order(2)])
    inbox = await records_in(platform.bootstrap, platform.topics.inbox, HOME)
    owner = await claim(platform)
    with pytest.raises(ClockLeapError, match="set the clocks"):
        await owner.take(inbox, lambda: now() - MAX_LEAP - timedelta(minutes=1))
    assert await ids_on(platform.log) == []
    await owner.take(inbox, now)
    await owner.close()
    await platform.settle()
    assert await ids_on(platform.log) == ["order-1", "order-2"]


async def test_a_stopped_partition_raises_an_alarm_and_the_worker_goes_on(platform: KafkaPlatform) -> None:
    await platform.publish([order(1)])
    behind = KafkaIntake(
        platform.bootstrap,
        Edge(MemoryKeyring(), now),
        topics=platform.topics,
        clock=lambda: now() - MAX_LEAP - timedelta(minutes=1),
    )
    stop = asyncio.Event()
    work = asyncio.create_task(behind.run(stop))
    async with asyncio.timeout(30):
        while not behind.stopped:
            assert not await platform.log.wait({HOME: 0}, 0.1)
    assert behind.owned == frozenset(range(PARTITIONS)) - {HOME}
    assert "set the clocks" in behind.stopped[HOME]
    stop.set()
    await work


async def test_a_log_record_carries_its_account_and_its_time_for_other_consumers(platform: KafkaPlatform) -> None:
    async with intake(platform):
        await platform.publish([order(1)])
        await platform.settle()
    record = (await records_in(platform.bootstrap, platform.topics.interactions, HOME))[0]
    event: Event[Raw] = codec.decode(record.value)
    assert record.key == b"account-1"
    assert datetime.fromtimestamp(record.timestamp / 1_000, UTC) == event.recorded
    assert Record(HOME, record.offset, None, record.value) in await records_of(platform.log, HOME)
