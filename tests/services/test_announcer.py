"""What read models announce reaches the log once and in order; what they wait for comes although nothing happens."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec import Raw

from engage import bootstrap
from engage.events import codec
from engage.events.catalogue.cross_sell import CrossSellOpeningFound
from engage.events.envelope import Event
from engage.events.validation import Fault, Refusal
from engage.log.contract import Answer, Taken, Token
from engage.log.partitioning import partition_of
from engage.services.announcer import AnnouncementRefusedError, Announcer
from engage.services.platform import Platform
from engage.services.projector import Projector
from engage.services.view_clock import ViewClock
from engage.settings import Settings
from engage.store.views import ViewStore
from tests.services.ledger import Ledger
from tests.services.shop_views import order
from tests.services.town_views import WEEK, assert_right, make, regulars, town_log, warmths


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ViewStore]:
    with closing(ViewStore(f"sqlite:///{tmp_path}/views.db")) as opened:
        yield opened


class Inbox:
    """A publisher without an edge."""

    def __init__(self) -> None:
        self.events: list[Event[Raw]] = []

    async def publish(self, events: Sequence[bytes | Event[Raw]]) -> list[Answer]:
        self.events += [event for event in events if isinstance(event, Event)]
        return [Taken(Token(0, place)) for place, _ in enumerate(self.events)]


def openings(ledger: Ledger) -> list[str]:
    return [event.id for event in ledger.events.values()]


async def test_what_is_announced_is_published_once_in_order(store: ViewStore) -> None:
    log = town_log(0)
    projector = await Projector.opened(log, store, [regulars, warmths])
    log.append(order(1), order(2, day=2), order(3, day=20))
    await projector.catch_up()
    ledger = Ledger()
    waiting = [one.id for one in store.announcements(100)]
    assert len(waiting) == 4  # it is there, warm, cool after a week, and it comes again after it was forgotten
    assert await Announcer(store, ledger).step(1) == 1
    assert await Announcer(store, ledger).step(10) == len(waiting) - 1
    assert await Announcer(store, ledger).step(10) == 0
    assert openings(ledger) == waiting
    first = next(iter(ledger.events.values()))
    assert (first.source, first.subject, first.type) == ("engage/views", "acc-1", "cross_sell.opening_found")


async def test_published_and_not_let_go_of_it_is_published_again_under_the_same_id(store: ViewStore) -> None:
    log = town_log(0)
    projector = await Projector.opened(log, store, [regulars, warmths])
    log.append(order(1), order(2, day=2))
    await projector.catch_up()
    ledger = Ledger()

    class Killed(Ledger):
        async def publish(self, events: object) -> list[Answer]:
            await ledger.publish(events)  # type: ignore[arg-type]
            raise ConnectionError("gone before the answer")

    with pytest.raises(ConnectionError):
        await Announcer(store, Killed()).step(10)
    assert await Announcer(store, ledger).step(10) == 2
    assert len(ledger.events) == 2


async def test_one_that_is_refused_waits_and_those_behind_it_do_not(store: ViewStore) -> None:
    log = town_log(0)
    projector = await Projector.opened(log, store, [regulars, warmths])
    log.append(order(1), order(2, day=2))
    await projector.catch_up()
    refused = store.announcements(10)[0].id

    class Strict(Ledger):
        def _take(self, event: bytes | Event[Raw]) -> Answer:
            assert isinstance(event, Event)
            return Refusal("data", (Fault("/data", "no"),)) if event.id == refused else super()._take(event)

    announcer = Announcer(store, Strict())
    for done in (1, 0):  # it looks behind it, however few it takes at once
        with pytest.raises(AnnouncementRefusedError, match="of 'acc-1', announced by the view 'regulars'") as told:
            await announcer.step(1)
        assert told.value.done == done
    assert [one.id for one in store.announcements(10)] == [refused]


async def test_whose_partitions_change_passes_over_nothing_of_the_new_ones(store: ViewStore) -> None:
    log = town_log(0)
    projector = await Projector.opened(log, store, [regulars, warmths])
    there = next(name for name in map("new-{}".format, range(9)) if partition_of(name, 2) != partition_of("acc-1", 2))
    log.append(order(1), order(2, subject=there), order(3, day=2), order(4, subject=there, day=2))
    await projector.catch_up()
    waiting = [one.id for one in store.announcements(10) if one.subject == there]
    assert len(waiting) > 1

    class Strict(Ledger):
        def _take(self, event: bytes | Event[Raw]) -> Answer:
            assert isinstance(event, Event)
            return Refusal("data", (Fault("/data", "no"),)) if event.subject == "acc-1" else super()._take(event)

    ledger = Strict()
    announcer = Announcer(store, ledger)
    with pytest.raises(AnnouncementRefusedError):
        await announcer.step(10, [partition_of("acc-1", 2)])
    while await announcer.step(1, [partition_of(there, 2)]):
        continue
    assert openings(ledger) == waiting


async def test_the_past_is_not_announced_again_by_a_store_that_was_lost(store: ViewStore) -> None:
    log = town_log()
    projector = await Projector.opened(log, store, [regulars, warmths])
    await projector.catch_up()
    assert store.announcements(100) == []
    log.append(order(99, subject="acc-new", day=28))
    await projector.catch_up()
    assert [one.subject for one in store.announcements(100) if one.cause] == ["acc-new"]


async def test_a_new_version_announces_only_what_happens_after_it_is_live(store: ViewStore) -> None:
    log = town_log(0)
    older = await Projector.opened(log, store, [regulars, warmths])
    log.append(order(1), order(2, day=2))
    await older.catch_up()
    before = len(store.announcements(100))
    newer = await Projector.opened(log, store, make(version=2, weight=2))
    await newer.catch_up()
    assert len(store.announcements(100)) == before
    log.append(order(3, day=28))
    await newer.catch_up()
    assert len(store.announcements(100)) > before


async def test_intake_is_asked_for_each_moment_once_when_it_has_come(store: ViewStore) -> None:
    log = town_log(0)
    projector = await Projector.opened(log, store, [regulars, warmths])
    log.append(order(1))
    await projector.catch_up()
    inbox = Inbox()
    clock = ViewClock(projector, inbox)
    due = order(1).time + WEEK
    assert await clock.step(due - timedelta(seconds=1)) == 0
    assert await clock.step(due) == 1
    assert await clock.step(due) == 0
    [asked] = inbox.events
    assert (asked.type, asked.time) == ("clock.ticked", due)


@asynccontextmanager
async def a_town(home: Path, now: list[datetime]) -> AsyncIterator[Platform]:
    async with bootstrap.platform(Settings(home=str(home)), clock=lambda: now[0]) as platform:
        projector = await Projector.opened(platform.log, platform.store, [regulars, warmths])
        yield Platform(
            log=platform.log,
            edge=platform.edge,
            publisher=platform.publisher,
            embedded=platform.embedded,
            store=platform.store,
            projector=projector,
            desk=platform.desk,
            relay=platform.relay,
            relationships=platform.relationships,
            keyring=platform.keyring,
            access=platform.access,
            webhooks=platform.webhooks,
            past=platform.past,
            letters=platform.letters,
            rules=platform.rules,
            clock=lambda: now[0],
        )


async def test_embedded_a_row_cools_on_its_day_and_the_log_hears_of_it(tmp_path: Path) -> None:
    now = [datetime(2026, 3, 1, tzinfo=UTC)]
    async with a_town(tmp_path, now) as platform:
        event: Event[object] = order(1)
        await platform.publish([codec.encode(event), codec.encode(order(2))])
        await platform.settle()
        row = platform.store.get(regulars, "acc-1")
        assert row is not None and row.visits == 2
        now[0] += WEEK
        await platform.settle()
        row = platform.store.get(regulars, "acc-1")
        assert row is not None and row.visits == 1
        await assert_right(platform.projector)
        said = await _said(platform)
        assert said == ["None to cool", "cool to warm", "warm to cool"]
        await platform.settle()
        assert await _said(platform) == said


async def _said(platform: Platform) -> list[str]:
    found = []
    for partition in range(platform.log.partitions):
        for record in (await platform.log.read(partition, 0, 1_000)).records:
            event = codec.decode(record.value)
            if event.type == "cross_sell.opening_found":
                opened = codec.open_data(event).data
                assert isinstance(opened, CrossSellOpeningFound)
                found.append(opened.opening)
    return found
