"""The projector brings every read model to the fold of the log and says how far it is."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from engage.events.catalogue.commerce import CheckoutStarted, OrderCompleted
from engage.events.envelope import Event
from engage.log.contract import Batch, Record
from engage.log.partitioning import partition_of
from engage.services.projector import Projector, Rebuilt
from engage.store.row_writing import Part, Stamp
from engage.store.views import ViewStore
from engage.testing.events import happened
from engage.testing.memory_log import MemoryLog
from engage.views.projection import Projection
from tests.services.shop_views import (
    ALL,
    Spend,
    catch_up,
    entries,
    order,
    orders,
    refund,
    spend,
    unknown,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ViewStore]:
    opened = ViewStore(f"sqlite:///{tmp_path}/views.db")
    yield opened
    opened.close()


def test_read_models_follow_the_log_to_its_end(store: ViewStore) -> None:
    log = MemoryLog(partitions=2)
    log.append(order(1), order(2, 5, "acc-2"), order(3, 2.5, day=4), refund(1), unknown("acc-2"))
    projector = Projector(log, store, ALL)
    seen: list[int] = []
    assert asyncio.run(projector.catch_up(seen.append, limit=2)) == 5
    assert seen[-1] == 5
    assert store.get(spend, "acc-1") == Spend("acc-1", 2, {"EUR": 12.5}, order(3, day=4).time)
    assert [row.order for row in store.select(orders)] == ["acc-1/o-3", "acc-2/o-2"]
    assert sorted(row.what for row in store.select(entries)) == [
        "Order Refunded",
        "Parcel Teleported",
        "order of 10.0",
        "order of 2.5",
        "order of 5.0",
    ]
    assert asyncio.run(projector.step()) == 0
    assert {lag.behind for lag in asyncio.run(projector.lag())} == {0}
    log.append(order(4))
    assert sum(lag.behind for lag in asyncio.run(projector.lag())) == len(ALL)
    assert catch_up(projector) == 1


def test_data_that_nobody_listens_to_is_never_decoded(store: ViewStore) -> None:
    log = MemoryLog()
    damaged = structs.replace(
        happened(CheckoutStarted(cart_id="c"), at="2026-03-02"), data=msgspec.Raw(b'{"cart_id": 1}')
    )
    log.append(damaged)
    projector = Projector(log, store, [spend, orders])
    assert catch_up(projector) == 1
    assert store.parked(spend) == store.parked(orders) == []


def test_a_read_model_that_comes_later_catches_up_and_then_shares_the_pass(store: ViewStore) -> None:
    log = MemoryLog()
    log.append(*(order(number) for number in range(10)))
    catch_up(Projector(log, store, [spend]))
    projector = Projector(log, store, ALL)
    assert catch_up(projector, limit=4) == 10
    log.append(order(11))
    assert catch_up(projector) == 1
    assert {position.position for position in projector.positions()} == {11}
    assert [asyncio.run(projector.verify(projection)) for projection in ALL] == [None, None, None]


def test_offsets_without_records_are_stepped_over(store: ViewStore) -> None:
    class Markers(MemoryLog):
        """Every second offset is a marker, as transactions leave them on Kafka, and some reads find nothing else."""

        async def read(self, partition: int, position: int, limit: int) -> Batch:
            inner = await super().read(partition, (position + 1) // 2, 1)
            if position % 2 == 0:
                return Batch([], position + 1) if inner.records else Batch([], position)
            [record] = (await super().read(partition, position // 2, 1)).records
            return Batch([Record(partition, position, record.recorded, record.value)], position + 1)

    log = Markers()
    log.append(order(1), order(2), order(3))
    projector = Projector(log, store, ALL)
    assert catch_up(projector) == 3
    assert {position.position for position in projector.positions()} == {6}


def test_a_new_version_is_folded_again_from_the_log(store: ViewStore) -> None:
    log = MemoryLog()
    log.append(order(1), order(2))
    catch_up(Projector(log, store, ALL))
    newer = Projection("spend", version=2, row=Spend)

    @newer.on(OrderCompleted)
    def counted(row: Spend, event: Event[OrderCompleted]) -> Spend:
        return structs.replace(row, orders=row.orders + 100)

    projector = Projector(log, store, [newer, entries, orders])
    assert projector.rebuilt == ["spend"]
    assert catch_up(projector) == 2
    assert store.get(newer, "acc-1") == Spend("acc-1", 200)


def test_a_rebuild_mends_what_verify_found(store: ViewStore) -> None:
    log = MemoryLog(partitions=2)
    log.append(*(order(number, subject=f"acc-{number}") for number in range(5)))
    projector = Projector(log, store, ALL)
    catch_up(projector)
    with store.database.write() as connection:
        table = store.table(spend)
        wrong = Spend("acc-3", 7, {"EUR": 10.0}, order(1).time)
        table.write(connection, [Part([wrong], Stamp(partition_of("acc-3", 2), 1, 1))])
    difference = asyncio.run(projector.verify(spend))
    assert difference is not None
    assert (difference.key, difference.column, difference.stored, difference.folded) == ("acc-3", "orders", 7, 1)
    assert asyncio.run(projector.rebuild(spend)) == Rebuilt(5, True, 1)
    assert asyncio.run(projector.verify(spend)) is None
    with store.database.write() as connection:
        store.table(spend).delete(connection, ["acc-2"])
    missing = asyncio.run(projector.verify(spend))
    assert missing is not None
    assert (missing.key, missing.column, missing.stored) == ("acc-2", None, None)
