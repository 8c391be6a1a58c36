"""What engage.testing gives to others says what is wrong when something is wrong."""

import asyncio
from datetime import UTC, datetime

import pytest
from msgspec import Struct

from engage.events.catalogue.commerce import CartViewed, OrderCompleted, OrderRefunded
from engage.events.envelope import Event
from engage.log.contract import LogGapError, Token
from engage.testing.events import happened
from engage.testing.memory_log import MemoryLog
from engage.testing.projections import given
from engage.views.projection import Projection


class Orders(Struct):
    """How many orders an account has."""

    account: str
    number: int = 0


orders = Projection("orders", version=1, row=Orders)


@orders.on(OrderCompleted)
def ordered(row: Orders, event: Event[OrderCompleted]) -> Orders:
    return Orders(row.account, row.number + 1)


@orders.on(OrderRefunded)
def refunded(row: Orders, event: Event[OrderRefunded]) -> None:
    return None


ORDER = happened(OrderCompleted(order_id="o-1", total=1), at="2026-03-01")


def test_a_read_model_is_told_in_given_when_then() -> None:
    given(orders, ORDER, happened(CartViewed(cart_id="c"), at="2026-03-02")).then("acc-1", number=1).when(ORDER).then(
        "acc-1", number=2
    ).when(happened(OrderRefunded(order_id="o-1", total=1), at="2026-03-03")).then_no_row("acc-1")


def test_a_row_that_differs_is_told_by_column() -> None:
    with pytest.raises(AssertionError, match="orders, row 'acc-1': number is 1, not 2"):
        given(orders, ORDER).then("acc-1", number=2)
    with pytest.raises(AssertionError, match=r"orders has no row 'acc-2', only \['acc-1'\]"):
        given(orders, ORDER).then("acc-2", number=1)
    with pytest.raises(AssertionError, match="orders has the row"):
        given(orders, ORDER).then_no_row("acc-1")


def test_the_same_event_made_twice_is_the_same_event() -> None:
    again = happened(OrderCompleted(order_id="o-1", total=1), at=datetime(2026, 3, 1, tzinfo=UTC))
    assert again == ORDER
    assert ORDER.now == ORDER.time == datetime(2026, 3, 1, tzinfo=UTC)
    assert happened(OrderCompleted(order_id="o-2", total=1), at="2026-03-01").id != ORDER.id


def test_the_log_in_memory_keeps_order_and_time() -> None:
    log = MemoryLog()
    late = happened(OrderCompleted(order_id="o-2", total=1), at="2026-02-01")
    assert log.append(ORDER, late) == [Token(0, 0), Token(0, 1)]
    batch = asyncio.run(log.read(0, 0, 10))
    assert [record.recorded for record in batch.records] == [ORDER.time, ORDER.time]
    assert (batch.next_position, asyncio.run(log.end(0))) == (2, 2)
    assert asyncio.run(log.position_at(0, ORDER.time)) == 0
    assert asyncio.run(log.position_at(0, datetime(2027, 1, 1, tzinfo=UTC))) == 2


def test_the_log_in_memory_never_jumps_over_what_it_lost() -> None:
    log = MemoryLog()
    log.append(ORDER, ORDER, ORDER)
    log.trim(0, 2)
    with pytest.raises(LogGapError, match="holds the offsets 2 to 2, the reader stands at 1"):
        asyncio.run(log.read(0, 1, 10))
    with pytest.raises(LogGapError, match="the reader stands at 4"):
        asyncio.run(log.read(0, 4, 10))
    assert [record.offset for record in asyncio.run(log.read(0, 2, 10)).records] == [2]


def test_a_reader_can_wait_for_what_comes_next() -> None:
    async def wait() -> tuple[bool, bool]:
        log = MemoryLog()
        nothing = await log.wait({0: 0}, 0.01)
        waiting = asyncio.create_task(log.wait({0: 0}, 30))
        await asyncio.sleep(0)
        log.append(ORDER)
        return nothing, await waiting

    assert asyncio.run(wait()) == (False, True)
