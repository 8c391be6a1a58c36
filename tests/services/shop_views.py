"""Three read models of a small shop, the events they fold, and a way to bring them up to date."""

import asyncio
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, field, structs

from engage.events.catalogue.base import Currency
from engage.events.catalogue.commerce import CheckoutStarted, OrderCompleted, OrderRefunded
from engage.events.envelope import Event
from engage.services.projector import Projector
from engage.testing.events import happened
from engage.testing.memory_log import MemoryLog
from engage.views.projection import Projection


class Spend(Struct):
    """What an account spent, by currency, and when last."""

    account: str
    orders: int = 0
    total: dict[str, float] = field(default_factory=dict)
    last: datetime | None = None


class Entry(Struct):
    """One event."""

    entry: str
    account: str = ""
    what: str = ""


class Order(Struct):
    """One order that was not refunded."""

    order: str
    account: str = ""
    total: float = 0.0


spend = Projection("spend", version=1, row=Spend)
entries = Projection("entries", version=1, row=Entry, key=lambda e: f"{e.partition}:{e.offset}", append_only=True)
orders = Projection(
    "orders", version=1, row=Order, key=lambda e: f"{e.subject}/{e.data.order_id}", indexes=("account",)
)
ALL = (spend, entries, orders)


@spend.on(OrderCompleted)
def spent(row: Spend, event: Event[OrderCompleted]) -> Spend:
    row.orders += 1  # before it may fail: a row that is half changed must never be kept
    if event.data.total == 13:
        raise ValueError("thirteen")
    row.total[event.data.currency] = row.total.get(event.data.currency, 0.0) + event.data.total
    row.last = event.now
    return row


@entries.on(OrderCompleted)
def noted(row: Entry, event: Event[OrderCompleted]) -> Entry:
    return structs.replace(row, account=event.subject, what=f"order of {event.data.total}")


@entries.on_any
def noted_too(row: Entry, event: Event[Any]) -> Entry | None:
    return None if event.subject == "quiet" else structs.replace(row, account=event.subject, what=event.type)


@orders.on(OrderCompleted)
def ordered(row: Order, event: Event[OrderCompleted]) -> Order:
    return structs.replace(row, account=event.subject, total=event.data.total)


@orders.on(OrderRefunded)
def refunded(row: Order, event: Event[OrderRefunded]) -> None:
    return None


def order(
    number: int, total: float = 10, subject: str = "acc-1", currency: Currency = "EUR", day: int = 1
) -> Event[Any]:
    return happened(
        OrderCompleted(order_id=f"o-{number}", total=total, currency=currency), at=f"2026-03-{day:02}", subject=subject
    )


def refund(number: int, subject: str = "acc-1") -> Event[Any]:
    return happened(OrderRefunded(order_id=f"o-{number}", total=1), at="2026-03-09", subject=subject)


def unknown(subject: str = "acc-1") -> Event[Any]:
    known = happened(CheckoutStarted(cart_id="c"), at="2026-03-02", subject=subject)
    return structs.replace(known, type="Parcel Teleported", data=msgspec.Raw(b'{"to": "moon"}'))


def corrupt(log: MemoryLog, event: Event[Any]) -> None:
    broken = structs.replace(event, data=msgspec.Raw(b'{"total": "much"}'), offset=-1, partition=-1)
    log.append(structs.replace(broken, type="Order Completed"))


def catch_up(projector: Projector, limit: int = 1_000) -> int:
    return asyncio.run(projector.catch_up(limit=limit))
