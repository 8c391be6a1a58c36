"""How loyal is each account: its points and when they lapse, its tier, how lately, how often and for how much it buys?

Points lapse, and marks for recency fall, on their day without an event.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct, field

from engage.events.catalogue.loyalty import (
    PointsEarned,
    PointsExpired,
    PointsExpiring,
    PointsRedeemed,
    ReferralMade,
    TierLost,
    TierReached,
)
from engage.events.envelope import EPOCH, Event
from engage.views.orders import ORDER_EVENTS, Order, booked
from engage.views.projection import Projection, account_of
from projections.customers import points, rfm
from projections.customers.points import Lot
from projections.customers.rfm import Purse


class Loyalty(Struct):
    """One account's points, tier and buying.

    account: the account's id
    balance: points it has now; null until any were reported
    earned: points ever earned
    redeemed: points ever spent
    expired: points that lapsed unused
    expiring: how many points lapse next, unless they are spent; 0 when none are known to lapse
    expires_at: when these lapse; null when none are known to
    tier: the tier it is in; null when it is in none, or none was reported
    tier_since: since when it has been in it
    tier_until: until when it is sure of it; null when nobody said so
    referrals: how many others it brought along
    orders: orders that stand, neither cancelled nor given back in full
    last_order_at: when the last of these was placed, as far as the latest 24 orders tell; null without one
    currency: the main currency, that of most orders; null without orders
    money: what it spent in that currency, what was given back taken off, in major units; null without orders
    recency: 1-5 by the days since the last order: 5 less than 30, 4 less than 90, 3 less than 180, 2 less than 365
    frequency: 1-5 by the number of orders: 5 from 12, 4 from 6, 3 from 3, 2 from 2
    monetary: 1-5 by money: 5 from 1,500, 4 from 500, 3 from 150, 2 from 50 (euros, dollars, pounds; scaled in others)
    rfm: the three marks, such as "543"; null while one of them is unknown
    tier_told_at: when the newest word on the tier was given
    as_of: the log's time of the last change: recency, balance and expiring are as they were then
    spent: by currency: how many orders stand, and their value in hundredths
    lots: points that lapse, by when, the soonest first; 24 at most
    lapsed: what lapsed of late without being reported
    latest_orders: the latest 24 orders, by which nothing is counted twice
    """

    account: str
    balance: int | None = None
    earned: int = 0
    redeemed: int = 0
    expired: int = 0
    expiring: int = 0
    expires_at: datetime | None = None
    tier: str | None = None
    tier_since: datetime | None = None
    tier_until: datetime | None = None
    referrals: int = 0
    orders: int = 0
    last_order_at: datetime | None = None
    currency: str | None = None
    money: float | None = None
    recency: int | None = None
    frequency: int | None = None
    monetary: int | None = None
    rfm: str | None = None
    tier_told_at: datetime | None = None
    as_of: datetime = EPOCH
    spent: dict[str, Purse] = field(default_factory=dict)
    lots: list[Lot] = field(default_factory=list)
    lapsed: list[Lot] = field(default_factory=list)
    latest_orders: dict[str, Order] = field(default_factory=dict)


loyalty = Projection("loyalty", version=1, row=Loyalty, key=account_of, indexes=("rfm", "tier", "expires_at"))


@loyalty.on(PointsEarned)
def earned(row: Loyalty, event: Event[PointsEarned]) -> Loyalty:
    """Points came in."""
    points.earn(row, event.data.points, event.data.expires)
    return _expiring(row, event.now)


@loyalty.on(PointsRedeemed)
def redeemed(row: Loyalty, event: Event[PointsRedeemed]) -> Loyalty:
    """Points were spent on a reward."""
    points.redeem(row, event.data.points, event.time)
    return _expiring(row, event.now)


@loyalty.on(PointsExpiring)
def announced(row: Loyalty, event: Event[PointsExpiring]) -> Loyalty:
    """We are told when points will lapse."""
    points.announce(row, event.data.points, event.data.expires)
    return _expiring(row, event.now)


@loyalty.on(PointsExpired)
def expired(row: Loyalty, event: Event[PointsExpired]) -> Loyalty:
    """We are told that points lapsed."""
    points.expire(row, event.data.points)
    return _expiring(row, event.now)


@loyalty.on(TierReached)
def rose(row: Loyalty, event: Event[TierReached]) -> Loyalty:
    """A tier, or once more the same."""
    return _in_tier(row, event, event.data.tier, event.data.until)


@loyalty.on(TierLost)
def fell(row: Loyalty, event: Event[TierLost]) -> Loyalty:
    """A lower tier, or none."""
    return _in_tier(row, event, event.data.now, None)


@loyalty.on(ReferralMade)
def brought_along(row: Loyalty, event: Event[ReferralMade]) -> Loyalty:
    """Somebody came because of them."""
    row.referrals += 1
    return row


@loyalty.on(*ORDER_EVENTS)
def ordered(row: Loyalty, event: Event[Any]) -> Loyalty:
    """An order was placed, or something became of it."""
    change = booked(row.latest_orders, event)
    for order, sign in ((change.before, -1), (change.after, 1)):
        if order is not None and order.placed:
            purse = row.spent.setdefault(order.currency, Purse())
            purse.orders += sign * order.counts
            purse.cents += sign * order.net
    row.orders = sum(purse.orders for purse in row.spent.values())
    standing = [order.at for order in row.latest_orders.values() if order.counts]
    row.last_order_at = max(standing, default=row.last_order_at if row.orders else None)
    row.currency = rfm.main_currency(row.spent)
    return _marked(row, event.now)


def _due(row: Loyalty) -> datetime | None:
    fall = None if row.last_order_at is None else rfm.next_recency(row.last_order_at, row.as_of)
    return min((moment for moment in (row.expires_at, fall) if moment is not None), default=None)


@loyalty.on_wake(_due)
def day_came(row: Loyalty, moment: datetime) -> Loyalty:
    """Points lapse, or the last order is longer ago than its band allows."""
    if row.expires_at is not None and row.expires_at <= moment:
        points.lapse(row, moment)
        _expiring(row, moment)
    return _marked(row, moment)


def _in_tier(row: Loyalty, event: Event[Any], tier: str | None, until: datetime | None) -> Loyalty:
    if row.tier_told_at is None or event.time >= row.tier_told_at:
        if tier != row.tier:
            row.tier, row.tier_since = tier, None if tier is None else event.time
        row.tier_until, row.tier_told_at = until, event.time
    return row


def _expiring(row: Loyalty, moment: datetime) -> Loyalty:
    row.expiring, row.expires_at = (row.lots[0].points, row.lots[0].expires) if row.lots else (0, None)
    return _as_of(row, moment)


def _marked(row: Loyalty, moment: datetime) -> Loyalty:
    _as_of(row, moment)
    if row.currency is None or row.last_order_at is None:
        row.money = row.recency = row.frequency = row.monetary = row.rfm = None
        return row
    cents = row.spent[row.currency].cents
    row.money = cents / 100
    row.recency = rfm.recency_mark(row.last_order_at, row.as_of)
    row.frequency = rfm.frequency_mark(row.orders)
    row.monetary = rfm.money_mark(row.currency, cents)
    row.rfm = None if row.monetary is None else f"{row.recency}{row.frequency}{row.monetary}"
    return row


def _as_of(row: Loyalty, moment: datetime) -> Loyalty:
    row.as_of = max(row.as_of, moment)
    return row
