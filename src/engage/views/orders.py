"""An account's latest orders, each once, whatever comes of them and in whatever order it is told.

Several read models count orders and what they bring. An order may be told twice, changed, cancelled before we hear that
it was placed, refunded in parts: here is what one event changes, so that each model adds and takes away the difference.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct, structs

from engage.events.catalogue.commerce import (
    ChargebackReceived,
    OrderCancelled,
    OrderCompleted,
    OrderRefunded,
    OrderUpdated,
)
from engage.events.envelope import Event

ORDER_EVENTS = (OrderCompleted, OrderUpdated, OrderRefunded, OrderCancelled, ChargebackReceived)
"""What ``booked`` understands."""
KEPT = 24
"""Orders that are remembered of an account; what is said later of an older one changes nothing any more."""


class Order(Struct, frozen=True, array_like=True):
    """What is known of an order: placed at ``at`` for ``cents`` hundredths of ``currency``, ``back`` of them returned.

    ``told`` is the moment of the newest word on its total, None before there was one. One that is not ``placed`` was
    only heard of so far.
    """

    at: datetime
    cents: int
    currency: str
    told: datetime | None = None
    back: int = 0
    placed: bool = False
    cancelled: bool = False

    @property
    def net(self) -> int:
        """What is left of its value, in hundredths: 0 unless it counts."""
        return self.cents - min(self.back, self.cents) if self.placed and not self.cancelled else 0

    @property
    def counts(self) -> bool:
        """Whether it was placed and stands: neither cancelled nor given back in full."""
        return self.placed and not self.cancelled and not 0 < self.cents <= self.back


class Booked(Struct, frozen=True):
    """What an event changed: the order as it was known before, None if it was not, and as it is known now."""

    order_id: str
    before: Order | None
    after: Order


def cents(amount: float | None) -> int:
    """An amount of money in whole hundredths; 0 for none."""
    return 0 if amount is None else round(amount * 100)


def booked(orders: dict[str, Order], event: Event[Any]) -> Booked:
    """Bring ``orders``, by their ids, up to date with one of ``ORDER_EVENTS``; of many, the newest ``KEPT`` stay."""
    data = event.data
    before = orders.get(data.order_id)
    known = before or Order(event.time, 0, data.currency)
    match data:
        case OrderCompleted():
            after = _placed(known, event)
        case OrderUpdated():
            worth, told = _priced(known, event)
            after = structs.replace(known, cents=worth, told=told, currency=data.currency)
        case OrderCancelled():
            after = structs.replace(known, cancelled=True)
        case _:
            same = data.currency == known.currency
            after = structs.replace(known, back=known.back + max(cents(data.total), 0)) if same else known
    _remember(orders, data.order_id, after)
    return Booked(data.order_id, before, after)


def expect(orders: dict[str, Order], event: Event[Any], order_id: str, currency: str) -> None:
    """Remember that ``event`` speaks of an order, which may be told later."""
    if order_id not in orders:
        _remember(orders, order_id, Order(event.time, 0, currency))


def _remember(orders: dict[str, Order], order_id: str, order: Order) -> None:
    orders[order_id] = order
    if len(orders) > KEPT:
        del orders[min(orders, key=lambda name: (orders[name].at, name))]


def _placed(known: Order, event: Event[OrderCompleted]) -> Order:
    data = event.data
    back = known.back if data.currency == known.currency else 0
    at = min(known.at, event.time) if known.placed else event.time
    worth, told = _priced(known, event)
    return Order(at, worth, data.currency, told, back, True, known.cancelled)  # a third of the time of ``replace``


def _priced(known: Order, event: Event[Any]) -> tuple[int, datetime | None]:
    """What an order is worth in hundredths after an event that tells its total, and the newest word on that."""
    if known.told is not None and event.time < known.told:
        return known.cents, known.told
    return max(cents(event.data.total), 0), event.time
