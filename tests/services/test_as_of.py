"""A read model as of a moment is what it was at that moment, for everybody and for one account alone."""

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from engage.events.codec import encode
from engage.events.envelope import Event
from engage.log.contract import LogGapError
from engage.services.as_of import AheadError, SumsError, as_of, replay
from engage.services.intake import tick
from engage.services.log_search import Wanted
from engage.services.projector import Projector
from engage.store.positions import GenerationError
from engage.store.views import ViewStore
from engage.testing.memory_log import MemoryLog
from projections.shared.timeline import timeline
from tests.services.shop_views import order, refund
from tests.services.town_views import regulars, stored, told, town_log, warmths

FAMILY = (regulars, warmths)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
ACCOUNTS = ["acc-1", "acc-2", "acc-3"]
STORY = st.lists(
    st.one_of(
        st.builds(order, st.integers(0, 99), st.just(1), st.sampled_from(ACCOUNTS), day=st.integers(1, 28)),
        st.builds(refund, st.integers(0, 99), st.sampled_from(ACCOUNTS)),
    ),
    max_size=15,
)


async def live_until(story: list[Event[Any]], moment: datetime) -> dict[str, Any]:
    """What readers saw at that moment: nothing later was there, and the time was told."""
    log = MemoryLog(partitions=2)
    for event in recorded(story):
        if event.now <= moment:
            log.append(event)
    for partition in range(2):
        passed = tick(partition, moment)
        log.append_raw(partition, moment, encode(structs.replace(passed, recorded=moment)))
    with fresh() as store:
        await Projector(log, store, FAMILY).catch_up()
        return stored(store)


@contextmanager
def fresh() -> Iterator[ViewStore]:
    with TemporaryDirectory() as folder, closing(ViewStore(f"sqlite:///{folder}/views.db")) as store:
        yield store


def recorded(story: list[Event[Any]]) -> list[Event[Any]]:
    """The story as its log keeps it: ``recorded`` never goes back."""
    kept, last = [], datetime(1970, 1, 1, tzinfo=UTC)
    for event in story:
        last = max(last, event.time)
        kept.append(structs.replace(event, recorded=last))
    return kept


@settings(max_examples=25)
@given(story=STORY, day=st.integers(0, 60), account=st.sampled_from(ACCOUNTS))
def test_it_is_what_readers_saw_then(story: list[Event[Any]], day: int, account: str):
    moment = MARCH + timedelta(days=day)

    async def run() -> None:
        log = MemoryLog(partitions=2)
        log.append(*recorded(story))
        expected = await live_until(story, moment)
        async with as_of(log, FAMILY, moment, NOW) as then:
            assert stored(then) == expected
        with fresh() as live:
            for shown in (False, True):  # the second time the live timeline says where its records are
                if shown:
                    await Projector(log, live, [timeline]).catch_up()
                async with as_of(log, [regulars], moment, NOW, account=account, store=live) as then:
                    mine = [row for row in expected["regulars"] if row.account == account]
                    assert then.select(regulars) == mine

    asyncio.run(run())


async def test_a_timeline_that_is_behind_hides_nothing():
    log = MemoryLog(partitions=2)
    log.append(*told(0, 30))
    with fresh() as live:
        await Projector(log, live, [timeline]).catch_up()
        log.append(*told(30, 60))
        async with as_of(log, [timeline], NOW, NOW, account="acc-4", store=live) as then:
            found = {entry.event_id for entry in then.select(timeline)}
        async with as_of(log, [timeline], NOW, NOW) as whole:
            assert found == {entry.event_id for entry in whole.select(timeline, {"account": "acc-4"})}


async def test_what_lies_ahead_and_the_sums_of_one_account_are_refused():
    with pytest.raises(AheadError, match="lies ahead"):
        async with as_of(town_log(), FAMILY, NOW + timedelta(seconds=1), NOW):
            pass
    with pytest.raises(SumsError, match="'warmths' adds up"):
        async with as_of(town_log(), FAMILY, NOW, NOW, account="acc-1"):
            pass


async def test_a_record_that_is_gone_is_missed():
    log = town_log()
    log.trim(0, 5)
    with pytest.raises(LogGapError):
        async with as_of(log, FAMILY, NOW, NOW):
            pass


async def test_the_whole_log_replayed_is_the_live_view():
    log = town_log()
    with fresh() as live, fresh() as made:
        await Projector(log, live, FAMILY).catch_up()
        far: list[tuple[int, int]] = []
        assert await replay(log, made, [warmths], Wanted(), lambda *told: far.append(told)) > 0
        assert stored(made) == stored(live)
        assert far[-1][0] <= far[-1][1]
        assert await replay(log, made, [warmths], Wanted()) == 0


async def test_a_part_of_the_log_is_replayed_alone():
    log = MemoryLog(partitions=2)
    log.append(*told(0, 60))
    first, second = MARCH + timedelta(days=9), MARCH + timedelta(days=15)
    with fresh() as made:
        wanted = Wanted(account="acc-4", types=("Order Completed",), since=first, until=second)
        await replay(log, made, [timeline], wanted)
        found = made.select(timeline)
    assert found
    assert {(entry.account, entry.type) for entry in found} == {("acc-4", "Order Completed")}
    assert all(first <= entry.recorded < second for entry in found)


async def test_a_store_of_another_log_is_not_replayed_into():
    with fresh() as made:
        await replay(town_log(), made, FAMILY, Wanted())
        with pytest.raises(GenerationError):
            await replay(town_log(generation="another"), made, FAMILY, Wanted())
