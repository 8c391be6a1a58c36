"""What is asked of the log is found, all of it and nothing else, and what led to what is told."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from engage.events import codec
from engage.events.catalogue.commerce import OrderCompleted, OrderRefunded
from engage.events.envelope import Event
from engage.log.contract import Taken
from engage.services import log_search
from engage.services.causation import Chain, grown
from engage.services.log_search import Wanted, at, count, find, newest
from engage.testing.events import happened
from engage.testing.memory_log import MemoryLog
from tests.log.kafka_platform import intake, kafka_platform

DAY = timedelta(days=1)
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
ACCOUNTS = ("acc-1", "acc-10", 'say "hi"', "ع/😀%")


def order(number: int, subject: str = "acc-1", day: int = 0, **more: Any) -> Event[Any]:
    data = (
        OrderRefunded(order_id=f"o-{number}", total=1.0) if number % 3 == 0 else OrderCompleted(order_id="o", total=1)
    )
    return structs.replace(happened(data, at=BEGIN + day * DAY, subject=subject, id=f"e-{number}"), **more)


async def all_of(log: Any, wanted: Wanted) -> list[Event[Any]]:
    return [event async for event in find(log, wanted)]


@given(
    story=st.lists(st.tuples(st.sampled_from(ACCOUNTS), st.integers(0, 4)), max_size=30),
    account=st.sampled_from([None, *ACCOUNTS]),
    kind=st.sampled_from([(), ("Order Completed",), ("Order Refunded", "Order Completed"), ("Order",)]),
    days=st.tuples(st.none() | st.integers(0, 5), st.none() | st.integers(0, 5)),
    most=st.integers(1, 5),
)
def test_found_is_what_fits_and_in_the_order_of_recording(story, account, kind, days, most):
    log = MemoryLog(partitions=3)
    log.append(*(order(number, subject, day) for number, (subject, day) in enumerate(story)))
    since, until = (None if day is None else BEGIN + day * DAY for day in days)
    wanted = Wanted(account=account, types=kind, since=since, until=until)

    async def run() -> None:
        whole = await all_of(log, Wanted())
        assert len(whole) == len(story)
        assert [event.now for event in whole] == sorted(event.now for event in whole)
        found = await all_of(log, wanted)
        assert found == [
            event
            for event in whole
            if account in (None, event.subject)
            and (not kind or event.type in kind)
            and (since is None or event.now >= since)
            and (until is None or event.now < until)
        ]
        assert await newest(log, wanted, most) == found[-most:]
        counted = await count(log, wanted, "account")
        assert dict(counted) == {name: sum(e.subject == name for e in found) for name in {e.subject for e in found}}

    asyncio.run(run())


async def test_a_search_that_needs_many_pages_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(log_search, "_PAGE", 7)
    log = MemoryLog(partitions=2)
    log.append(*(order(number, f"acc-{number % 5}") for number in range(100)))
    told: list[tuple[int, int]] = []
    found = [event async for event in find(log, Wanted(), lambda *far: told.append(far))]
    assert (len(found), told[-1]) == (100, (100, 100))
    assert told == sorted(told)
    assert len(await newest(log, Wanted(account="acc-3"), 12)) == 12


async def test_a_place_has_its_record_and_places_beyond_have_none():
    log = MemoryLog()
    [token] = log.append(order(1))
    found = await at(log, token.partition, token.offset)
    assert found is not None and (found.id, found.offset) == ("e-1", 0)
    assert [await at(log, *place) for place in ((0, 1), (1, 0), (0, -1))] == [None] * 3


async def test_on_kafka_transaction_markers_are_no_records(kafka: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(log_search, "_PAGE", 3)
    async with kafka_platform(kafka) as platform, intake(platform):
        for number in range(12):  # each batch is a transaction, and leaves a marker behind it
            now = datetime.now(UTC)  # what is older than its window, intake does not take
            event = order(number, f"acc-{number % 4}", time=now, recorded=None, partition=-1)
            assert isinstance((await platform.publish([codec.encode(event)]))[0], Taken)
            await platform.settle()
        wanted = Wanted(types=("Order Completed", "Order Refunded"))
        found = await all_of(platform.log, wanted)
        assert [event.id for event in found] == [f"e-{number}" for number in range(12)]
        assert await newest(platform.log, wanted, 5) == found[-5:]


def told(chain: Chain) -> Any:
    return (chain.event.id, [told(one) for one in chain.led_to])


def test_the_tree_goes_from_the_first_cause_to_all_that_came_of_it():
    story = [
        order(1, offset=0),
        order(2, offset=1, causationid="e-1"),
        order(3, offset=2),
        order(4, offset=3, causationid="e-2"),
        order(5, offset=4, causationid="e-1"),
        order(6, offset=5, causationid="nowhere"),
    ]
    whole = ("e-1", [("e-2", [("e-4", [])]), ("e-5", [])])
    assert [told(grown(story, story[place])) for place in (0, 1, 3, 4)] == [whole] * 4
    assert told(grown(story, story[2])) == ("e-3", [])
    assert told(grown(story, story[5])) == ("e-6", [])


def test_an_event_that_names_itself_as_its_cause_is_a_cause_of_nothing():
    story = [order(1, offset=0, causationid="e-1"), order(1, offset=1, causationid="e-1")]
    assert told(grown(story, story[1])) == ("e-1", [("e-1", [])])


def test_a_chain_may_be_longer_than_python_recurses():
    story = [order(number, offset=number, causationid=f"e-{number - 1}") for number in range(5_000)]
    chain, depth = grown(story, story[4_000]), 0
    while chain.led_to:
        [chain], depth = chain.led_to, depth + 1
    assert depth == 4_999
