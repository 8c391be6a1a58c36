"""Where an account stands is told once when health comes live after a silent past; a store made anew tells no more."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as for_all
from hypothesis import strategies as st

from engage.events.envelope import Event
from engage.log.contract import Answer, Taken
from engage.services.announcer import Announcer
from engage.services.projector import Projector
from engage.store.outbox import Announcement
from engage.store.views import ViewStore
from engage.testing.memory_log import MemoryLog
from engage.views.projection import Projection
from projections.shared.account_health import AccountHealth, account_health
from projections.shared.managed_accounts import managed_accounts
from tests.services.shop_views import order

MODELS = (account_health, managed_accounts)


def shop_log(orders: int = 40) -> MemoryLog:
    """Nine accounts of two partitions that buy for a month, less and less of them."""
    log = MemoryLog(partitions=2, generation="the shop")
    log.append(*(order(n, 20 + n, f"acc-{n % (1 + n // 5)}", day=1 + n // 2) for n in range(orders)))
    return log


class Appending:
    """Stands in for intake."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    async def publish(self, events: Sequence[Any]) -> list[Answer]:
        return [Taken(token) for token in self._log.append(*events)]


async def said(log: MemoryLog, store: ViewStore, limits: Sequence[int] = (1_000,)) -> list[Announcement]:
    """All that is announced until nothing is new, published as it comes; batches have these limits in turn."""
    projector = await Projector.opened(log, store, MODELS)
    found: list[Announcement] = []
    turn = 0
    while True:
        done = await projector.step(limits[turn % len(limits)])
        waiting = store.announcements(1_000)
        await Announcer(store, Appending(log)).step(1_000)
        found += waiting
        turn += 1
        if not done and not waiting:
            return found


def bands(store: ViewStore) -> dict[str, str | None]:
    return {row.account: row.band for row in store.select(managed_accounts)}


def healths(store: ViewStore) -> dict[str, str]:
    return {row.account: row.band for row in store.select(account_health)}


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/views.db"


async def test_after_a_silent_past_each_account_is_known_from_the_first_day(database: str) -> None:
    log = shop_log()
    with closing(ViewStore(database)) as store:
        told = await said(log, store)
        assert {one.type for one in told} == {"health.band_stands"}
        assert len(told) == len({one.subject for one in told}) == len(healths(store))
        assert bands(store) == healths(store)
        assert len(set(healths(store).values())) > 1
        log.append(*(order(100 + n, 900, "acc-0", day=27) for n in range(9)))
        assert {one.type for one in await said(log, store)} <= {"health.band_crossed"}
        assert bands(store) == healths(store)


async def test_a_store_that_is_lost_tells_nothing_again_but_what_was_crossed_meanwhile(tmp_path: Path) -> None:
    log = shop_log()
    with closing(ViewStore(f"sqlite:///{tmp_path}/lost.db")) as store:
        assert await said(log, store)
        before = healths(store)
    with closing(ViewStore(f"sqlite:///{tmp_path}/anew.db")) as store:
        assert await said(log, store) == []
        assert bands(store) == healths(store) == before
    log.append(*(order(100 + n, 900, "acc-8", day=27) for n in range(9)))
    with closing(ViewStore(f"sqlite:///{tmp_path}/again.db")) as store:
        assert {(one.subject, one.type) for one in await said(log, store)} == {("acc-8", "health.band_stands")}
        assert bands(store) == healths(store)


async def test_what_was_there_from_the_first_record_on_has_nothing_to_make_up_for(database: str) -> None:
    log = MemoryLog(partitions=1)
    with closing(ViewStore(database)) as store:
        await said(log, store)
        log.append(order(1, 50))
        assert [one.type for one in await said(log, store)] == ["health.band_crossed"]


async def test_another_version_that_sees_it_otherwise_says_so_when_it_takes_the_place(database: str) -> None:
    log = shop_log()
    with closing(ViewStore(database)) as store:
        await said(log, store)
        before = healths(store)
        gloomy = _gloomy()
        projector = await Projector.opened(log, store, (gloomy, managed_accounts))
        await projector.catch_up()
        told = store.announcements(1_000)
        assert {one.subject for one in told} == {
            name for name, band in before.items() if band not in ("unknown", "at_risk")
        }
        assert {one.type for one in told} == {"health.band_stands"}


@for_all(limits=st.lists(st.integers(1, 9), min_size=1, max_size=5))
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_same_is_told_however_the_log_is_cut(
    tmp_path_factory: pytest.TempPathFactory, limits: list[int]
) -> None:
    log = shop_log()
    folder = tmp_path_factory.mktemp("cut")
    with closing(ViewStore(f"sqlite:///{folder}/whole.db")) as store:
        whole = await said(shop_log(), store)
    with closing(ViewStore(f"sqlite:///{folder}/cut.db")) as store:
        cut = await said(log, store, limits)
    assert {(one.id, one.subject, one.data, one.offset) for one in cut} == {
        (one.id, one.subject, one.data, one.offset) for one in whole
    }


def _gloomy() -> Projection[AccountHealth]:
    """Health by which every account that is known is at risk."""
    made = Projection("account_health", version=99, row=AccountHealth, key=account_health.key)
    for name, fold in account_health.folds.items():
        made.folds[name] = _at_risk(fold)
    made.standing = account_health.standing
    return made


def _at_risk(fold: Any) -> Any:
    def gloomy(row: AccountHealth, event: Event[Any]) -> AccountHealth:
        row = fold(row, event)
        if row.band != "unknown":
            row.band = "at_risk"
        return row

    return gloomy
