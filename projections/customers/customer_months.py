"""What did an account buy and cost, month by month?

The base of ``retention``. A month is a calendar month in UTC, written "2026-03". A customer is followed for
``MONTHS_KEPT`` months after the first one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct, field

from engage.events.catalogue.advertising import AdvertClicked, AdvertShown
from engage.events.catalogue.follow_up import FollowUpCompleted
from engage.events.envelope import Event
from engage.views.months import begin_of, month_later, month_of, months_between
from engage.views.orders import ORDER_EVENTS, Order, booked
from engage.views.projection import Projection, account_of

MONTHS_KEPT = 120
MILLION = 1_000_000
"""Costs are counted in millionths: one showing of an advert costs less than a hundredth."""


class Month(Struct, array_like=True):
    """One month: orders that stand, their value by currency in hundredths, adverts' costs in millionths, follow-ups."""

    orders: int = 0
    cents: dict[str, int] = field(default_factory=dict)
    costs: dict[str, int] = field(default_factory=dict)
    follow_ups: int = 0


class CustomerMonths(Struct):
    """One account, month by month.

    account: the account's id
    cohort: the month of the first order that stands, such as 2026-03; null for who has not bought
    first_at: when that order was placed; null for who has not bought
    months: by month the orders, their value by currency in hundredths, what adverts cost by currency in millionths, and
        the follow-ups that were done; 120 months of a customer
    before: of the first month, the adverts' costs by currency before the first order, in millionths
    follow_ups_before: of the first month, the follow-ups that were done before the first order
    orders: the latest orders by their id: when placed, hundredths, currency, returned, whether they stand; up to 24
    """

    account: str
    cohort: str | None = None
    first_at: datetime | None = None
    months: dict[str, Month] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)
    follow_ups_before: int = 0
    orders: dict[str, Order] = field(default_factory=dict)


customer_months = Projection("customer_months", version=1, row=CustomerMonths, key=account_of, indexes=("cohort",))


@customer_months.on(*ORDER_EVENTS)
def ordered(row: CustomerMonths, event: Event[Any]) -> CustomerMonths:
    """An order came, or something came of one."""
    change = booked(row.orders, event)
    for order, sign in ((change.before, -1), (change.after, 1)):
        if order is not None and order.counts:
            month = row.months.setdefault(month_of(order.at), Month())
            month.orders += sign
            add(month.cents, order.currency, sign * order.net)
    return _settled(row)


@customer_months.on(AdvertShown, AdvertClicked)
def advertised(row: CustomerMonths, event: Event[Any]) -> CustomerMonths:
    """An advert cost something."""
    if micros := round(event.data.cost * MILLION):
        name = month_of(event.time)
        add(row.months.setdefault(name, Month()).costs, event.data.currency, micros)
        if name == row.cohort and row.first_at is not None and event.time < row.first_at:
            add(row.before, event.data.currency, micros)
    return _pruned(row)


@customer_months.on(FollowUpCompleted)
def followed_up(row: CustomerMonths, event: Event[FollowUpCompleted]) -> CustomerMonths:
    """One of us followed up."""
    name = month_of(event.time)
    row.months.setdefault(name, Month()).follow_ups += 1
    if name == row.cohort and row.first_at is not None and event.time < row.first_at:
        row.follow_ups_before += 1
    return _pruned(row)


def add(sums: dict[str, int], name: str, amount: int) -> None:
    """Add to one of the sums; one that is nothing is not kept."""
    total = sums.pop(name, 0) + amount
    if total:
        sums[name] = total


def _settled(row: CustomerMonths) -> CustomerMonths:
    """Whose customer since when: the first month with an order that stands, and the first known order of it."""
    cohort = min((name for name, month in row.months.items() if month.orders > 0), default=None)
    if cohort != row.cohort:
        month = Month() if cohort is None else row.months[cohort]
        # What is known of that month when we hear of its first order came before it, as far as anybody can tell.
        row.before, row.follow_ups_before = dict(month.costs), month.follow_ups
        row.cohort, row.first_at = cohort, None
    if cohort is not None:
        begins, ends = begin_of(cohort), begin_of(month_later(cohort, 1))
        known = [each.at for each in row.orders.values() if begins <= each.at < ends and each.counts]
        row.first_at = min(known, default=row.first_at)
    return _pruned(row)


def _pruned(row: CustomerMonths) -> CustomerMonths:
    """A customer is followed for so many months; what was spent in very many months before goes to the next one."""
    if row.cohort is not None and row.months and months_between(row.cohort, max(row.months)) >= MONTHS_KEPT:
        for name in [name for name in row.months if months_between(row.cohort, name) >= MONTHS_KEPT]:
            del row.months[name]
    while len(row.months) > 2 * MONTHS_KEPT:
        oldest, following = sorted(row.months)[:2]
        gone, kept = row.months.pop(oldest), row.months[following]
        for currency, micros in gone.costs.items():
            add(kept.costs, currency, micros)
        kept.follow_ups += gone.follow_ups
    return row
