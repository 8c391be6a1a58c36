"""A row that stood still goes on when an operator says so on the log, live as in whatever is folded from it anew."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from msgspec import Struct

from engage.events import codec
from engage.events.catalogue.commerce import OrderCompleted
from engage.events.catalogue.dead_letter import DeadLetterRetried, DeadLetterSkipped
from engage.events.envelope import Event
from engage.services.projector import Projector
from engage.store.views import ViewStore
from engage.testing.events import moment
from engage.testing.memory_log import MemoryLog
from engage.views.aggregate import Aggregate
from engage.views.projection import Projection
from tests.services.shop_views import ALL, Spend, catch_up, order, spend, unknown


class Shard(Struct):
    """Orders of one partition's accounts."""

    key: str
    orders: int = 0


class Sum(Struct):
    """Orders of all accounts."""

    key: str
    orders: int


def shop(bad: float | None) -> tuple[Any, ...]:
    """A read model that cannot take orders of ``bad``, and how many orders all accounts have."""
    ours: Projection[Spend] = Projection("ours", version=1, row=Spend)
    every: Aggregate[Shard, Sum] = Aggregate("every", version=1, row=Shard, reads=Sum, of=ours)

    @ours.on(OrderCompleted)
    def spent(row: Spend, event: Event[OrderCompleted]) -> Spend:
        row.orders += 1
        if event.data.total == bad:
            raise ValueError("cannot be taken")
        return row

    @every.of_row
    def share(row: Spend) -> list[Shard]:
        return [Shard("all", row.orders)]

    @every.read
    def read(shards: list[Shard]) -> list[Sum]:
        return [Sum(one.key, one.orders) for one in shards]

    return ours, every


def retried(offset: int, at: str, view: str = "spend", subject: str = "acc-1") -> Event[Any]:
    return _word(DeadLetterRetried(consumer=f"view {view}", partition=0, offset=offset), at, subject)


def skipped(offset: int, at: str, view: str = "spend", subject: str = "acc-1") -> Event[Any]:
    said = DeadLetterSkipped(consumer=f"view {view}", partition=0, offset=offset, reason="test order")
    return _word(said, at, subject)


def _word(data: Any, at: str, subject: str) -> Event[Any]:
    event = codec.new_event(data, id=f"{at}-{subject}", source="engage/operators", subject=subject, time=moment(at))
    event.recorded = moment(at)
    return event


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ViewStore]:
    opened = ViewStore(f"sqlite:///{tmp_path}/views.db")
    yield opened
    opened.close()


def rows(store: ViewStore, models: tuple[Any, ...]) -> Any:
    """What the tables of these models hold, and what stands still in them."""
    held = [{getattr(row, store.table(one).key): row for row in store.select(one)} for one in models]
    return held, [[(one.key, one.offset) for one in store.parked(model)] for model in models]


def anew(log: MemoryLog, models: tuple[Any, ...], folder: Path) -> Any:
    """The same, folded from the log into a store that is new."""
    fresh = ViewStore(f"sqlite:///{folder}/anew.db")
    catch_up(Projector(log, fresh, models))
    try:
        return rows(fresh, models)
    finally:
        fresh.close()
        (folder / "anew.db").unlink()


def test_a_skip_folds_the_row_without_that_event_and_goes_on(store: ViewStore, tmp_path: Path) -> None:
    log = MemoryLog()
    log.append(order(1), order(2, 13), order(3), order(4, subject="acc-2"))
    projector = Projector(log, store, ALL)
    catch_up(projector)
    log.append(skipped(1, "2026-03-06"), order(5))
    catch_up(projector)
    assert (found := store.get(spend, "acc-1")) is not None
    assert (found.orders, store.parked(spend)) == (3, [])
    assert asyncio.run(projector.verify(spend)) is None
    assert anew(log, ALL, tmp_path) == rows(store, ALL)
    asyncio.run(projector.rebuild(spend))
    assert store.get(spend, "acc-1") == found
    assert asyncio.run(projector.rebuild_account(spend, "acc-1")) == 1
    assert store.get(spend, "acc-1") == found


def test_a_retry_that_fails_again_stays_and_one_by_the_mended_fold_goes_on(store: ViewStore, tmp_path: Path) -> None:
    log, broken, mended = MemoryLog(), shop(13), shop(None)
    log.append(order(1), order(2, 13), order(3), order(4, subject="acc-2"))
    catch_up(Projector(log, store, broken))
    log.append(retried(1, "2026-03-05", "ours"), order(5))
    catch_up(Projector(log, store, broken))
    [still] = store.parked(broken[0])
    assert (still.key, still.offset, still.skipped) == ("acc-1", 1, 2)
    log.append(retried(1, "2026-03-06", "ours"), order(6))
    projector = Projector(log, store, mended)
    catch_up(projector)
    assert store.parked(mended[0]) == []
    assert store.merged(mended[1]) == [Sum("all", 6)]
    assert asyncio.run(projector.verify(mended[0])) is asyncio.run(projector.verify(mended[1])) is None
    assert anew(log, mended, tmp_path) == rows(store, mended)


def test_a_process_that_dies_between_mending_and_passing_the_word_mends_once_more(
    store: ViewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = MemoryLog()
    log.append(order(1), order(2, 13), order(3))
    catch_up(Projector(log, store, ALL))
    log.append(skipped(1, "2026-03-06"), order(5))
    projector = Projector(log, store, ALL)
    mend = projector._batches._mend
    assert mend is not None

    async def mend_and_die(*told: Any) -> None:
        await mend(*told)
        raise KeyboardInterrupt

    monkeypatch.setattr(projector._batches, "_mend", mend_and_die)
    with pytest.raises(KeyboardInterrupt):
        catch_up(projector)
    projector = Projector(log, store, ALL)
    catch_up(projector)
    assert (found := store.get(spend, "acc-1")) is not None
    assert found.orders == 3
    assert asyncio.run(projector.verify(spend)) is None


def test_a_word_for_a_model_that_is_built_beside_is_heard_there_too(store: ViewStore) -> None:
    log = MemoryLog()
    log.append(order(1), order(2, 13), order(3), skipped(1, "2026-03-06"), order(5))
    catch_up(Projector(log, store, ALL))
    ours = Projection("spend", version=2, row=Spend)
    ours.folds.update(spend.folds)
    catch_up(Projector(log, store, (ours,)))
    assert (found := store.get(ours, "acc-1")) is not None
    assert (found.orders, store.parked(ours)) == (3, [])


WHO = ("acc-1", "acc-2")
HAPPENING = some.one_of(
    some.tuples(some.just("order"), some.sampled_from(WHO), some.sampled_from([10.0, 13.0])),
    some.tuples(some.sampled_from(["retry", "skip"]), some.integers(0, 9), some.just(0.0)),
)


@settings(max_examples=25, deadline=None)
@given(
    story=some.lists(HAPPENING, max_size=14), cuts=some.sets(some.integers(0, 14)), bad=some.sampled_from([13, None])
)
def test_whatever_operators_say_the_rows_are_the_same_live_as_folded_anew(
    tmp_path_factory: pytest.TempPathFactory, story: list[Any], cuts: set[int], bad: float | None
) -> None:
    folder = tmp_path_factory.mktemp("views")
    store, log, models = ViewStore(f"sqlite:///{folder}/views.db"), MemoryLog(), shop(13)
    try:
        projector = Projector(log, store, models)
        failed: list[tuple[str, int]] = []
        for place, (what, who, total) in enumerate(story):
            at = f"2026-04-{1 + place:02}"
            if what == "order":
                if total == 13:
                    failed.append((who, log_end(log)))
                log.append(order(place, total, subject=who))
            elif failed:
                account, offset = failed[who % len(failed)]
                said = retried if what == "retry" else skipped
                log.append(said(offset, at, "ours", account))
            if place in cuts:
                catch_up(projector)
        catch_up(projector)
        if bad is None:  # the fold is mended at last, and all is retried
            models = shop(None)
            projector = Projector(log, store, models)
            for account, offset in failed:
                log.append(retried(offset, "2026-05-01", "ours", account))
            catch_up(projector)
        assert rows(store, models) == anew(log, models, folder)
        assert asyncio.run(projector.verify(models[0])) is asyncio.run(projector.verify(models[1])) is None
    finally:
        store.close()


def log_end(log: MemoryLog) -> int:
    return asyncio.run(log.end(0))


def test_rows_that_somebody_else_wrote_are_read_again_after_a_batch_that_asked_for_none(store: ViewStore) -> None:
    log = MemoryLog()
    log.append(order(1), order(2))
    projector = Projector(log, store, (spend,))
    catch_up(projector)
    other = Projector(log, store, (spend,))
    log.append(skipped(1, "2026-04-01"))
    catch_up(other)
    log.append(unknown())
    catch_up(projector)
    log.append(order(4))
    catch_up(projector)
    assert asyncio.run(projector.verify(spend)) is None
