"""Identities linked and parted on a real Kafka broker: each event counts once, whoever owns a partition meanwhile."""

import asyncio
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from itertools import groupby

import pytest
from aiokafka import AIOKafkaProducer
from msgspec import Raw

from engage.events import codec
from engage.events.envelope import Event
from engage.events.linking import LINKED
from engage.log.kafka_publisher import KafkaPublisher
from engage.log.partitioning import partition_of
from engage.services import kafka_links
from engage.services.records import events_of
from engage.testing.log_contract import records_of
from tests.log.inbox import records_in
from tests.log.kafka_platform import PARTITIONS, KafkaPlatform, kafka_platform
from tests.log.linking import Stepping, in_effect, link, links_on, orders, stepping, unlink
from tests.servers import PROJECT
from tests.strangers import STRANGE

pytestmark = pytest.mark.anyio

VISITOR, ACCOUNT, OTHER = "anonymous:7f3c", "customer-17", "customer-18"


@pytest.fixture
async def platform(kafka: str) -> AsyncIterator[KafkaPlatform]:
    async with kafka_platform(kafka) as platform:
        yield platform


@pytest.fixture
async def house(platform: KafkaPlatform) -> AsyncIterator[Stepping]:
    async with stepping(platform) as made:
        yield made


async def say(house: Stepping, *events: bytes | Event[Raw]) -> None:
    """Events of others and words of engage's own, taken in before anything else is said."""
    for ours, together in groupby(events, lambda event: isinstance(event, Event)):
        await (house.words if ours else house.platform.publisher).publish(list(together))
    await house.settle()


async def counted(house: Stepping) -> dict[str, list[str]]:
    """The numbers of the orders that count, by account; a number twice where it counts twice."""
    found: dict[str, list[str]] = {}
    for (account, event_id), count in sorted(in_effect(await house.events()).items()):
        found.setdefault(account, []).extend([event_id.removeprefix("order-")] * count)
    return found


async def refusals(house: Stepping) -> list[str]:
    platform = house.platform
    found = [
        dict(record.headers)["engage-faults"].decode()
        for partition in range(PARTITIONS)
        for record in await records_in(platform.bootstrap, platform.topics.dead_letters, partition)
    ]
    return sorted(found)


async def test_its_story_goes_to_the_account_what_comes_later_too_and_comes_back(house: Stepping) -> None:
    await say(house, *orders(VISITOR, 1, 3), *orders(ACCOUNT, 2))
    await say(house, link(VISITOR, ACCOUNT))
    await say(house, *orders(VISITOR, 4, 1))
    assert await counted(house) == {ACCOUNT: ["1", "2", "3", "4"]}
    await say(house, unlink(VISITOR, ACCOUNT))
    await say(house, *orders(VISITOR, 5))
    assert await counted(house) == {ACCOUNT: ["2"], VISITOR: ["1", "3", "4", "5"]}
    await say(house, link(VISITOR, OTHER, said=1), unlink(VISITOR, OTHER, said=1), link(VISITOR, ACCOUNT, said=2))
    assert await counted(house) == {ACCOUNT: ["1", "2", "3", "4", "5"]}


async def test_its_story_is_told_past_what_a_stranger_wrote_to_the_log(house: Stepping) -> None:
    await say(house, *orders(VISITOR, 1))
    platform = house.platform
    async with AIOKafkaProducer(bootstrap_servers=platform.bootstrap) as stranger:
        for value in (*STRANGE.values(), None):
            await stranger.send_and_wait(
                platform.topics.interactions, value, key=b"x", partition=partition_of(VISITOR, PARTITIONS)
            )
    await say(house, *orders(VISITOR, 2), link(VISITOR, ACCOUNT))
    records = [record for partition in range(PARTITIONS) for record in await records_of(platform.log, partition)]
    assert in_effect(list(events_of(records))) == {(ACCOUNT, "order-1"): 1, (ACCOUNT, "order-2"): 1}


async def test_an_account_may_say_what_was_said_of_its_visitor_by_the_same_id(house: Stepping) -> None:
    await say(house, *orders(VISITOR, 1, 2), link(VISITOR, ACCOUNT))
    await say(house, *orders(VISITOR, 3), *orders(ACCOUNT, 1))
    assert await counted(house) == {ACCOUNT: ["1", "1", "2", "3"]}
    await house.claim(partition_of(ACCOUNT, PARTITIONS))
    await say(house, *orders(ACCOUNT, 2, 3, 1), *orders(VISITOR, 1, 2, 3))
    assert await counted(house) == {ACCOUNT: ["1", "1", "2", "2", "3", "3"]}


async def test_chains_hold_and_whoever_is_parted_takes_along_who_it_was(house: Stepping) -> None:
    await say(house, *orders(VISITOR, 1), *orders(ACCOUNT, 2), *orders(OTHER, 3))
    await say(house, link(ACCOUNT, OTHER), link(VISITOR, ACCOUNT))
    await say(house, *orders(VISITOR, 4), *orders(ACCOUNT, 5))
    assert await counted(house) == {OTHER: ["1", "2", "3", "4", "5"]}
    await say(house, unlink(ACCOUNT, OTHER))
    assert await counted(house) == {ACCOUNT: ["1", "2", "4", "5"], OTHER: ["3"]}
    await say(house, link(ACCOUNT, OTHER, said=1), unlink(VISITOR, ACCOUNT))
    assert await counted(house) == {VISITOR: ["1", "4"], OTHER: ["2", "3", "5"]}


async def test_what_cannot_be_is_refused_and_a_ring_opens_by_itself(house: Stepping) -> None:
    await say(house, link(VISITOR, VISITOR), unlink(VISITOR, ACCOUNT), link(VISITOR, ACCOUNT))
    await say(house, link(VISITOR, OTHER, said=1), link(VISITOR, ACCOUNT, said=2))
    faults = await refusals(house)
    assert ["linked to itself" in faults[0], "is linked to" in faults[1], "is not linked" in faults[2]] == [True] * 3
    assert len(faults) == 3, "the same said again is no fault"
    await say(house, *orders(VISITOR, 1), *orders(ACCOUNT, 2), *orders(OTHER, 3), link(ACCOUNT, OTHER))
    await say(house, link(OTHER, VISITOR), *orders(VISITOR, 4))
    links = links_on(await house.events())
    assert links.linked_to(OTHER) is None, "it came round to whom it was said of"
    assert await counted(house) == {OTHER: ["1", "2", "3", "4"]}


@pytest.mark.parametrize("before", [0, 2])
async def test_of_links_that_close_a_ring_at_once_one_is_taken_back(house: Stepping, before: int) -> None:
    ring = [VISITOR, "zoe", ACCOUNT, "anonymous:1"]
    links = [link(visitor, account) for visitor, account in zip(ring, [*ring[1:], ring[0]], strict=True)]
    await say(house, *orders(VISITOR, 1), *orders("zoe", 2))
    await say(house, *links[:before])
    await say(house, *links[before:])
    assert len(links_on(await house.events()).pairs()) == 3
    assert Counter((await counted(house)).popitem()[1]) == {"1": 1, "2": 1}


async def test_two_accounts_of_one_partition_that_are_linked_to_each_other_at_once_are_linked(house: Stepping) -> None:
    one, other = [name for name in map("customer-{}".format, range(100)) if partition_of(name, PARTITIONS) == 0][:2]
    await say(house, link(one, other), link(other, one))
    assert len(links_on(await house.events()).pairs()) == 1


async def test_what_a_library_says_overrules_nobody(house: Stepping) -> None:
    await say(house, *orders(VISITOR, 1), link(VISITOR, ACCOUNT, cause="identify-1"))
    await say(house, link(VISITOR, OTHER, said=1, cause="identify-2"), unlink(VISITOR, ACCOUNT))
    await say(house, link(VISITOR, ACCOUNT, said=2, cause="identify-3"))
    assert await counted(house) == {VISITOR: ["1"]}
    assert await refusals(house) == []
    assert [event.type for event in await house.events()].count(LINKED) == 1


async def test_what_an_upstream_says_of_copies_is_not_heard(house: Stepping) -> None:
    event = codec.decode(orders(VISITOR, 1)[0])
    event.origin, event.linkedto, event.retold = "customer-1", ACCOUNT, True
    await house.platform.publisher.publish([event])
    await house.settle()
    [taken] = await house.events()
    assert (taken.origin, taken.linkedto, taken.retold) == (None, None, False)


async def test_who_comes_next_knows_who_is_linked_and_goes_on_with_the_move(
    house: Stepping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_links, "_PAGE", 7)
    home = partition_of(VISITOR, PARTITIONS)
    await say(house, *(one for number in range(40) for one in orders(VISITOR, number)))
    await house.words.publish([link(VISITOR, ACCOUNT)])
    while await house.take(home, 1_000) or not house.owners[home].retells:
        pass
    for _ in range(3):
        await house.retell(home)
        await house.claim(home)
        assert house.owners[home].retells, "it was in the middle of it"
    await say(house, *orders(VISITOR, 40))
    assert in_effect(await house.events()) == {(ACCOUNT, f"order-{number}"): 1 for number in range(41)}


async def killed(platform: KafkaPlatform) -> int:
    """How a worker ended that intake runs in, and that is killed in the middle of a move."""
    command = [sys.executable, "-m", "tests.log.retelling_worker", platform.bootstrap, platform.topics.prefix]
    process = await asyncio.create_subprocess_exec(*command, cwd=PROJECT, stderr=asyncio.subprocess.DEVNULL)
    async with asyncio.timeout(60):
        return await process.wait()


@pytest.mark.fault
async def test_a_move_whose_worker_was_killed_goes_on_and_every_event_is_told_once(platform: KafkaPlatform) -> None:
    told = orders(VISITOR, *range(300))
    await platform.publisher.publish(told)
    async with KafkaPublisher(platform.bootstrap, platform.topics) as words:
        await words.publish([link(VISITOR, ACCOUNT)])
    assert await killed(platform) == -signal.SIGKILL
    async with stepping(platform) as house:
        assert house.owners[partition_of(VISITOR, PARTITIONS)].retells, "it was in the middle of it"
        await house.settle()
        assert in_effect(await house.events()) == {(ACCOUNT, f"order-{number}"): 1 for number in range(300)}


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_is_said_at_once_and_whoever_is_lost_every_event_counts_once(
    house: Stepping, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(kafka_links, "_PAGE", 5)
    chance = random.Random(seed)
    people = [VISITOR, ACCOUNT, OTHER, "anonymous:1", "customer-3"]
    said: list[tuple[str, str]] = []
    for turn in range(12):
        events = [one for _ in range(4) for one in orders(chance.choice(people), chance.randrange(1_000))]
        said += [(event.subject, event.id) for event in map(codec.decode, events)]
        await house.platform.publisher.publish(events)
        links = links_on(await house.events())
        for word in range(chance.randrange(3)):
            visitor, account = chance.sample(people, 2)
            before = links.linked_to(visitor)
            number = 10 * turn + word
            await house.words.publish(
                [link(visitor, account, said=number) if before is None else unlink(visitor, before, said=number)]
            )
        for _ in range(chance.randrange(12)):
            partition = chance.randrange(PARTITIONS)
            doing = chance.choice([house.take, house.take, house.retell])
            await (house.retell(partition) if doing == house.retell else house.take(partition, chance.randrange(1, 9)))
            if chance.random() < 0.08:
                await house.claim(partition)
    await house.settle()
    on_log = await house.events()
    links = links_on(on_log)
    assert in_effect(on_log) == Counter((links.home(account), event_id) for account, event_id in set(said))
