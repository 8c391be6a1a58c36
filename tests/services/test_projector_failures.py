"""What cannot be folded, read or stored parks its own row; what must not go on stops with the reason."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Raw, Struct, field, structs

from engage.events.catalogue.commerce import OrderCompleted
from engage.events.envelope import Event
from engage.log.contract import Batch, LogGapError
from engage.log.partitioning import partition_of
from engage.services import projector
from engage.services.projector import CorruptRecordError, Projector
from engage.store.views import GenerationError, PositionMovedError, ViewStore
from engage.testing.memory_log import MemoryLog
from engage.views.projection import Projection
from projections.shared.timeline import timeline
from tests.services.shop_views import (
    ALL,
    Spend,
    catch_up,
    corrupt,
    entries,
    order,
    orders,
    refund,
    spend,
)
from tests.strangers import STRANGE


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ViewStore]:
    opened = ViewStore(f"sqlite:///{tmp_path}/views.db")
    yield opened
    opened.close()


def test_a_fold_that_fails_parks_its_row_and_nothing_else(store: ViewStore) -> None:
    log = MemoryLog()
    log.append(order(1), order(2, 13), order(3), order(4, subject="acc-2"), refund(4, "acc-2"))
    projector = Projector(log, store, ALL)
    catch_up(projector)
    log.append(order(5), order(6, subject="acc-2"))
    catch_up(projector)
    assert store.get(spend, "acc-1") == Spend("acc-1", 1, {"EUR": 10.0}, order(1).time)
    assert (found := store.get(spend, "acc-2")) is not None
    assert found.orders == 2
    [parked] = store.parked(spend)
    assert (parked.scope, parked.key, parked.offset, parked.error, parked.skipped) == (
        "row",
        "acc-1",
        1,
        "ValueError: thirteen",
        2,
    )
    assert "in spent" in parked.traceback
    assert store.parked(entries) == store.parked(orders) == []
    assert len(store.select(entries)) == 7
    assert asyncio.run(projector.verify(spend)) is None


def test_a_record_older_than_its_type_is_folded_as_an_unknown_one(store: ViewStore) -> None:
    log = MemoryLog()
    log.append(order(1), structs.replace(order(2), data=Raw(b'{"undeclared": "sealed:1:AAAA"}')), order(3))
    projector = Projector(log, store, (*ALL, timeline))
    catch_up(projector)
    assert [store.parked(one) for one in (*ALL, timeline)] == [[], [], [], []]
    assert store.get(spend, "acc-1") == Spend("acc-1", 2, {"EUR": 20.0}, order(3).time)
    assert [one.summary for one in store.select(timeline)][1] == "Order Completed"
    assert asyncio.run(projector.verify(spend)) is None


def test_data_that_cannot_be_read_parks_every_model_that_listens(store: ViewStore) -> None:
    log = MemoryLog()
    log.append(order(1), order(2, subject="acc-2"))
    corrupt(log, order(3))
    log.append(order(4), order(5, subject="acc-2"))
    projector = Projector(log, store, ALL)
    catch_up(projector)
    assert [(one.scope, one.key, one.offset) for one in store.parked(spend)] == [("row", "acc-1", 2)]
    assert [(one.scope, one.key, one.offset) for one in store.parked(entries)] == [("row", "0:2", 2)]
    # Which order it was nobody can tell: what the account does from here on is left out.
    assert [(one.scope, one.key, one.skipped) for one in store.parked(orders)] == [("account", "acc-1", 1)]
    assert [row.order for row in store.select(orders)] == ["acc-1/o-1", "acc-2/o-2", "acc-2/o-5"]
    assert [asyncio.run(projector.verify(projection)) for projection in ALL] == [None, None, None]


@pytest.mark.parametrize("value", STRANGE.values(), ids=STRANGE)
def test_a_record_that_is_no_event_stops_with_its_place(store: ViewStore, value: bytes) -> None:
    log = MemoryLog()
    log.append(order(1))
    log.append_raw(0, order(1).time, value)
    with pytest.raises(CorruptRecordError, match="record 0:1 of the log is no event"):
        catch_up(Projector(log, store, ALL))


def test_who_is_far_from_the_end_does_not_wait_for_a_partition_that_stopped(
    store: ViewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projector, "FAR", 2)
    log = MemoryLog(2)
    for partition in range(2):
        subject = next(name for name in map(str, range(100)) if partition_of(name, 2) == partition)
        log.append(*(order(number, subject=subject) for number in range(5)))
    log._records[0][0] = structs.replace(log._records[0][0], value=b"{")
    projecting = Projector(log, store, ALL)
    with pytest.raises(CorruptRecordError, match="record 0:0"):
        catch_up(projecting)
    assert {(at.partition, at.position) for at in projecting.positions()} == {(0, 0), (1, 5)}


def test_a_row_that_the_database_refuses_is_parked_and_the_rest_goes_in(store: ViewStore) -> None:
    class Big(Struct):
        """Doubles."""

        account: str
        number: int = 1

    growing = Projection("growing", version=1, row=Big)

    @growing.on(OrderCompleted)
    def grown(row: Big, event: Event[OrderCompleted]) -> Big:
        return Big(row.account, row.number * 2**30)

    log = MemoryLog()
    log.append(*(order(number, subject=f"acc-{number % 2}") for number in range(7)))
    projector = Projector(log, store, [growing, spend])
    catch_up(projector)
    # 2**60 is the last that fits into 64 bits; both accounts reach 2**90 with their third order.
    assert store.select(growing) == [Big("acc-0", 2**60), Big("acc-1", 2**60)]
    assert [(one.key, one.offset, one.skipped) for one in store.parked(growing)] == [("acc-0", 4, 1), ("acc-1", 5, 0)]
    assert [row.orders for row in store.select(spend)] == [4, 3]
    assert [asyncio.run(projector.verify(projection)) for projection in (growing, spend)] == [None, None]


def test_a_row_that_cannot_be_read_back_is_parked_and_the_rest_goes_on(store: ViewStore) -> None:
    class Loose(Struct):
        """What a fold puts there nobody looks at before it is read back."""

        account: str
        numbers: list[float] = field(default_factory=list)

    loose = Projection("loose", version=1, row=Loose)

    @loose.on(OrderCompleted)
    def kept(row: Loose, event: Event[OrderCompleted]) -> Loose:
        row.numbers.append("many" if event.subject == "acc-1" else 1.0)  # type: ignore[arg-type]
        return row

    log = MemoryLog()
    for events in (order(1), order(2, subject="acc-2")), (order(3), order(4, subject="acc-2")):
        log.append(*events)
        catch_up(Projector(log, store, [loose]))  # another one: its own rows a projector need not read back
    assert store.get(loose, "acc-2") == Loose("acc-2", [1.0, 1.0])
    assert [(one.key, one.offset) for one in store.parked(loose)] == [("acc-1", 2)]


def test_a_second_projector_of_the_same_views_stops_by_itself(store: ViewStore, tmp_path: Path) -> None:
    class Slow(MemoryLog):
        """A log between whose answer and the commit another projector overtakes this one."""

        overtaken = False

        async def read(self, partition: int, position: int, limit: int) -> Batch:
            batch = await super().read(partition, position, limit)
            if not self.overtaken:
                self.overtaken = True
                await Projector(self, store, ALL).catch_up()
            return batch

    log = Slow()
    log.append(order(1), order(2))
    with pytest.raises(PositionMovedError, match="another process folds it too"):
        catch_up(Projector(log, store, ALL))
    assert (found := store.get(spend, "acc-1")) is not None
    assert found.orders == 2


def test_views_of_another_log_are_refused(store: ViewStore) -> None:
    Projector(MemoryLog(generation="one"), store, ALL)
    with pytest.raises(GenerationError, match=r"'one'.*'two'"):
        Projector(MemoryLog(generation="two"), store, ALL)


def test_records_that_are_gone_are_an_error_and_no_jump(store: ViewStore) -> None:
    log = MemoryLog()
    log.append(order(1), order(2))
    log.trim(0, 1)
    with pytest.raises(LogGapError, match="offsets 1 to 1, the reader stands at 0"):
        catch_up(Projector(log, store, ALL))
