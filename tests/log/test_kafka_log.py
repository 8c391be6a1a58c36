"""What readers of the log on a real Kafka broker see, and what they are told when something is wrong."""

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from string import ascii_letters, digits, punctuation

import msgspec
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from msgspec import Raw, structs

from engage.events import codec
from engage.events.validation import MAX_BYTES, Refusal
from engage.log.contract import LogGapError, Taken
from engage.log.kafka import KafkaLog
from engage.log.kafka_publisher import KafkaPublisher
from engage.log.topics import BrokerUnavailableError, LayoutError, Topics, check_topics, create_topics
from engage.services.edge import Edge
from engage.services.kafka_intake import InboxGapError, run_intake
from engage.testing.keyring import MemoryKeyring
from engage.testing.log_contract import ids_on, order, records_of
from tests.log.kafka_platform import DEADLINE, KafkaPlatform, fresh_topics, intake, kafka_platform

pytestmark = pytest.mark.anyio

NOBODY = "127.0.0.1:1"
NAMES = (ascii_letters + digits + punctuation.replace('"', "").replace("\\", "")).encode()


@pytest.fixture
async def platform(kafka: str) -> AsyncIterator[KafkaPlatform]:
    async with kafka_platform(kafka, partitions=1) as platform:
        yield platform


@pytest.fixture
async def admin(kafka: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    yield admin
    await admin.close()


async def take_in(platform: KafkaPlatform, *numbers: int) -> None:
    async with intake(platform):
        await platform.publish([order(number) for number in numbers])
        await platform.settle()


async def delete_up_to(admin: AIOKafkaAdminClient, topic: str, offset: int) -> None:
    await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=offset)})


async def test_topics_are_made_once_and_made_again_without_harm(kafka: str) -> None:
    topics = fresh_topics()
    made = await create_topics(kafka, 2, topics=topics)
    assert made.partitions == 2
    assert await create_topics(kafka, 2, topics=topics) == made == await check_topics(kafka, topics)


async def test_a_log_cannot_be_made_wider(kafka: str) -> None:
    topics = fresh_topics()
    await create_topics(kafka, 2, topics=topics)
    with pytest.raises(LayoutError, match="has 2 partitions, not 3"):
        await create_topics(kafka, 3, topics=topics)


async def test_every_fault_of_the_layout_is_named(kafka: str, admin: AIOKafkaAdminClient) -> None:
    topics = fresh_topics()
    with pytest.raises(LayoutError, match=rf"{topics.inbox}', .*{topics.dead_letters}', .* are missing: run"):
        await check_topics(kafka, topics)
    await admin.create_topics([NewTopic(topics.inbox, 1, 1), NewTopic(topics.interactions, 2, 1)])
    uneven, found = f"{topics.inbox}' has 1 partitions, but the log has 2", ""
    async with asyncio.timeout(DEADLINE):
        while uneven not in found:  # a broker that was just told of a topic may not know it yet
            with pytest.raises(LayoutError) as caught:
                await check_topics(kafka, topics)
            found = str(caught.value)
    for words in (
        f"'{topics.dead_letters}', ",
        f"kafka-topics --alter --topic {topics.inbox} --partitions 2",
        "message.timestamp.type=CreateTime",
        "--add-config message.timestamp.type=LogAppendTime",
        "--add-config retention.ms=-1",
    ):
        assert words in found


async def test_a_broker_that_is_away_is_named_by_all(platform: KafkaPlatform) -> None:
    edge = Edge(MemoryKeyring(), lambda: datetime.now(UTC))
    with pytest.raises(BrokerUnavailableError, match=NOBODY):
        await create_topics(NOBODY)
    with pytest.raises(BrokerUnavailableError, match="can be reached"):
        await KafkaLog(NOBODY).start()
    with pytest.raises(BrokerUnavailableError, match=NOBODY):
        await KafkaPublisher(NOBODY, edge=edge).publish([order(1)])
    with pytest.raises(BrokerUnavailableError, match=NOBODY):
        await run_intake(NOBODY, MemoryKeyring(), asyncio.Event())


async def test_a_broker_that_hangs_is_named_to_all_who_publish_at_once_when_their_time_is_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:  # whoever connects is let in and hears nothing
        publisher = KafkaPublisher(f"127.0.0.1:{hanging.getsockname()[1]}", seconds=0.3)
        async with asyncio.timeout(1):
            tried = await asyncio.gather(*(publisher.publish([order(1)]) for _ in range(4)), return_exceptions=True)
    for error in tried:
        assert isinstance(error, BrokerUnavailableError)
        assert "publishing 1 events to engage.inbox: no answer in time. See that" in str(error)


async def test_each_token_names_its_own_record_however_many_batches_there_are(platform: KafkaPlatform) -> None:
    filling = Raw(msgspec.json.encode({"filling": "x" * 2_000}))
    events = [structs.replace(codec.decode(order(number)), type="Something Odd", data=filling) for number in range(900)]
    async with KafkaPublisher(platform.bootstrap, platform.topics) as publisher:
        answers = await asyncio.gather(*(publisher.publish(events[start::3]) for start in range(3)))
    platform.expect(0, len(events) - 1)
    async with intake(platform):
        await platform.settle()
    names = {
        codec.decode(each.value).inboxoffset: codec.decode(each.value).id for each in await records_of(platform.log, 0)
    }
    for start, taken in enumerate(answers):
        places = [answer.token.offset for answer in taken if isinstance(answer, Taken)]
        assert [names[place] for place in places] == [event.id for event in events[start::3]]


async def test_records_that_were_deleted_are_a_gap(platform: KafkaPlatform, admin: AIOKafkaAdminClient) -> None:
    await take_in(platform, *range(5))
    await delete_up_to(admin, platform.topics.interactions, 3)
    with pytest.raises(LogGapError, match=r"holds the positions 3 to .*and 0 was asked for"):
        await platform.log.read(0, 0, 10)
    assert (await platform.log.read(0, 3, 1)).records[0].offset == 3


async def test_a_log_made_anew_has_another_generation_and_no_old_position(
    platform: KafkaPlatform, admin: AIOKafkaAdminClient
) -> None:
    await take_in(platform, *range(5))
    end = await platform.log.end(0)
    await admin.delete_topics([platform.topics.interactions])
    async with asyncio.timeout(30):
        while platform.topics.interactions in await admin.list_topics():
            pass
    await create_topics(platform.bootstrap, 1, topics=platform.topics)
    async with KafkaLog(platform.bootstrap, platform.topics) as anew:
        assert anew.generation != platform.log.generation
        with pytest.raises(LogGapError):
            await anew.read(0, end, 10)


async def test_what_was_never_committed_is_never_read(platform: KafkaPlatform) -> None:
    await take_in(platform, 1)
    topic = platform.topics.interactions
    async with AIOKafkaProducer(bootstrap_servers=platform.bootstrap, transactional_id="aborted") as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, order(2), partition=0)
        assert len(await records_of(platform.log, 0)) == 1
        await producer.abort_transaction()
    await take_in(platform, 3)
    found = [record.value for record in await records_of(platform.log, 0)]
    assert [b'"order-2"' in value for value in found] == [False, False]


async def test_inbox_records_deleted_before_they_were_read_stop_intake(
    platform: KafkaPlatform, admin: AIOKafkaAdminClient
) -> None:
    await take_in(platform, 1)
    await platform.publish([order(number) for number in range(2, 6)])
    await delete_up_to(admin, platform.topics.inbox, 3)
    with pytest.raises(InboxGapError, match="starts at 3, but intake has read up to 1 only"):
        await run_intake(platform.bootstrap, MemoryKeyring(), asyncio.Event(), topics=platform.topics)


async def test_inbox_records_deleted_after_they_were_read_are_not_missed(
    platform: KafkaPlatform, admin: AIOKafkaAdminClient
) -> None:
    await take_in(platform, 1, 2)
    await delete_up_to(admin, platform.topics.inbox, 2)
    await take_in(platform, 3)
    assert len(await records_of(platform.log, 0)) == 3


async def test_the_names_of_two_logs_on_a_cluster_do_not_meet() -> None:
    assert Topics().all == [
        "engage.inbox",
        "engage.interactions",
        "engage.dead-letters",
        "engage.links",
        "engage.rules-state",
    ]
    assert not set(Topics("a").all) & set(Topics("b").all)


async def test_an_event_that_swells_beyond_a_record_is_refused_and_sinks_no_neighbour(platform: KafkaPlatform) -> None:
    product = b'{"product_id":"p",%b}' % b",".join(b'"%c":1e15' % letter for letter in NAMES)
    swelling = codec.decode(order(2))
    swelling.data = Raw(b'{"order_id":"o","total":1,"products":[%b]}' % b",".join([product] * 1_170))
    events = [order(1), codec.encode(swelling), order(3)]
    assert max(map(len, events)) <= MAX_BYTES
    first, refused, last = await platform.publish(events)
    assert isinstance(first, Taken)
    assert isinstance(last, Taken)
    assert isinstance(refused, Refusal)
    assert refused.reason == "too_large"
    assert "on its way to the log" in refused.faults[0].message
    async with intake(platform):
        await platform.settle()
    assert await ids_on(platform.log) == ["order-1", "order-3"]
