"""What every store of read models promises: inherit ``ViewStoreContract``, give it a database, and it is proven.

    class TestSqlite(ViewStoreContract):
        @pytest.fixture
        def url(self, tmp_path):
            return f"sqlite:///{tmp_path}/views.db"

They run with pytest; one of them starts a process of its own and kills it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import create_engine, event, inspect

from engage.store.views import (
    GenerationError,
    PositionMovedError,
    UnstorableRowsError,
    ViewMissingError,
    ViewRebuildingError,
    ViewStore,
)
from engage.testing.store_asking import AskingContract
from engage.testing.store_changes import ChangesContract
from engage.testing.store_rows import FULL, GENERATION, PARTITIONS, Everything, change, everything, other
from engage.views.parking import parked
from engage.views.projection import Projection


class ViewStoreContract(ChangesContract, AskingContract):
    """Inherit it and define the fixture ``url``, an empty database."""

    @pytest.fixture
    def url(self) -> str:
        """The SQLAlchemy URL of an empty database."""
        raise NotImplementedError("define the fixture `url`")

    @pytest.fixture
    def store(self, url: str) -> Iterator[ViewStore]:
        """A store with two read models at the start of the log."""
        opened = ViewStore(url)
        try:
            opened.prepare([everything, other], GENERATION, PARTITIONS)
            yield opened
        finally:
            opened.close()

    def test_every_type_of_column_comes_back_as_it_went_in(self, store: ViewStore) -> None:
        empty = Everything("empty")
        store.commit([change(0, 2, FULL, empty)])
        assert store.get(everything, "full") == FULL
        assert store.select(everything) == [empty, FULL]
        found = store.get(everything, "full")
        assert found is not None
        assert found.seen.utcoffset() == timedelta(0)
        assert [type(found.flag), type(found.score), type(found.amount)] == [bool, float, Decimal]

    def test_a_row_is_replaced_by_its_later_self(self, store: ViewStore) -> None:
        store.commit([change(0, 1, Everything("a", count=1))])
        store.commit([change(1, 2, Everything("a", count=2, maybe_name="b"))])
        assert store.select(everything) == [Everything("a", count=2, maybe_name="b")]

    def test_a_deleted_row_is_gone_and_deleting_it_again_does_no_harm(self, store: ViewStore) -> None:
        store.commit([change(0, 1, Everything("a"), Everything("b"))])
        store.commit([change(1, 2, gone=("a", "never there"))])
        assert store.get(everything, "a") is None
        assert store.get(everything, "b") == Everything("b")

    def test_many_rows_are_loaded_at_once(self, store: ViewStore) -> None:
        rows = [Everything(f"k{number:05}", count=number) for number in range(2_500)]
        store.commit([change(0, 1, *rows)])
        loaded = store.load(everything, [row.key for row in rows] + ["missing"])
        assert loaded == {row.key: row for row in rows}

    def test_rows_are_selected_by_equality_in_order_up_to_a_limit(self, store: ViewStore) -> None:
        def row(key: str, name: str, day: int, amount: str) -> Everything:
            return Everything(key, name=name, seen=datetime(2026, 1, day, tzinfo=UTC), amount=Decimal(amount))

        a, b, c = row("a", "x", 3, "9"), row("b", "x", 1, "10"), row("c", "y", 2, "1")
        store.commit([change(0, 1, a, b, c)])
        assert store.select(everything, {"name": "x"}, order="seen") == [b, a]
        assert store.select(everything, order="seen", descending=True, limit=2) == [a, c]
        assert store.select(everything, order="amount") == [c, a, b]
        assert store.select(everything, {"seen": datetime(2026, 1, 2, tzinfo=UTC)}) == [c]
        assert store.select(everything, {"maybe_name": None, "name": "y"}) == [c]
        assert store.select(everything, below=("seen", c.seen), order="seen", descending=True) == [b]
        with pytest.raises(KeyError, match="nonsense"):
            store.select(everything, {"nonsense": 1})

    def test_a_position_that_has_moved_refuses_the_whole_batch(self, store: ViewStore) -> None:
        store.commit([change(0, 5, Everything("a", count=1))])
        with pytest.raises(PositionMovedError, match=r"starts at 0 .*stands at 5"):
            store.commit([change(0, 5, Everything("a", count=100))])
        assert store.get(everything, "a") == Everything("a", count=1)

    def test_when_one_of_two_changes_is_refused_neither_is_written(self, store: ViewStore) -> None:
        store.commit([change(0, 5, projection=other)])
        with pytest.raises(PositionMovedError, match="other"):
            store.commit([change(0, 5, FULL), change(0, 5, FULL, projection=other)])
        assert store.select(everything) == []
        assert {one.position for one in store.positions() if one.projection == "everything"} == {0}

    def test_of_two_writers_of_the_same_batch_one_is_refused(self, store: ViewStore, url: str) -> None:
        rival = ViewStore(url)
        start = Barrier(2)
        outcomes: list[str] = []

        def write(through: ViewStore, name: str) -> None:
            start.wait()
            try:
                through.commit([change(0, 3, Everything("a", name=name))])
                outcomes.append(name)
            except PositionMovedError:
                outcomes.append("refused")

        writers = [Thread(target=write, args=(store, "one")), Thread(target=write, args=(rival, "two"))]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        rival.close()
        assert outcomes.count("refused") == 1
        [winner] = [name for name in outcomes if name != "refused"]
        assert store.select(everything) == [Everything("a", name=winner)]

    def test_a_crash_before_the_commit_leaves_nothing(self, store: ViewStore, url: str) -> None:
        store.commit([change(0, 1, Everything("a", count=1))])
        doomed = multiprocessing.get_context("spawn").Process(target=_die_in_the_transaction, args=(url,))
        doomed.start()
        doomed.join()
        assert doomed.exitcode == -signal.SIGKILL
        assert store.select(everything) == [Everything("a", count=1)]
        store.commit([change(1, 2, Everything("a", count=2))])
        assert store.get(everything, "a") == Everything("a", count=2)

    def test_views_of_another_log_are_refused_with_the_remedy(self, store: ViewStore) -> None:
        store.commit([change(0, 1, FULL)])
        with pytest.raises(GenerationError, match=r"log-a.*log-b.*remove the views"):
            store.prepare([everything], "log-b", PARTITIONS)
        with pytest.raises(GenerationError, match=r"log-a.*log-b.*remove the views"):
            store.commit([change(1, 2, FULL, generation="log-b")])

    def test_what_is_parked_is_kept_with_its_reason_and_what_it_missed_is_counted(self, store: ViewStore) -> None:
        batch = change(0, 3, Everything("fine"))
        batch.folded.parked["row", "bad"] = parked("row", "bad", 0, 1, ValueError("boom"))
        batch.folded.skipped["row", "bad"] = 1
        store.commit([batch])
        later = change(3, 6)
        later.folded.skipped["row", "bad"] = 2
        store.commit([later])
        [found] = store.parked(everything)
        assert (found.scope, found.key, found.partition, found.offset, found.skipped) == ("row", "bad", 0, 1, 3)
        assert found.error == "ValueError: boom"
        assert "ValueError: boom" in found.traceback
        assert store.stops()["everything"].rows == {"bad": 1}
        assert store.parked(other) == []

    @pytest.mark.parametrize(
        "row",
        [
            Everything("bad", seen=datetime(2026, 1, 1, tzinfo=None)),
            Everything("bad", count=2**70),
            Everything("bad", score=float("inf")),
            Everything("bad", maybe_score=float("nan")),
            Everything("bad", totals={"EUR": float("inf")}),
            Everything("bad", anything=[{"of": ("one", float("nan"))}]),
        ],
        ids=[
            "a time without an offset",
            "an integer too large",
            "infinity",
            "what is no number",
            "infinity in JSON",
            "what is no number in JSON",
        ],
    )
    def test_a_row_that_no_column_can_hold_is_named_and_nothing_written(
        self, store: ViewStore, row: Everything
    ) -> None:
        with pytest.raises(UnstorableRowsError, match="'everything' cannot hold the row 'bad'") as refused:
            store.commit([change(0, 1, Everything("good"), row)])
        assert list(refused.value.failures) == [("everything", "bad")]
        assert store.select(everything) == []
        store.commit([change(0, 1, Everything("good"))])

    def test_preparing_again_keeps_what_is_there(self, store: ViewStore) -> None:
        store.commit([change(0, 4, FULL)])
        assert store.prepare([everything, other], GENERATION, PARTITIONS) == []
        assert store.get(everything, "full") == FULL
        assert [one.position for one in store.positions()] == [4, 0, 0, 0]

    def test_a_new_version_begins_anew_beside_what_is_read(self, store: ViewStore) -> None:
        batch = change(0, 4, FULL)
        batch.folded.parked["row", "bad"] = parked("row", "bad", 0, 1, ValueError("boom"))
        store.commit([batch, change(0, 4, FULL, projection=other)])
        renewed = Projection("everything", version=2, row=Everything)
        assert store.prepare([renewed, other], GENERATION, PARTITIONS) == ["everything"]
        assert store.get(everything, "full") == FULL
        assert len(store.parked(renewed)) == 1
        assert store.parked(renewed, "next") == []
        assert [(one.projection, one.version, one.position) for one in store.positions() if one.partition == 0] == [
            ("everything", 1, 4),
            ("everything__next", 2, 0),
            ("other", 1, 4),
        ]
        assert store.swap((renewed,)) is None

    def test_other_columns_begin_anew_even_in_the_same_version(self, store: ViewStore) -> None:
        class Wider(Everything):
            """One more column."""

            more: int = 0

        store.commit([change(0, 4, FULL)])
        widened = Projection("everything", version=1, row=Wider)
        assert store.prepare([widened], GENERATION, PARTITIONS) == ["everything"]
        assert store.get(everything, "full") == FULL
        with pytest.raises(ViewRebuildingError, match="is being rebuilt, 0 of 4 records are folded"):
            store.select(widened)

    def test_a_view_that_nobody_has_folded_is_named_with_what_to_do(self, store: ViewStore) -> None:
        unknown = Projection("unknown", version=1, row=Everything)
        with pytest.raises(ViewMissingError, match=r"no view 'unknown'.*engage up"):
            store.get(unknown, "a")
        with pytest.raises(ViewMissingError, match="no view 'unknown'"):
            store.select(unknown)

    def test_a_projection_may_not_take_the_name_of_a_table_that_is_not_its_own(self, store: ViewStore) -> None:
        with pytest.raises(ValueError, match="'positions' that is no view"):
            store.prepare([Projection("positions", version=1, row=Everything)], GENERATION, PARTITIONS)

    def test_the_table_is_typed_and_indexed(self, store: ViewStore, url: str) -> None:
        engine = create_engine(url)
        found = inspect(engine)
        columns = {column["name"]: column for column in found.get_columns("everything")}
        indexes = {index["name"]: index["column_names"] for index in found.get_indexes("everything")}
        engine.dispose()
        assert list(columns) == [*Everything.__struct_fields__, "_partition", "_position", "_change", "_due"]
        assert [name for name, column in columns.items() if column["nullable"]] == [
            name for name in columns if name.startswith("maybe_") or name in ("note", "anything", "_due")
        ]
        assert indexes == {
            "everything_by_status": ["status"],
            "everything_by_name_seen": ["name", "seen"],
            "everything_by__change": ["_partition", "_change"],
        }


def _die_in_the_transaction(url: str) -> None:
    store = ViewStore(url)
    die_before_commit(store)
    store.commit([change(1, 2, Everything("a", count=99), FULL)])


def die_before_commit(store: ViewStore) -> None:
    """Make this process kill itself (SIGKILL) when the store's next transaction is written and not yet committed."""

    @event.listens_for(store.database.engine, "commit")
    def die(_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
