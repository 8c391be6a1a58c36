"""What did an account buy of each category in a week?

The base of ``market_trends``: a row for each account and week, so that customers can be counted. A week is an ISO 8601
week in UTC, written "2026-W09", that of the order's own time.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from msgspec import Struct, field

from engage.events.catalogue.commerce import OrderCompleted
from engage.events.envelope import Event, is_account
from engage.views.orders import cents
from engage.views.projection import Projection

_ORDERS_KEPT = 50


class Bought(Struct, array_like=True):
    """One category: orders that held it, pieces, and what they cost by currency in hundredths."""

    orders: int = 0
    units: int = 0
    cents: dict[str, int] = field(default_factory=dict)


class CategoryWeek(Struct):
    """What one account bought in one week.

    account_week: the account's id and the week, such as acc-1|2026-W09
    account: the account's id
    week: the ISO week, UTC
    categories: by category orders, pieces, and what they cost by currency in hundredths, as far as lines say a price
    orders: the latest orders of the week that were counted, by id; up to 50
    """

    account_week: str
    account: str = ""
    week: str = ""
    categories: dict[str, Bought] = field(default_factory=dict)
    orders: list[str] = field(default_factory=list)


def _account_week(event: Event[Any]) -> str | None:
    return f"{event.subject}|{week_of(event.time)}" if is_account(event.subject) else None


category_weeks = Projection("category_weeks", version=1, row=CategoryWeek, key=_account_week, indexes=("account",))


@category_weeks.on(OrderCompleted)
def ordered(row: CategoryWeek, event: Event[OrderCompleted]) -> CategoryWeek:
    """An order came; lines that name no category are of none."""
    data = event.data
    row.account, row.week = event.subject, week_of(event.time)
    if data.order_id in row.orders:
        return row
    row.orders = [*row.orders[1 - _ORDERS_KEPT :], data.order_id]
    held: set[str] = set()
    for line in data.products:
        if line.category is None:
            continue
        bought = row.categories.setdefault(line.category, Bought())
        bought.orders += line.category not in held
        held.add(line.category)
        bought.units += line.quantity
        if line.price is not None:
            bought.cents = bought.cents | {
                data.currency: bought.cents.get(data.currency, 0) + cents(line.price * line.quantity)
            }
    return row


def week_of(moment: datetime) -> str:
    """The ISO 8601 week in UTC, such as "2026-W09"; these sort as time does."""
    year, week, _ = moment.astimezone(UTC).isocalendar()
    return f"{year:04}-W{week:02}"
