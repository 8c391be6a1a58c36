"""However the log is cut into batches, the rows are those of a fold event by event."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from engage.events import codec
from engage.events.catalogue import CATALOGUE
from engage.events.envelope import Event
from engage.log.contract import Batch
from engage.log.partitioning import partition_of
from engage.services import batches, projector
from engage.services.projector import Projector
from engage.services.records import CorruptRecordError
from engage.services.short_way import ShortWay
from engage.store.pauses import Paused
from engage.store.positions import Moved
from engage.store.views import Change, ViewStore
from engage.testing.events import moment
from engage.testing.memory_log import MemoryLog
from engage.views.projection import Projection
from tests.servers import fresh_database
from tests.services.shop_views import (
    ALL,
    catch_up,
    order,
    refund,
    spend,
    unknown,
)

SUBJECTS = ["acc-1", "acc-2", "acc-3", "quiet"]
EVENTS = st.lists(
    st.one_of(
        st.builds(
            order,
            st.integers(0, 4),
            st.sampled_from([1, 2.5, 13]),
            st.sampled_from(SUBJECTS),
            st.sampled_from(["EUR", "USD"]),
            st.integers(1, 28),
        ),
        st.builds(unknown, st.sampled_from(SUBJECTS)),
        st.builds(refund, st.integers(0, 4), st.sampled_from(SUBJECTS)),
    ),
    max_size=30,
)


def by_hand(log: MemoryLog, projection: Projection[Any]) -> dict[str, Any]:
    """Event by event, no batch, no table: what the rows must be; a row that failed stays as it was before."""
    found: dict[str, Any] = {}
    stopped: set[str] = set()
    for partition in range(log.partitions):
        for record in asyncio.run(log.read(partition, 0, 1_000)).records:
            event = msgspec.json.decode(record.value, type=Event[msgspec.Raw])
            placed = structs.replace(event, partition=partition, offset=record.offset)
            fold = projection.folds.get(placed.type) or projection.fold_any
            opened = codec.open_data(placed) if placed.type in CATALOGUE else placed
            key = projection.key(opened) if fold is not None else None
            if fold is None or key is None or placed.subject in stopped:
                continue
            kept = msgspec.json.encode(found[key]) if key in found and not projection.append_only else None
            try:
                row = fold(projection.row(key) if kept is None else found[key], opened)
            except ValueError:
                stopped.add(placed.subject)
                row = None if kept is None else msgspec.json.decode(kept, type=projection.row)
            if row is None:
                found.pop(key, None)
            else:
                found[key] = row
    return found


class Watched(ViewStore):
    """Knows what was committed at once."""

    together: list[set[str]]

    def commit(self, changes: Sequence[Change]) -> dict[tuple[str, int], Moved]:
        self.together.append({change.old.projection for change in changes})
        return super().commit(changes)


@pytest.mark.parametrize(("length", "at_once"), [(49, len(ALL)), (50, 1)])
def test_a_long_batch_is_folded_a_few_read_models_at_a_time(
    length: int, at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MANY", 50)
    log = MemoryLog(partitions=1)
    log.append(*(order(number, subject=f"acc-{number % 3}") for number in range(length)))
    with closing(Watched(f"sqlite:///{tmp_path}/views.db")) as store:
        store.together = []
        catch_up(Projector(log, store, ALL), length)
        assert {len(names) for names in store.together} == {at_once}
        assert set().union(*store.together) == {projection.name for projection in ALL}
        for projection in ALL:
            key = projection.row.__struct_fields__[0]
            rows: list[Any] = store.select(projection)
            assert {getattr(row, key): row for row in rows} == by_hand(log, projection)


class Sparing(MemoryLog):
    """Gives a few records at a time, as a broker does whose fetches are small."""

    async def read(self, partition: int, position: int, limit: int) -> Batch:
        return await super().read(partition, position, min(limit, 7))


def test_a_partition_that_is_far_from_its_end_is_folded_by_long_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projector, "FAR", 20)
    log = Sparing(partitions=1)
    log.append(*(order(number, subject=f"acc-{number % 3}") for number in range(60)))
    with closing(ViewStore(f"sqlite:///{tmp_path}/views.db")) as store:
        ours = Projector(log, store, ALL, history=30)
        assert [asyncio.run(ours.step(5)) for _ in range(3)] == [30, 30, 0], "a batch is of several fetches"
        log.append(*(order(number, subject=f"acc-{number % 3}") for number in range(60, 72)))
        assert [asyncio.run(ours.step(5)) for _ in range(4)] == [5, 5, 2, 0]
        assert {row.account: row.orders for row in store.select(spend)} == {"acc-0": 24, "acc-1": 24, "acc-2": 24}


@pytest.mark.parametrize(
    ("backend", "share"), [("sqlite", 1), pytest.param("postgres", 10, marks=pytest.mark.postgres)]
)
def test_wherever_the_batches_are_cut_the_rows_are_those_of_one_pass(
    backend: str, share: int, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue("postgres") if backend == "postgres" else ""

    @settings(max_examples=settings().max_examples // share)
    @given(st.lists(st.tuples(EVENTS, st.integers(1, 7), st.sets(st.sampled_from(ALL))), max_size=4))
    def property_holds(rounds: list[tuple[list[Event[Any]], int, set[Projection[Any]]]]) -> None:
        log = MemoryLog(partitions=2, generation="the same for every example")
        with ExitStack() as stack:
            folder = tmp_path_factory.mktemp("views")
            url = stack.enter_context(fresh_database(server)) if server else f"sqlite:///{folder}/views.db"
            store = stack.enter_context(closing(ViewStore(url)))
            for events, limit, some in rounds:
                log.append(*events)
                if some:
                    asyncio.run(Projector(log, store, sorted(some, key=lambda one: one.name)).step(limit))
            projector = Projector(log, store, ALL)
            catch_up(projector, 5)
            for projection in ALL:
                key = projection.row.__struct_fields__[0]
                rows: list[Any] = store.select(projection)
                assert {getattr(row, key): row for row in rows} == by_hand(log, projection)
                assert asyncio.run(projector.verify(projection)) is None

    property_holds()


def test_of_partitions_far_from_their_ends_one_is_folded_after_another_and_those_that_are_near_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = MemoryLog(partitions=3)
    homes = {partition_of(name, 3): name for name in (f"acc-{number}" for number in range(20))}
    for partition, count in ((0, 30), (1, 30), (2, 4)):
        log.append(*(order(number, subject=homes[partition]) for number in range(count)))
    monkeypatch.setattr(projector, "FAR", 10)
    with closing(ViewStore(f"sqlite:///{tmp_path}/views.db")) as store:
        folding, seen = Projector(log, store, [spend], history=10), []
        while asyncio.run(folding.step(10)):
            seen.append(tuple(at.position for at in folding.positions()))
    assert seen == [(10, 0, 4), (20, 0, 4), (30, 10, 4), (30, 20, 4), (30, 30, 4)]


def long_history(odd: Event[Any]) -> MemoryLog:
    """More than is worth the short way, in one partition, with ``odd`` in the middle."""
    log = MemoryLog(partitions=1)
    log.append(*(order(number, 2.5, subject=f"acc-{number % 3}") for number in range(240)), odd)
    log.append(*(order(number, 2.5, subject=f"acc-{number % 3}") for number in range(240)))
    return log


@pytest.mark.parametrize(
    ("odd", "ways"),
    [
        pytest.param(unknown("acc-1"), [True, True], id="nobody hears it"),
        pytest.param(order(0, 13, "acc-1"), [False], id="its fold fails, which parks its row"),
    ],
)
def test_a_long_batch_goes_the_short_way_or_the_long_one_to_the_same_rows(
    odd: Event[Any], ways: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, inner = list[bool](), ShortWay.fold

    def fold(self: ShortWay, *found: Any) -> Any:
        short = inner(self, *found)
        gone.append(short is not None)
        return short

    monkeypatch.setattr(ShortWay, "fold", fold)
    log = long_history(odd)
    with closing(ViewStore(f"sqlite:///{tmp_path}/views.db")) as store:
        projector = Projector(log, store, [spend])
        catch_up(projector, 241)
        assert gone == ways
        rows: list[Any] = store.select(spend)
        assert {row.account: row for row in rows} == by_hand(log, spend)
        assert asyncio.run(projector.verify(spend)) is None


def test_a_record_that_is_no_event_stops_the_short_way_before_it_too(tmp_path: Path) -> None:
    log = MemoryLog(partitions=1)
    log.append(*(order(number, 2.5) for number in range(300)))
    log.append_raw(0, moment("2026-03-02"), b"{")
    log.append(*(order(number, 2.5) for number in range(300)))
    with closing(ViewStore(f"sqlite:///{tmp_path}/views.db")) as store:
        ours = Projector(log, store, [spend])
        with pytest.raises(CorruptRecordError):
            catch_up(ours)
        assert [at.position for at in ours.positions()] == [300]


def test_what_is_paused_while_a_long_history_goes_the_short_way_stands_where_it_was_paused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projector, "FAR", 20)
    log = MemoryLog(partitions=1)
    log.append(*(order(number, 2.5) for number in range(1_000)))
    with closing(Watched(f"sqlite:///{tmp_path}/views.db")) as store:
        ours = Projector(log, store, [spend], history=300)
        inner = store.commit

        def commit(changes: Sequence[Change]) -> dict[tuple[str, int], Moved]:
            moved = inner(changes)
            if changes[0].position == 600:
                store.pause((spend,), Paused(since=moment("2026-03-01"), by="somebody"))
            return moved

        monkeypatch.setattr(store, "commit", commit)
        store.together = []
        assert asyncio.run(ours.step(300)) == 600
        assert asyncio.run(ours.step(300)) == 0
        store.resume((spend,))
        catch_up(ours, 300)
        assert {row.account: row for row in store.select(spend)} == by_hand(log, spend)
