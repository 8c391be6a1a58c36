"""A read model is folded anew beside what readers see, and takes its place when it is proven, whatever happens."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import Struct, field, structs
from sqlalchemy import Connection, event

from engage.services.projector import Projector, Rebuilt
from engage.services.rebuilding import RebuildError
from engage.store.row_writing import Part, Stamp
from engage.store.views import PositionMovedError, ViewRebuildingError, ViewStore
from engage.testing.memory_log import MemoryLog
from engage.views.aggregate import Aggregate
from tests.services.shop_views import order
from tests.services.town_views import (
    WEEK,
    assert_right,
    make,
    own_partition,
    regulars,
    stored,
    told,
    town_log,
    warmths,
)


@pytest.fixture
def store(url: str) -> Iterator[ViewStore]:
    opened = ViewStore(url)
    yield opened
    opened.close()


def spoil(store: ViewStore, account: str) -> None:
    """Write a row that no fold has made, with its share as it was."""
    with store.database.write() as connection:
        table = store.table(regulars)
        row = store.get(regulars, account)
        assert row is not None
        wrong = structs.replace(row, visits=row.visits + 90)
        due = {account: row.since} if row.since else {}
        table.write(connection, [Part([wrong], Stamp(own_partition(account), 1, 1), due)])


async def test_a_family_follows_the_log_with_its_wakes_and_sums(store: ViewStore) -> None:
    log = town_log(0)
    projector = Projector(log, store, [regulars, warmths])
    for first in range(0, 60, 7):
        log.append(*told(first, min(60, first + 7)))
        await projector.step(3)
    await projector.catch_up(limit=2)
    await assert_right(projector)
    sums = {one.warmth: one for one in store.merged(warmths)}
    rows = store.select(regulars)
    assert sums["all"].orders == 56
    assert sum(one.accounts for one in sums.values()) == len(rows)
    assert sum(one.visits for one in sums.values()) == sum(row.visits for row in rows)
    assert projector.next_dues() == {
        partition: min(row.since + WEEK for row in rows if row.since and own_partition(row.account) == partition)
        for partition in {own_partition(row.account) for row in rows}
    }


async def test_a_rebuild_mends_what_was_spoilt_and_tells_how_far_it_is(store: ViewStore) -> None:
    log = town_log()
    projector = Projector(log, store, [regulars, warmths])
    await projector.catch_up()
    right = stored(store)
    spoil(store, "acc-1")
    assert await projector.verify(regulars) is not None
    seen: list[tuple[int, int]] = []
    proven: list[tuple[int, int]] = []
    done = await projector.rebuild(
        warmths,
        lambda done, total, rate: seen.append((done, total)),
        proving=lambda done, total, rate: proven.append((done, total)),
    )
    assert done == Rebuilt(60, True, 1)
    assert seen[-1] == (60, 60)
    assert proven[1::2] == [(60, 60), (60, 60)]  # each of the two models, a partition after the other
    assert stored(store) == right
    await assert_right(projector)
    log.append(*told(60, 80))
    await projector.catch_up()
    await assert_right(projector)


class Visitors(Struct):
    """Accounts by how often they came."""

    all: str
    accounts: dict[str, int] = field(default_factory=dict)


async def test_sums_that_came_by_their_names_in_another_order_are_no_difference(store: ViewStore) -> None:
    base, _ = make()
    visitors = Aggregate("visitors", version=1, row=Visitors, reads=Visitors, of=base)
    visitors.of_row(lambda row: [Visitors("all", {str(row.visits): 1})])
    visitors.read(lambda shards: shards)
    log = MemoryLog(partitions=1, generation="a village")
    projector = Projector(log, store, [base, visitors])
    for number, account in enumerate(["acc-1", "acc-2", "acc-1"]):  # cut up, "1" comes before "2"; in one, behind it
        log.append(order(number, subject=account))
        await projector.catch_up()
    assert await projector.rebuild(visitors) == Rebuilt(3, True, 0)
    with store.database.write() as connection:
        wrong = Visitors("0:all", {"1": 1, "2": 7})
        store.table(visitors).write(connection, [Part([wrong], Stamp(0, 1, 1), {})])
    assert await projector.rebuild(visitors) == Rebuilt(3, True, 1)
    assert store.merged(visitors) == [Visitors("all", {"1": 1, "2": 1})]


async def test_readers_see_the_old_rows_until_the_new_version_has_come_as_far(store: ViewStore) -> None:
    log = town_log()
    await Projector(log, store, [regulars, warmths]).catch_up()
    old = stored(store)
    renewed = make(version=2, weight=2)
    projector = Projector(log, store, renewed)
    assert projector.rebuilt == ["regulars", "warmths"]
    await projector.step(10)
    assert stored(store) == old
    await projector.catch_up(limit=10)
    assert stored(store) != old
    await assert_right(projector)
    assert [one.version for one in projector.positions()] == [2] * 4


async def test_an_older_process_leaves_alone_what_a_newer_one_has_made(store: ViewStore) -> None:
    log = town_log()
    older = Projector(log, store, [regulars, warmths])
    await older.catch_up()
    newer = Projector(log, store, make(version=2, weight=2))
    await newer.catch_up()
    log.append(*told(60, 70))
    assert await older.step() == 0
    assert await newer.catch_up() == 10
    await assert_right(newer)


async def test_an_aggregate_that_is_new_has_the_rows_it_adds_up_folded_again(store: ViewStore) -> None:
    log = town_log()
    base, sums = make()
    await Projector(log, store, [base]).catch_up()
    projector = Projector(log, store, [base, sums])
    assert projector.rebuilt == ["regulars", "warmths"]
    with pytest.raises(ViewRebuildingError, match="'warmths' is being rebuilt, 0 of 60"):
        store.merged(sums)
    await projector.catch_up()
    await assert_right(projector)


async def test_a_rebuild_that_is_stopped_goes_on_from_where_it_was(store: ViewStore) -> None:
    log = town_log()
    projector = Projector(log, store, [regulars, warmths])
    await projector.catch_up()
    stop = asyncio.Event()
    paused = await projector.rebuild(regulars, lambda *_: stop.set(), stop=stop)
    assert (paused.records, paused.swapped) == (60, False)
    assert await projector.rebuild(regulars) == Rebuilt(0, True, 0)


async def test_what_is_live_may_go_on_meanwhile(store: ViewStore) -> None:
    log = town_log()
    projector = Projector(log, store, [regulars, warmths])
    await projector.catch_up()
    live: list[asyncio.Task[int]] = []

    def go_on(*_: Any) -> None:
        if len(live) < 2:
            log.append(*told(60 + 10 * len(live), 70 + 10 * len(live)))
            live.append(asyncio.create_task(projector.catch_up()))

    assert (await projector.rebuild(regulars, go_on)).swapped
    for outcome in await asyncio.gather(*live, return_exceptions=True):
        assert isinstance(outcome, int | PositionMovedError)  # one of them may have folded what the other did
    await projector.catch_up()
    assert {one.position for one in projector.positions() if one.partition == 0} == {await log.end(0)}
    await assert_right(projector)


async def test_what_is_not_the_fold_of_the_log_takes_nobodys_place(store: ViewStore) -> None:
    log = town_log()
    projector = Projector(log, store, [regulars, warmths])
    await projector.catch_up()
    right = stored(store)

    def spoil_the_new(*_: Any) -> None:
        with store.database.write() as connection:
            store.table(regulars, "next").delete(connection, ["acc-1"])

    with pytest.raises(RebuildError, match="regulars__next is not the fold of the log: row 'acc-1'"):
        await projector.rebuild(regulars, spoil_the_new)
    assert stored(store) == right
    assert await projector.rebuild(regulars) == Rebuilt(60, True, 0)


async def test_a_sample_finds_what_is_wrong_in_it(store: ViewStore) -> None:
    projector = Projector(town_log(), store, [regulars, warmths])
    await projector.catch_up()
    assert await projector.verify(regulars, sample=2) is None
    for row in store.select(regulars):
        spoil(store, row.account)
    assert await projector.verify(regulars, sample=2) is not None


async def test_one_account_alone_is_folded_anew(store: ViewStore) -> None:
    log = town_log()
    projector = Projector(log, store, [regulars, warmths])
    await projector.catch_up()
    right = store.select(regulars)
    assert await projector.rebuild_account(regulars, "acc-1") == 1
    await assert_right(projector)
    spoil(store, "acc-1")
    assert await projector.rebuild_account(regulars, "acc-1") == 1
    assert store.select(regulars) == right
    assert await projector.verify(regulars) is None


async def test_what_was_rebuilt_can_be_put_back(store: ViewStore) -> None:
    log = town_log()
    projector = Projector(log, store, [regulars, warmths])
    await projector.catch_up()
    await projector.rebuild(regulars)
    log.append(*told(60, 90))
    await projector.catch_up()
    told_before = len(store.announcements(1_000))
    assert await projector.roll_back(regulars) > 0
    await projector.catch_up()
    await assert_right(projector)
    assert len(store.announcements(1_000)) == told_before


@pytest.mark.parametrize("when", ["before the commit", "after the commit"])
async def test_killed_at_any_step_a_rebuild_is_finished_by_the_next_one(store: ViewStore, url: str, when: str) -> None:
    projector = Projector(town_log(), store, [regulars, warmths])
    await projector.catch_up()
    right = stored(store)
    for step in range(1, 30):
        killed = await asyncio.to_thread(_killed, url, step, when)
        assert stored(store) == right
        await assert_right(projector)
        if not killed:
            break
        assert (await projector.rebuild(regulars)).swapped
        await assert_right(projector)
    assert step > 3  # it was begun, built and swapped


def _killed(url: str, step: int, when: str) -> bool:
    """Whether a process that rebuilds was killed around its ``step``-th commit."""
    doomed = multiprocessing.get_context("spawn").Process(target=_rebuild_and_die, args=(url, step, when))
    doomed.start()
    doomed.join(120)
    assert doomed.exitcode in (0, -signal.SIGKILL)
    return doomed.exitcode != 0


def _rebuild_and_die(url: str, step: int, when: str) -> None:
    store = ViewStore(url)
    projector = Projector(town_log(), store, [regulars, warmths])
    commits = 0

    def count(connection: Connection) -> None:
        nonlocal commits
        if "engage_begin" in connection.get_execution_options():
            commits += 1
            if commits == step:
                if when == "after the commit":
                    assert connection.connection.dbapi_connection is not None
                    connection.connection.dbapi_connection.commit()
                os.kill(os.getpid(), signal.SIGKILL)

    event.listen(store.database.engine, "commit", count)
    asyncio.run(projector.rebuild(regulars))
    store.close()
