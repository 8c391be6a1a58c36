"""Rows that a projector keeps between batches are not seen in what it writes, whatever fails, whoever else writes."""

import asyncio
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from engage.services.projector import Projector
from engage.store.positions import Mark
from engage.store.row_cache import RowCache
from engage.store.views import PositionMovedError, ViewStore
from engage.testing.memory_log import MemoryLog
from tests.services.shop_views import ALL, catch_up, order, spend
from tests.services.test_projector_batches import EVENTS
from tests.services.town_views import assert_right, make

FOLDED = (*ALL, *make())
MARK = Mark(1, 1, "epoch")
NAMES = ["ours", "ours", "ours", "another's", "a crash", "an account anew"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ViewStore]:
    with closing(ViewStore(f"sqlite:///{tmp_path}/views.db")) as opened:
        yield opened


def tables(store: ViewStore) -> dict[str, Any]:
    """Every column of every row, the framework's too."""
    with store.database.read() as connection:
        names = [*(model.name for model in FOLDED), "positions", "parked", "announcements", "view_deletions"]
        return {name: sorted(map(repr, connection.exec_driver_sql(f"SELECT * FROM {name}"))) for name in names}


def test_with_and_without_kept_rows_the_tables_are_the_same(tmp_path_factory: pytest.TempPathFactory) -> None:
    @settings(max_examples=settings().max_examples // 5)
    @given(st.lists(st.tuples(EVENTS, st.integers(1, 9), st.sampled_from(NAMES)), max_size=6))
    def property_holds(rounds: list[tuple[list[Any], int, str]]) -> None:
        told = []
        for cache in (RowCache(0), RowCache(6), RowCache()):
            log = MemoryLog(partitions=2, generation="the same for every example")
            with closing(ViewStore(f"sqlite:///{tmp_path_factory.mktemp('views')}/views.db")) as store:
                ours, another = Projector(log, store, FOLDED, cache=cache), Projector(log, store, FOLDED)
                for events, limit, what in rounds:
                    log.append(*events)
                    asyncio.run(_go_on(what, ours, another, store, limit))
                catch_up(ours, 5)
                asyncio.run(assert_right(ours))
                told.append(tables(store))
        assert told[0] == told[1] == told[2]

    property_holds()


async def _go_on(what: str, ours: Projector, another: Projector, store: ViewStore, limit: int) -> None:
    if what == "a crash":
        with pytest.MonkeyPatch.context() as patched, suppress(OperationalError):
            patched.setattr(store.database, "send", partial(_broken, store.database.send))
            await ours.step(limit)
    elif what == "an account anew":
        await another.rebuild_account(spend, "acc-1")
    await (another if what == "another's" else ours).step(limit)


def _broken(send: Any, *statements: Any) -> None:
    """All is written, and then it is not committed."""
    send(*statements)
    raise OperationalError("COMMIT", {}, Exception("the disk is full"))


def test_what_another_process_has_written_since_is_read_again(store: ViewStore) -> None:
    log = MemoryLog()
    ours, another = Projector(log, store, [spend]), Projector(log, store, [spend])
    for number, projector in enumerate([ours, another, ours, another]):
        log.append(order(number))
        catch_up(projector)
        found = store.get(spend, "acc-1")
        assert found is not None
        assert found.orders == number + 1


def test_who_wrote_between_reading_and_committing_at_the_same_position_is_not_written_over(store: ViewStore) -> None:
    log = MemoryLog()
    log.append(order(1), order(2))
    ours, another = Projector(log, store, [spend]), Projector(log, store, [spend])
    catch_up(ours)
    log.append(order(3))
    commit = store.commit

    def late(changes: Any) -> Any:
        store.commit = commit  # type: ignore[method-assign]
        asyncio.run(another.rebuild_account(spend, "acc-1"))
        return commit(changes)

    store.commit = late  # type: ignore[method-assign]
    with pytest.raises(PositionMovedError, match="written to while this batch was folded"):
        catch_up(ours)
    catch_up(ours)
    assert asyncio.run(ours.verify(spend)) is None


def test_a_row_is_given_away_once_and_only_to_who_reads_the_state_it_was_kept_in() -> None:
    cache = RowCache(4)
    cache.keep("spend", 0, MARK, MARK, {"a": [1], "b": [2], "gone": None})
    assert cache.take("spend", 1, MARK, ["a"]) == {}
    assert cache.take("spend", 0, MARK, ["a", "gone", "c"]) == {"a": [1], "gone": None}
    assert cache.take("spend", 0, MARK, ["a"]) == {}
    assert cache.take("spend", 0, Mark(1, 2, "epoch"), ["b"]) == {}
    assert cache.take("spend", 0, MARK, ["b"]) == {}


def test_what_was_not_asked_for_for_longest_makes_room() -> None:
    cache = RowCache(4)
    for number in range(20):
        cache.keep("spend", 0, MARK, MARK, {f"{number}": number} | cache.take("spend", 0, MARK, ["0"]))
    kept = cache.take("spend", 0, MARK, [str(number) for number in range(20)])
    assert 1 <= len(kept) <= 5
    assert {"0", "19"} <= kept.keys()


def test_rows_of_a_batch_whose_tables_would_push_each_other_out_are_not_kept() -> None:
    cache = RowCache(4)
    cache.keep("spend", 0, MARK, MARK, {"a": 1, "b": 2}, tables=2)
    assert cache.take("spend", 0, MARK, ["a"]) == {"a": 1}
    cache.keep("spend", 0, MARK, MARK, {"a": 1}, tables=5)
    assert cache.take("spend", 0, MARK, ["a", "b"]) == {}
