"""What every store of read models promises to those who follow its changes; a part of ``ViewStoreContract``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from engage.events.catalogue.cross_sell import CrossSellOpeningFound
from engage.store.views import Change, PositionMovedError, ViewRebuildingError, ViewStore
from engage.testing.store_rows import (
    GENERATION,
    PARTITIONS,
    Everything,
    Grown,
    change,
    everything,
    growing,
    grown,
    other,
)
from engage.views.parking import parked
from engage.views.projection import Projection, ReadModel
from engage.views.walk import Announced

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class ChangesContract:
    """Inherited by ``ViewStoreContract``, whose fixture ``store`` it uses."""

    def test_what_changed_since_is_told_once_with_its_last_change(self, store: ViewStore) -> None:
        store.commit([change(0, 3, Everything("a"), Everything("b"))])
        store.commit([change(3, 5, Everything("a", count=2))])
        store.commit([change(5, 6)])
        store.commit([change(0, 9, Everything("c"), partition=1)])
        assert store.changes(everything, 0, 0, 10) == [
            ("b", Everything("b"), 1, 3),
            ("a", Everything("a", count=2), 2, 5),
        ]
        assert store.changes(everything, 0, 1, 10) == [("a", Everything("a", count=2), 2, 5)]
        assert store.changes(everything, 0, 2, 10) == []
        assert store.changes(everything, 1, 0, 10) == [("c", Everything("c"), 1, 9)]

    def test_a_row_that_is_gone_is_told_until_it_comes_back(self, store: ViewStore) -> None:
        store.commit([change(0, 1, Everything("a"), Everything("b"))])
        store.commit([change(1, 2, gone=("a",))])
        assert store.changes(everything, 0, 1, 10) == [("a", None, 2, 2)]
        store.commit([change(2, 3, gone=("a",))])
        assert store.changes(everything, 0, 1, 10) == [("a", None, 3, 3)]
        store.commit([change(3, 4, Everything("a", count=1))])
        assert store.changes(everything, 0, 1, 10) == [("a", Everything("a", count=1), 4, 4)]

    def test_changes_are_read_on_in_parts_and_none_is_cut_in_two(self, store: ViewStore) -> None:
        for number in range(5):
            rows = [Everything(f"k{number}{letter}") for letter in "abc"]
            store.commit([change(number, number + 1, *rows, gone=(f"gone{number}",))])
        found, after = [], 0
        while part := store.changes(everything, 0, after, 2):
            assert len({one[2] for one in part}) == 1
            found += part
            after = part[-1][2]
        assert [one[2] for one in found] == [change for change in range(1, 6) for _ in range(4)]
        assert len({one[0] for one in found}) == 20

    def test_of_several_as_of_each_those_left_out_that_are_not_all_there(self, store: ViewStore) -> None:
        store.prepare([growing], GENERATION, PARTITIONS, {0: 5, 1: 0})
        store.commit(
            [change(0, 6, Everything("a"), Everything("b")), change(0, 4, Everything("a"), projection=growing)]
        )
        store.commit([change(0, 6, Everything("x"), Everything("y"), projection=other)])
        asked: dict[ReadModel[Any], int] = {everything: 0, growing: 0, other: 0}
        for number, gone in enumerate(((), ("b",)), 6):
            store.commit([change(number, number + 1, Everything("a", count=2), gone=gone)])
            for limit in (1, 10):
                each = [(model, store.changes(model, 0, 0, limit)) for model in (everything, other)]
                assert store.changes_of_all(asked, 0, limit) == each

    def test_of_rows_that_are_only_appended_the_log_itself_tells(self, store: ViewStore) -> None:
        lines = Projection("lines", version=1, row=Everything, append_only=True)
        with pytest.raises(ValueError, match="follow the log itself"):
            store.changes(lines, 0, 0, 1)

    def test_rows_are_woken_on_their_moment_until_they_stand_still(self, store: ViewStore) -> None:
        store.prepare([growing], GENERATION, PARTITIONS)
        first = change(0, 1, Everything("a"), Everything("b"), Everything("c"), projection=growing)
        first.folded.due = {"a": NOON, "b": NOON - timedelta(hours=1)}
        store.commit([first])
        assert store.due_keys(growing, 0, NOON) == ["b", "a"]
        assert store.due_keys(growing, 0, NOON - timedelta(minutes=1)) == ["b"]
        assert store.due_keys(growing, 1, NOON) == []
        assert store.next_dues([growing], range(PARTITIONS)) == {0: NOON - timedelta(hours=1)}
        later = change(1, 2, Everything("a", count=1), projection=growing)
        later.folded.parked["row", "b"] = parked("row", "b", 0, 1, ValueError("boom"))
        store.commit([later])
        assert store.next_dues([growing], [0]) == {}

    def test_announcements_wait_in_order_and_only_those_of_what_came_after_the_model(self, store: ViewStore) -> None:
        store.prepare([growing], GENERATION, PARTITIONS, {0: 5, 1: 0})
        store.commit([_announcing(0, 10, 4, 5, 9)])
        store.commit([_announcing(0, 1, 0, partition=1)])
        waiting = store.announcements(10)
        assert [(one.partition, one.offset, one.subject, one.projection) for one in waiting] == [
            (0, 5, "acc-1", "growing"),
            (0, 9, "acc-1", "growing"),
            (1, 0, "acc-1", "growing"),
        ]
        assert (waiting[0].type, waiting[0].time, waiting[0].cause) == ("cross_sell.opening_found", NOON, None)
        assert [one.offset for one in store.announcements(10, [1])] == [0]
        store.published([one.number for one in waiting[:2]])
        assert [one.partition for one in store.announcements(10)] == [1]

    def test_what_was_folded_in_silence_is_refused_when_it_is_to_be_announced_by_now(self, store: ViewStore) -> None:
        store.prepare([growing], GENERATION, PARTITIONS, {0: 5, 1: 5})
        assert store.standing().announces["growing", 0] == 5
        silent = _announcing(0, 4)
        silent.folded.silent_until = 5
        store.announce_from({0: 3}, later=False)
        with pytest.raises(PositionMovedError, match="is to announce from 3 on"):
            store.commit([silent])
        store.commit([structs.replace(silent, position=3)])
        longer = _announcing(3, 6, 4)
        longer.folded.silent_until = store.standing().announces["growing", 0]
        store.commit([longer])
        assert [one.offset for one in store.announcements(10)] == [4]

    def test_a_view_that_comes_to_a_full_log_is_read_when_it_is_whole(self, store: ViewStore) -> None:
        store.prepare([growing], GENERATION, PARTITIONS, {0: 5, 1: 0})
        store.commit([change(0, 4, Everything("a"), projection=growing)])
        with pytest.raises(ViewRebuildingError, match="'growing' is being rebuilt, 4 of 5 records are folded"):
            store.get(growing, "a")
        store.commit([change(4, 6, projection=growing)])
        assert store.get(growing, "a") == Everything("a")
        assert store.select(growing) == [Everything("a")]

    def test_what_was_built_beside_takes_its_place_and_tells_only_the_differences(self, store: ViewStore) -> None:
        a, b, c = (Everything(key, count=1) for key in "abc")
        store.commit([change(0, 3, a, b, c), change(0, 2, projection=everything, partition=1)])
        store.commit([change(3, 4, Everything("d"))])
        store.build_beside((everything,), GENERATION, PARTITIONS)
        new = structs.replace(b, count=7)
        store.commit([_beside(change(0, 3, a, new, Everything("e")))])
        assert store.swap((everything,)) is None
        store.commit([_beside(change(3, 4, Everything("d")))])
        store.commit([_beside(change(0, 2, partition=1))])
        epoch = store.epoch(everything)
        assert store.swap((everything,)) == 3
        assert store.select(everything) == [a, new, Everything("d"), Everything("e")]
        assert store.changes(everything, 0, 2, 10) == [
            ("b", new, 3, 3),
            ("e", Everything("e"), 4, 3),
            ("c", None, 5, 3),
        ]
        assert store.changes(everything, 0, 0, 10)[0] == ("a", a, 1, 3)
        assert store.epoch(everything) == epoch
        store.commit([change(4, 5, structs.replace(a, count=2))])
        assert store.changes(everything, 0, 5, 10) == [("a", structs.replace(a, count=2), 6, 5)]

    def test_what_was_live_before_can_be_put_back_and_forth(self, store: ViewStore) -> None:
        store.commit([change(0, 3, Everything("a"), Everything("b"))])
        with pytest.raises(LookupError, match="nothing was kept of 'everything'"):
            store.roll_back((everything,))
        for count in (1, 2):
            store.build_beside((everything,), GENERATION, PARTITIONS)
            store.commit([_beside(change(0, 3, Everything("a", count=count)))])
            assert store.swap((everything,)) is not None
        assert store.select(everything) == [Everything("a", count=2)]
        assert store.roll_back((everything,)) == 1
        assert store.select(everything) == [Everything("a", count=1)]
        assert store.roll_back((everything,)) == 1
        assert store.select(everything) == [Everything("a", count=2)]
        assert store.changes(everything, 0, 0, 10)[-1] == ("a", Everything("a", count=2), 6, 3)

    def test_a_new_version_with_other_columns_takes_the_place_of_the_old(self, store: ViewStore) -> None:
        store.commit([change(0, 3, Everything("a"), Everything("b")), change(0, 3, projection=other)])
        assert store.prepare([grown], GENERATION, PARTITIONS) == ["everything"]
        with pytest.raises(ViewRebuildingError, match="0 of 3"):
            store.get(grown, "a")
        store.commit([_beside(change(0, 3, Grown("a"), projection=grown))])
        assert store.swap((grown,)) == 2
        assert [row.key for row in store.select(grown)] == ["a"]
        assert [one[:3] for one in store.changes(grown, 0, 1, 9)] == [("a", store.get(grown, "a"), 2), ("b", None, 3)]

    def test_a_build_that_was_begun_is_found_as_far_as_it_came(self, store: ViewStore) -> None:
        store.commit([change(0, 3, Everything("a"))])
        store.build_beside((everything,), GENERATION, PARTITIONS)
        store.commit([_beside(change(0, 2, Everything("a")))])
        store.build_beside((everything,), GENERATION, PARTITIONS)
        assert store.standing().at(everything, "next") == {0: 2, 1: 0}


def _beside(made: Change) -> Change:
    old = structs.replace(made.old, projection=f"{made.old.projection}__next")
    return structs.replace(made, old=old, slot="next")


def _announcing(position: int, following: int, *offsets: int, partition: int = 0) -> Change:
    made = change(position, following, projection=growing, partition=partition)
    found = CrossSellOpeningFound(kind="category", opening="tea", support=1, similar=1, lift=1.0)
    made.folded.announced = [
        Announced(f"id-{offset}", "acc-1", found, NOON, partition, offset, None) for offset in offsets
    ]
    return made
