"""A paused read model stands still in every process until it is resumed; readers and other read models do not wait."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from engage.services.pausing import Pausing, pause, resume
from engage.services.projector import Projector
from engage.services.rebuilding import PausedError
from engage.services.waiting import NotYetError, Waiting
from engage.store.pauses import Paused
from engage.store.positions import Moved
from engage.store.views import Change, PositionMovedError, ViewRebuildingError, ViewStore
from tests.services.shop_views import spend
from tests.services.town_views import assert_right, make, regulars, stored, told, town_log, warmths

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MODELS = (regulars, warmths, spend)


@pytest.fixture
def store(url: str) -> Iterator[ViewStore]:
    with closing(ViewStore(url)) as opened:
        yield opened


def paused(store: ViewStore) -> Pausing:
    return pause(store, MODELS, warmths, by="ada", at=NOON)


def position(projector: Projector, name: str) -> int:
    return sum(one.position for one in projector.positions() if one.projection == name)


async def test_it_stands_still_with_its_family_and_no_other_waits(store: ViewStore, url: str) -> None:
    log = town_log(30)
    projector = Projector(log, store, MODELS)
    await projector.catch_up()
    assert projector.next_dues()
    before = stored(store)
    assert paused(store) == Pausing(["regulars", "warmths"], Paused(NOON, "ada"), True)
    log.append(*told(30, 60))
    with closing(ViewStore(url)) as reopened:  # as another process, or after a restart
        elsewhere = Projector(log, reopened, MODELS)
        await elsewhere.catch_up(limit=3)
        assert (position(elsewhere, "regulars"), position(elsewhere, "spend")) == (30, 60)
        assert stored(reopened) == before
        assert elsewhere.next_dues() == {}
    assert {one.projection: one.paused for one in await projector.lag()} == {
        "regulars": Paused(NOON, "ada"),
        "warmths": Paused(NOON, "ada"),
        "spend": None,
    }
    await assert_right(projector)
    assert resume(store, MODELS, regulars) == Pausing(["regulars", "warmths"], Paused(NOON, "ada"), True)
    await projector.catch_up(limit=7)
    assert position(projector, "regulars") == 60
    await assert_right(projector)


async def test_pausing_and_resuming_twice_changes_nothing(store: ViewStore) -> None:
    Projector(town_log(), store, MODELS)
    paused(store)
    assert pause(store, MODELS, regulars, by="bob", at=datetime.now(UTC)) == Pausing(
        ["regulars", "warmths"], Paused(NOON, "ada"), False
    )
    resume(store, MODELS, warmths)
    assert resume(store, MODELS, warmths) == Pausing(["regulars", "warmths"], None, False)


async def test_what_is_folded_but_not_written_when_it_is_paused_is_never_written(url: str) -> None:
    log = town_log(20)
    with closing(ViewStore(url)) as ours, closing(_Overtaken(url, lambda: paused(ours))) as theirs:
        projector = Projector(log, theirs, MODELS)
        with pytest.raises(PositionMovedError, match="regulars, warmths, spend one was paused while"):
            await projector.step()
        assert [position(projector, name) for name in ("regulars", "spend")] == [0, 0]
        await projector.catch_up()
        assert [position(projector, name) for name in ("regulars", "spend")] == [0, 20]
        resume(ours, MODELS, regulars)
        await projector.catch_up()
        await assert_right(projector)


async def test_a_rebuild_that_is_paused_goes_on_when_it_is_resumed(store: ViewStore, url: str) -> None:
    projector = Projector(town_log(), store, MODELS)
    await projector.catch_up()

    def meanwhile(*_: Any) -> None:
        paused(store)

    with pytest.raises(PausedError, match=r"'regulars' is paused since 2026-03-01 12:00 \(UTC\) by ada"):
        await projector.rebuild(regulars, meanwhile)
    with closing(ViewStore(url)) as reopened:  # whoever rebuilt may have been killed since
        elsewhere = Projector(town_log(), reopened, MODELS)
        for asked in (elsewhere.rebuild(regulars), elsewhere.rebuild_account(regulars, "acc-1")):
            with pytest.raises(PausedError, match="`engage projections resume regulars`"):
                await asked
        resume(reopened, MODELS, regulars)
        done = await elsewhere.rebuild(regulars)
        assert (done.records, done.swapped) == (0, True)
        await assert_right(elsewhere)


async def test_a_changed_version_is_built_beside_when_it_is_resumed(store: ViewStore) -> None:
    log = town_log()
    await Projector(log, store, MODELS).catch_up()
    before = stored(store)
    paused(store)
    renewed = (*make(version=2, weight=2), spend)
    projector = Projector(log, store, renewed)
    assert await projector.catch_up() == 0
    assert store.swap(renewed[:2]) is None
    assert stored(store) == before
    resume(store, renewed, renewed[0])
    await projector.catch_up()
    assert [one.version for one in projector.positions() if one.projection == "regulars"] == [2, 2]
    await assert_right(projector)


async def test_a_swap_and_a_rollback_take_no_pause_away(store: ViewStore) -> None:
    log = town_log(30)
    projector = Projector(log, store, MODELS)
    await projector.catch_up()
    await projector.rebuild(regulars)
    paused(store)
    await projector.roll_back(regulars)
    log.append(*told(30, 60))
    await projector.catch_up()
    assert position(projector, "regulars") == 30


async def test_who_waits_for_it_is_told_at_once(store: ViewStore) -> None:
    log = town_log(1)
    projector = Projector(log, store, MODELS)
    paused(store)
    await projector.catch_up()
    [place] = [f"{partition}:0" for partition in (0, 1) if await log.end(partition)]
    waiting = Waiting(store, log.partitions)
    async with asyncio.timeout(20):
        await waiting.until(place, [spend], 60)
        with pytest.raises(NotYetError, match="regulars is paused since 2026-03-01 12:00"):
            await waiting.until(place, [regulars], 60)


async def test_readers_of_what_was_never_whole_are_told(store: ViewStore) -> None:
    log = town_log()
    paused(store)
    projector = await Projector.opened(log, store, MODELS)
    await projector.catch_up()
    with pytest.raises(
        ViewRebuildingError, match=r"and it is paused since .* by ada: `engage projections resume warmths`"
    ):
        store.merged(warmths)


def test_a_store_from_before_there_were_pauses_is_migrated(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/views.db"
    with closing(ViewStore(url)) as old, old.database.write() as connection:
        connection.execute(text("DROP TABLE view_pauses"))
        connection.execute(text("UPDATE schema_versions SET version = 2"))
    with closing(ViewStore(url)) as migrated:
        assert paused(migrated).changed


class _Overtaken(ViewStore):
    """One whose first batch is folded when something else happens, and written after that."""

    def __init__(self, url: str, meanwhile: Callable[[], Any]) -> None:
        super().__init__(url)
        self._meanwhile: Callable[[], Any] | None = meanwhile

    def commit(self, changes: Sequence[Change]) -> dict[tuple[str, int], Moved]:
        if self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
        return super().commit(changes)
