"""Following a read model: nothing is left out and nothing told again, however often the line breaks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from engage import bootstrap
from engage.log.partitioning import partition_of
from engage.services.platform import Platform
from engage.services.projector import Projector
from engage.services.view_changes import NotFollowableError, check_followable, follow
from engage.settings import Settings
from engage.store.views import Change, ViewStore
from engage.views.asking import Condition
from engage.views.passes import Folded
from projections.customers.customer_months import customer_months
from projections.customers.retention import retention
from projections.shared.profile import profile
from projections.shared.timeline import timeline
from tests.http.given import STRANGE_IDS, order
from tests.http.served import PATIENCE, served

POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.postgres)
in_both = pytest.mark.parametrize("platform", ["sqlite", POSTGRESQL], indirect=True)
in_postgresql = pytest.mark.parametrize("platform", [POSTGRESQL], indirect=True)


@pytest.fixture
async def platform(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Platform]:
    """With few read models, in SQLite or as a test says."""
    in_postgres = getattr(request, "param", "sqlite") == "postgresql"
    views = request.getfixturevalue("postgres_url") if in_postgres else ""
    settings = Settings(home=str(tmp_path), views=views)
    async with bootstrap.platform(settings, models=(profile, timeline, customer_months, retention)) as opened:
        yield opened


@pytest.fixture
async def http(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    async with served(platform) as client:
        yield client


class Event:
    """A server-sent event as a reader has it: its type, data, and the id of the last one that had any."""

    def __init__(self, kind: str, data: str, last: str) -> None:
        self.kind, self.last = kind, last
        self.told: dict[str, Any] = json.loads(data)

    @property
    def key(self) -> str:
        return str(self.told["key"])


class Line:
    """One connection, read event by event as the standard says."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()
        self.comments = 0

    async def event(self) -> Event:
        async with asyncio.timeout(PATIENCE):
            fields: dict[str, str] = {}
            while line := await anext(self._lines):
                name, _, value = line.partition(": ")
                self.comments += line.startswith(":")
                fields[name] = value
            return Event(fields["event"], fields["data"], fields["id"]) if "data" in fields else await self.event()

    async def events(self, count: int) -> list[Event]:
        return [await self.event() for _ in range(count)]


@asynccontextmanager
async def line(
    http: httpx.AsyncClient, last: str | None = None, view: str = "profile", **asked: Any
) -> AsyncIterator[Line]:
    headers = {} if last is None else {"last-event-id": last}
    async with http.stream("GET", "/v1/changes/profile", params=asked, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Line(answer)


async def rows_of(platform: Platform) -> int:
    with platform.store.database.read() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM timeline").scalar_one())


async def publish(platform: Platform, *events: dict[str, Any]) -> None:
    answers = await platform.publish([json.dumps(event).encode() for event in events])
    assert all(type(answer).__name__ == "Taken" for answer in answers), answers
    await platform.settle()


async def test_what_changes_is_told_with_its_row(http: httpx.AsyncClient, platform: Platform):
    await publish(platform, order("before"))
    async with line(http) as following:
        ready = await following.event()
        assert (ready.kind, ready.told["view"]) == ("ready", "profile")
        await publish(platform, order("o-2", "customer-18"))
        changed = await following.event()
    assert (changed.kind, changed.key, changed.told["row"]["account"]) == ("changed", "customer-18", "customer-18")
    assert changed.told["view"] == "profile"


@in_both
async def test_whoever_comes_back_misses_nothing_and_hears_nothing_again(http: httpx.AsyncClient, platform: Platform):
    accounts = [*STRANGE_IDS, *[f"customer-{n}" for n in range(8)]]
    heard: list[str] = []
    last = None
    async with line(http) as following:
        last = (await following.event()).last
    for batch in range(3):
        await publish(platform, *[order(f"o-{batch}-{n}", account) for n, account in enumerate(accounts)])
        told: list[str] = []
        while len(told) < len(accounts):  # the line breaks after every few events, in the middle of one change
            async with line(http, last) as following:
                assert (await following.event()).kind == "ready"
                for event in await following.events(min(3, len(accounts) - len(told))):
                    assert event.kind == "changed"
                    told.append(event.key)
                    last = event.last
        assert sorted(told) == sorted(accounts)
        heard += told
    async with line(http, last) as following:
        await following.event()
        await publish(platform, order("at last", "somebody else"))
        assert (await following.event()).key == "somebody else"


async def test_a_service_that_is_started_again_goes_on_where_it_was(platform: Platform):
    async with served(platform) as http, line(http) as following:
        last = (await following.event()).last
        await publish(platform, order("o-1"))
        last = (await following.event()).last
    await publish(platform, order("o-2", "customer-18"))
    async with served(platform) as http, line(http, last) as following:
        assert [one.kind for one in await following.events(2)] == ["ready", "changed"]


async def test_a_follower_from_the_start_gets_every_row_first(http: httpx.AsyncClient, platform: Platform):
    await publish(platform, *[order(f"o-{n}", f"customer-{n}") for n in range(450)])
    async with line(http, since="start") as following:
        events = await following.events(451)
    assert len({event.key for event in events[1:]}) == 450


@in_both
async def test_only_some_keys_are_told(http: httpx.AsyncClient, platform: Platform):
    async with line(http, key=["a/b", "😀"]) as some, line(http, key__prefix="حس") as beginning:
        await some.event()
        await beginning.event()
        await publish(platform, *[order(f"o-{n}", account) for n, account in enumerate(STRANGE_IDS)])
        assert {event.key for event in await some.events(2)} == {"a/b", "😀"}
        assert (await beginning.event()).key == "حساب"
        await publish(platform, order("later", "a/b"))
        assert (await some.event()).key == "a/b"


@in_both
async def test_a_row_that_is_gone_is_told(platform: Platform):
    await publish(platform, order("o-1"), order("o-2", "customer-18"))
    following = follow(platform.store, platform.waiting, profile, from_start=True)
    assert [(await anext(following)).kind for _ in range(3)] == ["ready", "changed", "changed"]
    await asyncio.to_thread(delete, platform, "customer-18")
    platform.waiting.tell()
    deleted = await anext(following)
    assert (deleted.kind, json.loads(deleted.data)["key"]) == ("deleted", "customer-18")
    again = follow(platform.store, platform.waiting, profile, deleted.place)
    assert (await anext(again)).kind == "ready"
    await publish(platform, order("o-3", "customer-18"))
    assert json.loads((await anext(again)).data)["key"] == "customer-18"


def delete(platform: Platform, key: str) -> None:
    """What a fold that returns None for a row does."""
    partition = partition_of(key, platform.log.partitions)
    stands = platform.store.standing().positions["profile", partition]
    platform.store.commit([Change(stands, stands.position, Folded(profile, {key: None}))])


async def test_a_place_that_is_void_is_told_and_every_row_comes_again(http: httpx.AsyncClient, platform: Platform):
    await publish(platform, order("o-1"), order("o-2", "customer-18"))
    epoch = platform.store.epoch(profile)
    for last in (
        "",
        "x",
        "gone:0,0,0,0",
        f"{epoch}:0",
        f"{epoch}:99999,0,0,0",
        f"{epoch}:-1,0,0,0",
        f"{epoch}:~,0,0,0",
    ):
        async with line(http, last) as following:
            reset, ready, *rows = await following.events(4)
        assert (reset.kind, ready.kind) == ("reset", "ready"), last
        assert {event.key for event in rows} == {"customer-17", "customer-18"}, last


async def test_a_view_that_is_made_anew_under_a_follower_is_told(platform: Platform):
    await publish(platform, order("o-1"))
    following = follow(platform.store, platform.waiting, profile)
    await anext(following)
    with platform.store.database.write() as connection:
        connection.exec_driver_sql("UPDATE view_models SET epoch = 'another' WHERE projection = 'profile'")
    platform.waiting.tell()
    told = [await anext(following) for _ in range(2)]
    assert [one.kind for one in told] == ["reset", "changed"]
    assert told[1].place.startswith("another:")


@in_both
async def test_a_rebuild_that_changes_nothing_tells_nothing(http: httpx.AsyncClient, platform: Platform):
    await publish(platform, order("o-1"), order("o-2", "customer-18"))
    async with line(http) as following:
        await following.event()
        assert (await platform.projector.rebuild(profile)).swapped
        await publish(platform, order("o-3"))
        assert (await following.event()).key == "customer-17"


@in_postgresql
async def test_what_another_process_folds_is_heard(http: httpx.AsyncClient, platform: Platform):
    async with line(http) as following:
        await following.event()
        async with asyncio.timeout(PATIENCE):
            await platform.waiting.heard.wait()
        await platform.publish([json.dumps(order("o-1")).encode()])
        other = ViewStore(platform.store.database.url.render_as_string(hide_password=False))
        try:
            await (await Projector.opened(platform.log, other, platform.projector.projections)).catch_up()
        finally:
            other.close()
        assert (await following.event()).key == "customer-17"


async def test_of_what_is_merged_it_is_told_that_it_is_stale(platform: Platform):
    await publish(platform, order("o-1"))
    following = follow(platform.store, platform.waiting, retention)
    assert (await anext(following)).kind == "ready"
    await publish(platform, *[order(f"o-{n}", f"customer-{n}") for n in range(2, 30)])
    told = await anext(following)
    assert (told.kind, json.loads(told.data)["view"]) == ("stale", "retention")
    again = follow(platform.store, platform.waiting, retention, told.place, heartbeat=0.01)
    assert [(await anext(again)).kind for _ in range(2)] == ["ready", "heartbeat"]
    with pytest.raises(NotFollowableError, match="follow all of it"):
        check_followable(retention, Condition("key", "in", ("x",)))


@in_both
async def test_a_timeline_is_told_once_and_in_order_across_breaks(platform: Platform):
    await publish(platform, *[order(f"o-{n}", f"customer-{n % 5}") for n in range(30)])
    told: dict[str, dict[str, Any]] = {}
    place = None
    for more in (True, False):
        ends = await rows_of(platform)
        while len(told) < ends:
            following = follow(platform.store, platform.waiting, timeline, place, from_start=True)
            assert (await anext(following)).kind == "ready"
            for _ in range(min(10, ends - len(told))):
                one = await anext(following)
                row = json.loads(one.data)
                assert one.kind == "changed" and row["key"] not in told
                told[row["key"]], place = row, one.place
        if more:
            await publish(platform, *[order(f"p-{n}", f"customer-{n % 5}") for n in range(30)])
    assert {row["row"]["event_id"] for row in told.values()} >= {f"{k}-{n}" for k in "op" for n in range(30)}
    for partition in range(platform.log.partitions):
        places = [row["row"]["offset"] for row in told.values() if row["row"]["partition"] == partition]
        assert places == sorted(places)


async def test_places_of_a_timeline_without_a_row_are_passed(platform: Platform, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("engage.store.following._PLACES", 2)
    account = "customer-1"
    await publish(platform, *[order(f"o-{n}", account) for n in range(4)])
    with platform.store.database.write() as connection:  # as if these events had made none
        connection.exec_driver_sql("DELETE FROM timeline WHERE event_id <> 'o-3'")
    following = follow(platform.store, platform.waiting, timeline, from_start=True)
    assert [(await anext(following)).kind for _ in range(2)] == ["ready", "changed"]
    await publish(platform, order("o-4", account))
    assert json.loads((await anext(following)).data)["row"]["event_id"] == "o-4"


async def test_an_idle_line_is_kept_alive(platform: Platform):
    await publish(platform, order("o-1"))
    following = follow(platform.store, platform.waiting, profile, heartbeat=0.01)
    assert [(await anext(following)).kind for _ in range(3)] == ["ready", "heartbeat", "heartbeat"]


async def test_what_cannot_be_followed_says_so(http: httpx.AsyncClient, platform: Platform):
    await platform.settle()
    wrong = (
        ("retention?key=2026-01", 409, "follow all of it"),
        ("nothing", 404, "no view"),
        ("profile?since=never", 422, "since"),
        ("profile?key=a&key__prefix=b", 422, "not both"),
        ("profile?key=%00", 422, "U+0000"),
    )
    for asked, status, words in wrong:
        answer = await http.get(f"/v1/changes/{asked}")
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), asked
        assert words in answer.json()["detail"]
