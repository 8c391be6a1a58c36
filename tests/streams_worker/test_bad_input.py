"""Bad input through the running worker: to the dead letters as it came, and its neighbours know nothing of it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw, Struct

from engage.events import codec
from engage.events.sealing import is_sealed
from engage.log.contract import Record
from engage.log.partitioning import partition_of
from engage.testing.log_contract import ids_on, order, unknown
from tests.log.inbox import STRUCTURED, records_in, upstream
from tests.log.kafka_platform import KafkaPlatform, kafka_platform
from tests.streams_worker.given import (
    PATIENCE,
    active,
    assert_as_decided_by_the_pure_engine,
    events,
    settled,
    worker,
)

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(200)]

PARTITIONS = 2
ACCOUNT = "account-1"
HOME = partition_of(ACCOUNT, PARTITIONS)
NEIGHBOURS = [name for name in (f"account-{number}" for number in range(2, 40)) if partition_of(name, 2) == HOME][:2]
MB = 1_000_000


class Sent(Struct):
    """A record written to the inbox as it is; ``refused`` is the class of its dead letter."""

    value: bytes | None
    refused: str
    headers: Sequence[tuple[str, bytes | None]] = ()
    key: bytes | None = b"key"
    partition: int = HOME


@pytest.fixture
async def platform(kafka: str) -> AsyncIterator[KafkaPlatform]:
    async with kafka_platform(kafka, partitions=PARTITIONS) as platform:
        yield platform


def with_data(data: bytes) -> bytes:
    """An order whose data are these."""
    event = codec.decode(order(900, ACCOUNT))
    event.data = Raw(data)
    return codec.encode(event)


def without(attribute: str) -> bytes:
    """An order that lacks an attribute of its envelope."""
    attributes = msgspec.json.decode(order(901, ACCOUNT))
    del attributes[attribute]
    return msgspec.json.encode(attributes)


def that_swells() -> bytes:
    """An event of less than 2 MB, in which each undeclared field is named by its whole path once it is sealed: 7 MB."""
    product = b'{"product_id":"p",%b}' % b",".join(b'"%c":1' % letter for letter in b"abcdefghijklmnopqrstuvwxyz")
    return with_data(b'{"order_id":"o","total":1,"products":[%b]}' % b",".join([product] * 10_500))


BINARY = [("content-type", b"application/json")]
BAD = {
    "garbage bytes": Sent(b"\xff\xfe\x00{", "not_json", [("trace", b"t-1"), ("empty", None)]),
    "JSON that is cut off": Sent(order(902, ACCOUNT)[:-9], "not_json", STRUCTURED),
    "a wrong schema": Sent(with_data(b'{"order_id":"o","total":"ten"}'), "data", STRUCTURED),
    "no subject": Sent(without("subject"), "envelope", STRUCTURED),
    "no key, no sense": Sent(b"[1]", "envelope", key=None),
    "more than 1 MB of garbage": Sent(b"x" * (MB + 1), "too_large"),
    "more than an inbox event may have": Sent(with_data(b'{"gift":"%b"}' % (b"x" * 3 * MB)), "too_large", STRUCTURED),
    "less than 2 MB that swell": Sent(that_swells(), "too_large", STRUCTURED),
    "a tombstone": Sent(None, "not_json"),
    "a tombstone without a key": Sent(None, "not_json", key=None),
    "binary mode without its headers": Sent(b'{"order_id":"o","total":1}', "envelope"),
    "binary mode with nothing but a type": Sent(
        b'{"order_id":"o","total":1}', "envelope", [*BINARY, ("ce_type", b"Order Completed")]
    ),
    "good, but with headers of 5 MB and in the wrong partition": Sent(
        order(903, ACCOUNT), "too_large", [*STRUCTURED, ("trace", b"x" * 5 * MB)], partition=1 - HOME
    ),
    "a key of 9 MB": Sent(b"no event", "not_json", key=b"k" * 9 * MB),
    "an attribute that is no text": Sent(b"{}", "envelope", [*BINARY, ("ce_id", b"\xff")]),
}


async def on_the_log(platform: KafkaPlatform, wanted: set[str]) -> dict[int, list[Record]]:
    """Every record by partition, once these events are among them and all is decided."""
    async with asyncio.timeout(PATIENCE):
        while wanted - set(await ids_on(platform.log)):
            await asyncio.sleep(0.1)
    return await settled(platform)


async def test_bad_input_goes_to_the_dead_letters_and_sinks_no_neighbour(platform: KafkaPlatform, home: Path) -> None:
    numbers = iter(range(1, 900))
    good: set[str] = set()
    offsets: list[int] = []
    async with upstream(platform) as shop:
        with worker(platform, home) as process:
            await active(platform)

            async def neighbours() -> None:
                for account in (ACCOUNT, *NEIGHBOURS):
                    number = next(numbers)
                    await shop.send(order(number, account), HOME, STRUCTURED)
                    good.add(f"order-{number}")

            await neighbours()
            for bad in BAD.values():
                offsets.append(await shop.send(bad.value, bad.partition, bad.headers, bad.key))
                await neighbours()
            logs = await on_the_log(platform, good)
            assert process.poll() is None, "the worker has not even stumbled"
    assert Counter(await ids_on(platform.log)) == Counter(good), "each neighbour exactly once, and nothing that is bad"
    assert_as_decided_by_the_pure_engine(logs)
    spoken = [codec.open_data(event).data for event in events(logs, "follow_up.requested")]
    thirds = [each.about for each in spoken if each.rule == "every-third"]
    rounds = len(BAD) + 1
    assert len(thirds) == 3 * (rounds // 3), "each account's third order, bad input between them or not"
    letters = await told(platform)
    assert len(letters) == len(BAD)
    for (name, bad), at in zip(BAD.items(), offsets, strict=True):
        letter = letters[bad.partition, at]
        headers = dict(letter.headers)
        assert headers["engage-reason"] == bad.refused.encode(), f"{name}: {headers['engage-faults']!r}"
        assert headers["engage-faults"], name
        assert letter.value == bad.value, name
        cut = "engage-cut-from-bytes" in headers
        assert cut == (bad.partition != HOME), name
        assert cut or list(letter.headers)[: len(bad.headers)] == list(bad.headers), name
        assert (letter.key or None) == (bad.key and bad.key[: len(letter.key)]), name


async def told(platform: KafkaPlatform) -> dict[tuple[int, int], Any]:
    """The dead letters, by partition and offset of the inbox records they were."""
    found = {}
    for partition in range(PARTITIONS):
        for letter in await records_in(platform.bootstrap, platform.topics.dead_letters, partition):
            headers = dict(letter.headers)
            assert headers["engage-topic"].decode() == platform.topics.inbox
            found[int(headers["engage-partition"]), int(headers["engage-offset"])] = letter
    return found


async def test_an_unknown_type_and_an_event_without_a_key_are_kept(platform: KafkaPlatform, home: Path) -> None:
    async with upstream(platform) as shop:
        with worker(platform, home):
            await active(platform)
            await shop.send(order(1, ACCOUNT), HOME, STRUCTURED)
            await shop.send(unknown("gift-1", ACCOUNT, {"ribbon": "red"}), HOME, STRUCTURED)
            await shop.send(order(2, ACCOUNT), HOME, STRUCTURED, key=None)
            # Without a key Kafka puts it anywhere; its account says where it belongs.
            await shop.send(order(3, ACCOUNT), 1 - HOME, STRUCTURED, key=None)
            logs = await on_the_log(platform, {"order-1", "gift-1", "order-2", "order-3"})
    assert Counter(await ids_on(platform.log)) == Counter(["order-1", "gift-1", "order-2", "order-3"])
    assert_as_decided_by_the_pure_engine(logs)
    (gift,) = events(logs, "Gift Wrapped")
    assert is_sealed(msgspec.json.decode(gift.data)["undeclared"]), "nobody said whether it is personal"
    spoken = [codec.open_data(event).data for event in events(logs, "follow_up.requested")]
    assert [each.about for each in spoken if each.rule == "every-third"] == ["order-3"]
    for partition in range(PARTITIONS):
        assert await records_in(platform.bootstrap, platform.topics.dead_letters, partition) == []
