"""What does each account ask of its relationship manager: follow-ups, disputes, renewals, and what is it worth?

The base of ``portfolio``: a row an account, counted anew when time alone changes a count.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct, field

from engage.events.catalogue.account import ManagerAssigned
from engage.events.catalogue.agreements import AgreementEnded, AgreementRenewed, AgreementSigned
from engage.events.catalogue.disputes import DisputeOpened, DisputeSettled
from engage.events.catalogue.follow_up import (
    FollowUpCompleted,
    FollowUpDismissed,
    FollowUpExpired,
    FollowUpOpened,
    FollowUpRequested,
)
from engage.events.catalogue.health import Band, HealthBandCrossed, HealthBandStands
from engage.events.catalogue.profile import AccountIdentified, AccountKind
from engage.events.envelope import EPOCH, Event
from engage.views.latest_words import Word, count_open, said
from engage.views.months import begin_of, month_later, month_of
from engage.views.orders import ORDER_EVENTS, Order, booked
from engage.views.projection import Projection, account_of

VALUE_MONTHS = 12
"""Calendar months of orders that make an account's value, this one included."""
RENEWAL = timedelta(days=90)
"""How long before its end an agreement is to be renewed."""
_TICK = timedelta(microseconds=1)


class ManagedAccount(Struct):
    """One account as its manager has to know it, as of the last event that counts here or the last wake.

    account: the account's id
    manager: the id of who looks after it; null while nobody does
    kind: customer, vendor, supplier, distributor, reseller or partner; null until somebody said so
    band: its health's band as last announced (health.band_crossed, health.band_stands); null until it is known
    open_follow_ups: follow-ups that are not closed
    overdue_follow_ups: of those, the ones whose service level is missed
    open_disputes: disputes that are not settled
    renewals: agreements that run and end within 90 days
    value_cents: by currency, what orders of the last 12 calendar months left with us, in hundredths
    next_at: when time alone may next change a count; null for never
    told_at: by manager, kind and band, the moment of the newest word on it
    follow_ups: by follow-up the newest word: when, whether it is open, when it is due; up to 32
    disputes: by dispute the newest word: when, whether it is open; up to 32
    agreements: by agreement the newest word: when, whether it runs, until when; up to 32
    months: by month (2026-03) and currency, what orders placed then left with us, in hundredths; 12 months
    booked: the latest orders by their id: when placed, hundredths, currency, returned, whether they stand; up to 24
    """

    account: str
    manager: str | None = None
    kind: AccountKind | None = None
    band: Band | None = None
    open_follow_ups: int = 0
    overdue_follow_ups: int = 0
    open_disputes: int = 0
    renewals: int = 0
    value_cents: dict[str, int] = field(default_factory=dict)
    next_at: datetime | None = None
    told_at: dict[str, datetime] = field(default_factory=dict)
    follow_ups: dict[str, Word] = field(default_factory=dict)
    disputes: dict[str, Word] = field(default_factory=dict)
    agreements: dict[str, Word] = field(default_factory=dict)
    months: dict[str, dict[str, int]] = field(default_factory=dict)
    booked: dict[str, Order] = field(default_factory=dict)


managed_accounts = Projection(
    "managed_accounts", version=1, row=ManagedAccount, key=account_of, indexes=("manager", "next_at")
)


@managed_accounts.on(ManagerAssigned)
def assigned(row: ManagedAccount, event: Event[ManagerAssigned]) -> ManagedAccount:
    """Somebody looks after it."""
    _tell(row, event, "manager", event.data.manager)
    return row


@managed_accounts.on(AccountIdentified)
def identified(row: ManagedAccount, event: Event[AccountIdentified]) -> ManagedAccount:
    """Somebody told us what it is, and who looks after it."""
    _tell(row, event, "manager", event.data.manager)
    _tell(row, event, "kind", event.data.kind)
    return row


@managed_accounts.on(HealthBandCrossed, HealthBandStands)
def crossed(row: ManagedAccount, event: Event[Any]) -> ManagedAccount:
    """Its health passed into another band, or stands in one of which we did not know."""
    _tell(row, event, "band", event.data.band)
    return row


@managed_accounts.on(FollowUpRequested)
def requested(row: ManagedAccount, event: Event[FollowUpRequested]) -> ManagedAccount:
    """A follow-up is asked for."""
    said(row.follow_ups, event.id, event.time, open=True, until=event.data.due)
    return _counted(row, event.now)


@managed_accounts.on(FollowUpOpened)
def opened(row: ManagedAccount, event: Event[FollowUpOpened]) -> ManagedAccount:
    """It stands in the queue; when a person asked for it, this is its first event."""
    known = row.follow_ups.get(event.data.follow_up_id)
    if known is None or known.open:
        said(row.follow_ups, event.data.follow_up_id, event.time, open=True, until=event.data.due)
    return _counted(row, event.now)


@managed_accounts.on(FollowUpCompleted, FollowUpDismissed, FollowUpExpired)
def closed(row: ManagedAccount, event: Event[Any]) -> ManagedAccount:
    """It was done, was not needed, or came too late."""
    known = row.follow_ups.get(event.data.follow_up_id)
    at = event.time if known is None else max(event.time, known.at)
    said(row.follow_ups, event.data.follow_up_id, at, open=False)
    return _counted(row, event.now)


@managed_accounts.on(DisputeOpened)
def dispute_opened(row: ManagedAccount, event: Event[DisputeOpened]) -> ManagedAccount:
    """One side does not accept something."""
    said(row.disputes, event.data.dispute_id, event.time, open=True)
    return _counted(row, event.now)


@managed_accounts.on(DisputeSettled)
def dispute_settled(row: ManagedAccount, event: Event[DisputeSettled]) -> ManagedAccount:
    """Both sides agree again."""
    said(row.disputes, event.data.dispute_id, event.time, open=False)
    return _counted(row, event.now)


@managed_accounts.on(AgreementSigned, AgreementRenewed)
def agreement_runs(row: ManagedAccount, event: Event[Any]) -> ManagedAccount:
    """An agreement runs."""
    said(row.agreements, event.data.agreement_id, event.time, open=True, until=event.data.ends)
    return _counted(row, event.now)


@managed_accounts.on(AgreementEnded)
def agreement_ended(row: ManagedAccount, event: Event[AgreementEnded]) -> ManagedAccount:
    """It runs no more."""
    said(row.agreements, event.data.agreement_id, event.time, open=False)
    return _counted(row, event.now)


@managed_accounts.on(*ORDER_EVENTS)
def ordered(row: ManagedAccount, event: Event[Any]) -> ManagedAccount:
    """An order came, or something came of one."""
    change = booked(row.booked, event)
    oldest = _oldest(event.now)
    for order, sign in ((change.before, -1), (change.after, 1)):
        if order is not None and order.counts and (month := month_of(order.at)) >= oldest:
            sums = row.months.setdefault(month, {})
            sums[order.currency] = sums.get(order.currency, 0) + sign * order.net
    return _counted(row, event.now)


@managed_accounts.on_wake(lambda row: row.next_at)
def woken(row: ManagedAccount, moment: datetime) -> ManagedAccount:
    """A follow-up became overdue, an agreement came near its end or passed it, or a month left the last twelve."""
    return _counted(row, moment)


def _oldest(now: datetime) -> str:
    return month_later(month_of(now), 1 - VALUE_MONTHS)


def _counted(row: ManagedAccount, now: datetime) -> ManagedAccount:
    """All counts as of ``now``, and when to count again; it is asked at each event, so all is looked at once."""
    waiting: list[datetime] = []  # moments to come
    open_now = overdue = renewals = 0
    for word in row.follow_ups.values():
        if word.open:
            open_now += 1
            if word.until is None:
                continue
            if (missed := word.until + _TICK) <= now:
                overdue += 1
            else:
                waiting.append(missed)
    for word in row.agreements.values():
        if word.open and (end := word.until) is not None and now < end:
            waiting.append(end)
            if (near := end - RENEWAL) <= now:
                renewals += 1
            else:
                waiting.append(near)
    row.open_follow_ups, row.overdue_follow_ups, row.renewals = open_now, overdue, renewals
    row.open_disputes = count_open(row.disputes) if row.disputes else 0
    if row.months:
        first = min(row.months)
        if first < (oldest := _oldest(now)):
            row.months = {month: sums for month, sums in row.months.items() if month >= oldest}
            first = min(row.months, default="")
        if first and (leaves := begin_of(month_later(first, VALUE_MONTHS))) > now:
            waiting.append(leaves)
    row.value_cents = _value(row.months)
    row.next_at = min(waiting) if waiting else None
    return row


def _value(months: dict[str, dict[str, int]]) -> dict[str, int]:
    """What all months come to, by currency; a new one each time, for what the portfolio adds up is a row's own."""
    value: dict[str, int] = {}
    for sums in months.values():
        for currency, amount in sums.items():
            value[currency] = value.get(currency, 0) + amount
    return {currency: amount for currency, amount in value.items() if amount}


def _tell(row: ManagedAccount, event: Event[Any], name: str, value: Any) -> None:
    if value is not None and event.time >= row.told_at.get(name, EPOCH):
        row.told_at[name] = event.time
        setattr(row, name, value)
