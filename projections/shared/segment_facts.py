"""Which segments is each account in, and what is known of it that a segment may ask for?

A row of ``segments``, and the facts read off it: each has a name, a kind and a line that explains it. ``FACTS`` is all
that a segment's condition may name; ``segment_folds`` says how events change them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from msgspec import Struct, field

from engage.events.catalogue.health import Band
from engage.events.catalogue.profile import AccountKind
from engage.events.envelope import EPOCH
from engage.views.latest_words import Word, count_open
from engage.views.months import begin_of, month_later, month_of
from engage.views.orders import Order

DAY = timedelta(days=1)
VALUE_MONTHS = 12
"""Calendar months of orders that make an account's value, this one included."""

Kind = Literal["number", "text", "yes or no", "clock"]
Clock = tuple[datetime, timedelta]
"""A figure that time alone changes: (now − the moment) / the unit; a negative unit counts down to the moment."""


class Membership(Struct):
    """One account: the segments it is in, and the facts that say so.

    account: the account's id
    segments: names of the segments it is in, in alphabetical order
    entered: by segment, when it entered, in the log's time
    next_at: when time alone may next change a segment; null for never
    changes: by segment, until when time alone cannot change whether the account is in it; none where it never can
    kind: customer, vendor, supplier, distributor, reseller or partner; null until somebody said so
    country: ISO 3166-1 alpha-2 code; null until somebody said so
    plan: the plan it is on; null until somebody said so
    tier: its loyalty tier; null while it has none
    band: its health's band as last announced (health.band_crossed, health.band_stands); null until it is known
    told_at: by fact (kind, country, plan, tier, band, nps, csat, subscribed), the moment of the newest word on it
    known_since: when the first event that counts here happened
    seen_at: when the account last did something itself; null until it does
    orders: orders that stand, neither cancelled nor given back
    first_order_at: when the first order was placed; null without one
    last_order_at: when the last order was placed; null without one
    months: by month (2026-03) and currency, what orders placed then left with us, in hundredths; 12 months
    booked: the latest orders by their id: when placed, hundredths, currency, returned, whether they stand; up to 24
    newsletter_at: when it last opened or followed a newsletter; null until it does
    subscribed: whether it subscribes to a newsletter; null until it said so
    nps: the last answer to "would you recommend us?", 0-10; null without one
    csat: the last answer to "how satisfied are you?", 1-5; null without one
    tickets: by ticket the newest word: when, whether it is open; up to 32
    disputes: by dispute the newest word: when, whether it is open; up to 32
    agreements: by agreement the newest word: when, whether it runs, until when; up to 32
    breached_at: when an agreement was last breached by the account; null if never
    """

    account: str
    segments: list[str] = field(default_factory=list)
    entered: dict[str, datetime] = field(default_factory=dict)
    next_at: datetime | None = None
    changes: dict[str, datetime] = field(default_factory=dict)
    kind: AccountKind | None = None
    country: str | None = None
    plan: str | None = None
    tier: str | None = None
    band: Band | None = None
    told_at: dict[str, datetime] = field(default_factory=dict)
    known_since: datetime = EPOCH
    seen_at: datetime | None = None
    orders: int = 0
    first_order_at: datetime | None = None
    last_order_at: datetime | None = None
    months: dict[str, dict[str, int]] = field(default_factory=dict)
    booked: dict[str, Order] = field(default_factory=dict)
    newsletter_at: datetime | None = None
    subscribed: bool | None = None
    nps: int | None = None
    csat: int | None = None
    tickets: dict[str, Word] = field(default_factory=dict)
    disputes: dict[str, Word] = field(default_factory=dict)
    agreements: dict[str, Word] = field(default_factory=dict)
    breached_at: datetime | None = None


class Fact(Struct, frozen=True):
    """Something known of an account: ``read(row, now)`` gives its value, a ``Clock`` of a clock, None if unknown.

    ``values`` are those that a text may have, if they are few. ``falls`` says when time will next lower a number.
    """

    kind: Kind
    about: str
    read: Callable[[Membership, datetime], Any]
    values: tuple[str, ...] = ()
    falls: Callable[[Membership, datetime], datetime | None] | None = None


def _value(row: Membership, now: datetime) -> float:
    """Of the currency that the account left most in."""
    since = month_later(month_of(now), 1 - VALUE_MONTHS)
    sums: dict[str, int] = {}
    for month, cents in row.months.items():
        if month >= since:
            for currency, amount in cents.items():
                sums[currency] = sums.get(currency, 0) + amount
    return max(sums.values(), default=0) / 100


def _value_falls(row: Membership, now: datetime) -> datetime | None:
    since = month_later(month_of(now), 1 - VALUE_MONTHS)
    counted = [month for month in row.months if month >= since]
    return begin_of(month_later(min(counted), VALUE_MONTHS)) if counted else None


def _gaps(row: Membership, now: datetime) -> Clock | None:
    if row.orders < 2 or row.first_order_at is None or row.last_order_at is None:
        return None
    gap = (row.last_order_at - row.first_order_at) / (row.orders - 1)
    return (row.last_order_at, gap) if gap >= DAY else (row.last_order_at, DAY)


def _renewal(row: Membership, now: datetime) -> Clock | None:
    ends = [word.until for word in row.agreements.values() if word.open and word.until is not None]
    return (min(ends), -DAY) if ends else None


def _since(name: str) -> Callable[[Membership, datetime], Clock | None]:
    def read(row: Membership, now: datetime) -> Clock | None:
        moment = getattr(row, name)
        return None if moment is None else (moment, DAY)

    return read


def _told(name: str) -> Callable[[Membership, datetime], Clock | None]:
    def read(row: Membership, now: datetime) -> Clock | None:
        moment = row.told_at.get(name)
        return None if moment is None else (moment, DAY)

    return read


FACTS: dict[str, Fact] = {
    "kind": Fact("text", "what the account is", lambda row, now: row.kind, get_args(AccountKind)),
    "country": Fact("text", "ISO 3166-1 alpha-2 code", lambda row, now: row.country),
    "plan": Fact("text", "the plan it is on", lambda row, now: row.plan),
    "tier": Fact("text", "its loyalty tier", lambda row, now: row.tier),
    "band": Fact("text", "the band of its health, once it crossed one", lambda row, now: row.band, get_args(Band)),
    "orders": Fact("number", "orders that stand", lambda row, now: row.orders),
    "value": Fact(
        "number",
        f"what orders of the last {VALUE_MONTHS} calendar months left with us, in the currency it left most in",
        _value,
        falls=_value_falls,
    ),
    "nps": Fact("number", "last answer to an NPS survey, 0-10", lambda row, now: row.nps),
    "csat": Fact("number", "last answer to a CSAT survey, 1-5", lambda row, now: row.csat),
    "open_tickets": Fact("number", "tickets that are not resolved", lambda row, now: count_open(row.tickets)),
    "open_disputes": Fact("number", "disputes that are not settled", lambda row, now: count_open(row.disputes)),
    "subscribed": Fact("yes or no", "subscribes to a newsletter", lambda row, now: row.subscribed),
    "days_since_known": Fact("clock", "since its first event", _since("known_since")),
    "days_since_seen": Fact("clock", "since it last did something itself", _since("seen_at")),
    "days_since_first_order": Fact("clock", "since its first order", _since("first_order_at")),
    "days_since_order": Fact("clock", "since its last order", _since("last_order_at")),
    "gaps_since_order": Fact("clock", "the same, counted in its own mean gap between orders, a day at least", _gaps),
    "days_since_newsletter": Fact("clock", "since it last opened or followed a newsletter", _since("newsletter_at")),
    "days_since_nps": Fact("clock", "since its last answer to an NPS survey", _told("nps")),
    "days_since_breach": Fact("clock", "since it last breached an agreement", _since("breached_at")),
    "days_until_renewal": Fact("clock", "until its next agreement ends; below 0 once it has", _renewal),
}
"""What a segment may ask for; what is unknown of an account meets no condition."""
