"""Readers that wait for a view are woken by whoever moves it, in this process and in others."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engage.events.catalogue.commerce import OrderCompleted
from engage.services import waiting as module
from engage.services.projector import Projector
from engage.services.waiting import NotYetError, Waiting
from engage.store.views import ViewStore
from engage.testing.events import happened
from engage.testing.memory_log import MemoryLog
from tests.services.shop_views import spend


@pytest.fixture
async def stores(postgres_url: str) -> AsyncIterator[tuple[ViewStore, ViewStore]]:
    """One database as two processes have it open."""
    ours, theirs = ViewStore(postgres_url), ViewStore(postgres_url)
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.mark.postgres
async def test_another_process_is_told_by_postgresql(
    stores: tuple[ViewStore, ViewStore], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_LOOK_AGAIN_SECONDS", 60.0)  # so that only word from PostgreSQL can wake it in time
    log = MemoryLog(partitions=1)
    projector = Projector(log, stores[0], [spend])
    elsewhere = Waiting(stores[1], log.partitions)
    async with elsewhere.listening():
        await elsewhere.heard.wait()
        log.append(happened(OrderCompleted(order_id="o-1", total=10), at="2026-03-01"))
        reader = asyncio.create_task(elsewhere.until("0:0", [spend], 50))
        async with asyncio.timeout(20):
            while not elsewhere.waiters:
                await asyncio.sleep(0)
            await projector.catch_up()
            await reader


@pytest.mark.postgres
async def test_word_from_another_process_says_how_far_it_is_so_that_nobody_needs_to_look(
    stores: tuple[ViewStore, ViewStore], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_LOOK_AGAIN_SECONDS", 60.0)
    log = MemoryLog(partitions=1)
    projector, elsewhere, looks = Projector(log, stores[0], [spend]), Waiting(stores[1], log.partitions), 0
    look = stores[1].reached

    def counted(projections: Collection[str]) -> Any:
        nonlocal looks
        looks += 1
        return look(projections)

    monkeypatch.setattr(stores[1], "reached", counted)
    async with elsewhere.listening(), asyncio.timeout(20):
        await elsewhere.heard.wait()
        for number in range(3):
            reader = asyncio.create_task(elsewhere.until(f"0:{40 + number}", [spend], 50))
            while not elsewhere.waiters:
                await asyncio.sleep(0)
            event = happened(OrderCompleted(order_id=f"o-{number}", total=10), at="2026-03-01")
            event.inboxoffset = 40 + number
            log.append(event)
            await projector.catch_up()
            await reader
        assert looks == 1, "only the first one, who came before there was any word"
        with pytest.raises(NotYetError) as told:  # who is told that it is late is told what stands in the database
            await elsewhere.until("0:43", [spend], 0)
        assert looks == 2
    assert told.value.behind == {"spend": 43}


@pytest.mark.postgres
async def test_whoever_waits_past_the_end_is_told_where_the_view_stands(stores: tuple[ViewStore, ViewStore]):
    log = MemoryLog(partitions=1)
    log.append(happened(OrderCompleted(order_id="o-1", total=10), at="2026-03-01"))
    await Projector(log, stores[0], [spend]).catch_up()
    with pytest.raises(NotYetError) as told:
        await Waiting(stores[1], 1).until("0:1", [spend], 0)
    assert told.value.behind == {"spend": 1}


@pytest.mark.postgres
async def test_on_kafka_a_token_is_a_place_in_the_inbox(stores: tuple[ViewStore, ViewStore]):
    log = MemoryLog(partitions=1)
    event = happened(OrderCompleted(order_id="o-1", total=10), at="2026-03-01")
    event.inboxoffset = 40
    log.append(event)
    await Projector(log, stores[0], [spend]).catch_up()
    waiting = Waiting(stores[1], 1)
    await waiting.until("0:40", [spend], 0)
    with pytest.raises(NotYetError) as told:
        await waiting.until("0:41", [spend], 0)
    assert told.value.behind == {"spend": 41}


async def test_a_crowd_that_waits_looks_once_for_all_and_misses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_LOOK_AGAIN_SECONDS", 60.0)
    log = MemoryLog(partitions=1)
    with closing(ViewStore(f"sqlite:///{tmp_path}/views.db")) as store:
        projector, waiting = Projector(log, store, [spend]), Waiting(store, log.partitions)
        looks, look = 0, store.reached

        def counted(projections: Collection[str]) -> Any:
            nonlocal looks
            looks += 1
            return look(projections)

        monkeypatch.setattr(store, "reached", counted)
        crowd = [asyncio.create_task(waiting.until(f"0:{number}", [spend], 50)) for number in range(200)]
        gone = asyncio.create_task(waiting.until("0:0", [spend], 50))
        async with asyncio.timeout(20):
            while waiting.waiters < 201:
                await asyncio.sleep(0)
            gone.cancel()  # one who leaves takes nobody along
            for number in range(200):
                log.append(happened(OrderCompleted(order_id=f"o-{number}", total=10), at="2026-03-01"))
                if number in (99, 199):
                    await projector.catch_up()
                    waiting.tell()
            await asyncio.gather(*crowd)
    assert looks <= 6


async def test_who_is_told_how_far_views_have_come_does_not_look_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_LOOK_AGAIN_SECONDS", 60.0)
    with closing(ViewStore(f"sqlite:///{tmp_path}/views.db")) as store:
        projector = Projector(log := MemoryLog(partitions=2), store, [spend])
        waiting, looks, look = Waiting(store, log.partitions), 0, store.reached

        def counted(projections: Collection[str]) -> Any:
            nonlocal looks
            looks += 1
            return look(projections)

        async def waits(token: str) -> asyncio.Task[None]:
            reader = asyncio.create_task(waiting.until(token, [spend], 50))
            while not waiting.waiters:
                await asyncio.sleep(0)
            return reader

        monkeypatch.setattr(store, "reached", counted)
        async with asyncio.timeout(20):
            reader = await waits("1:1")
            waiting.tell({("spend", 1): 1, ("spend", 0): 9})
            waiting.tell({("spend", 1): 2})
            await reader
            assert looks == 1
            reader = await waits("1:1")
            waiting.tell({("spend", 1): 2})
            waiting.tell()  # it may have been put back
            while looks < 3:
                await asyncio.sleep(0)
            assert not reader.done()
            for number in range(8):
                log.append(
                    happened(OrderCompleted(order_id=f"o-{number}", total=10), at="2026-03-01", subject=f"{number}")
                )
            await projector.step(100)
            assert projector.moved == {("spend", at): await log.end(at) for at in range(2)}
            waiting.tell({("another", 1): 9})  # says nothing of what is waited for
            waiting.tell()
            await reader
        assert looks == 4
