"""What does each campaign reach, cost and bring, and would it have come anyway?

A campaign is an advert's or a newsletter's, as whoever runs it names it (a newsletter that names none is one of its
own, ``newsletter:<id>``), or a rule's follow-ups, ``rule:<name>``. Which orders are owed to it is said in
``campaign_contacts``, whose rows are added up here. Whether a rule's follow-ups bring anything is seen by those that
it holds out: the lift is the share of the accounts asked that bought, minus the share of those held out that did.
Nobody is held out of adverts and newsletters, so their lift is not known.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

from msgspec import Struct, field

from engage.events.catalogue.advertising import AdvertClicked, AdvertShown, CampaignSpendReported
from engage.events.envelope import Event
from engage.views.aggregate import Aggregate
from engage.views.intervals import share_difference
from projections.customers.campaign_contacts import (
    ASKED,
    BOUNCED,
    CLAIMED,
    CLICKED,
    DELIVERED,
    HELD_OUT,
    OPENED,
    SENT,
    SHOWN,
    CampaignContacts,
    campaign_contacts,
)

_MILLION = 1_000_000
"""Spend is counted in millionths: what one showing costs is less than a hundredth."""

Kind = Literal["newsletter", "advert", "newsletter and advert", "rule", "spend only"]


class CampaignShard(Struct):
    """Sums of one campaign over accounts, each account counted once.

    campaign: the campaign's name; rule:<name> for a rule's follow-ups
    newsletters: accounts that it reached by newsletter
    adverts: accounts that it reached by advert
    sent: accounts that it was sent or shown to
    reported: accounts of which arriving or coming back was reported
    delivered: accounts that it arrived at
    bounced: accounts that it came back from
    opened: accounts that opened it
    clicked: accounts that followed a link or advert
    converted: accounts that bought or were reported to have converted
    asked: accounts that a rule asked for
    asked_converted: of those, accounts that bought
    held_out: accounts that a rule held out
    held_out_converted: of those, accounts that bought
    orders: orders that are owed to it
    revenue_cents: their value by currency, in hundredths
    spend_micros: what it cost by currency, in millionths
    """

    campaign: str
    newsletters: int = 0
    adverts: int = 0
    sent: int = 0
    reported: int = 0
    delivered: int = 0
    bounced: int = 0
    opened: int = 0
    clicked: int = 0
    converted: int = 0
    asked: int = 0
    asked_converted: int = 0
    held_out: int = 0
    held_out_converted: int = 0
    orders: int = 0
    revenue_cents: dict[str, int] = field(default_factory=dict)
    spend_micros: dict[str, int] = field(default_factory=dict)


class Campaign(Struct):
    """One campaign: its funnel in accounts, each counted once, its money, and its lift.

    campaign: the campaign's name; rule:<name> for a rule's follow-ups
    kind: newsletter, advert, newsletter and advert, rule, or spend only where nobody was reached as far as we know
    sent: accounts that it was sent or shown to; of a rule: that it asked for
    delivered: accounts that it arrived at; null where nobody reports it
    bounced: accounts that it came back from; null where nobody reports it
    opened: accounts that opened it; null of what cannot be opened
    clicked: accounts that followed it; null of a rule
    converted: accounts that an order of theirs is owed to it of (which one: campaign_contacts), or that were reported
        to have converted; of a rule: that ordered within 30 days after it first asked for them
    conversion: converted by sent, 0-1; null where it was sent to nobody
    orders: orders that are owed to it; of a rule: of those it asked for, within those 30 days
    revenue: their value by currency, less what was given back, in major units
    spend: what it cost by currency, in major units: single showings and clicks, and what was reported beyond
    held_out: accounts that the rule held out; null of what holds nobody out
    held_out_converted: of those, accounts that ordered within 30 days; null of what holds nobody out
    lift: share of the asked that ordered minus share of the held out that did, -1 to 1; null without both groups
    lift_low: lower end of its 95 % interval (Newcombe's hybrid score interval)
    lift_high: upper end of its 95 % interval; where both ends are above 0, chance is no good explanation
    """

    campaign: str
    kind: Kind
    sent: int
    delivered: int | None
    bounced: int | None
    opened: int | None
    clicked: int | None
    converted: int
    conversion: float | None
    orders: int
    revenue: dict[str, float]
    spend: dict[str, float]
    held_out: int | None
    held_out_converted: int | None
    lift: float | None
    lift_low: float | None
    lift_high: float | None


campaigns = Aggregate("campaigns", version=1, row=CampaignShard, reads=Campaign, of=campaign_contacts)


@campaigns.of_row
def shares(row: CampaignContacts) -> list[CampaignShard]:
    """What an account adds to each of its campaigns."""
    return [
        _share(name, contact.stages, contact.orders, contact.cents)
        if contact.orders or contact.cents
        else _without_orders(name, contact.stages)
        for name, contact in row.contacts.items()
    ]


@campaigns.on(AdvertShown, AdvertClicked)
def advert_cost(event: Event[Any]) -> list[CampaignShard]:
    """What one showing or click cost."""
    return _spent(event.data.campaign, event.data.currency, event.data.cost)


@campaigns.on(CampaignSpendReported)
def spend(event: Event[CampaignSpendReported]) -> list[CampaignShard]:
    """What it cost beyond single showings and clicks."""
    return _spent(event.data.campaign, event.data.currency, event.data.spend)


@campaigns.read
def campaign_rows(shards: list[CampaignShard]) -> list[Campaign]:
    """Funnel, money and lift of each campaign."""
    return [_rule(shard) if shard.asked or shard.held_out else _campaign(shard) for shard in shards]


@lru_cache(maxsize=10_000)
def _without_orders(name: str, stages: int) -> CampaignShard:
    """Kept, because an event changes one contact of many, and nearly all of these are the same for many accounts."""
    return _share(name, stages, 0, {})


def _share(name: str, stages: int, orders: int, cents: dict[str, int]) -> CampaignShard:
    if stages & HELD_OUT:
        return CampaignShard(name, held_out=1, held_out_converted=int(orders > 0))
    if stages & ASKED:
        return CampaignShard(name, asked=1, asked_converted=int(orders > 0), orders=orders, revenue_cents=cents)
    arrived = stages & (DELIVERED | OPENED | SHOWN)
    return CampaignShard(
        name,
        newsletters=int(stages & SENT > 0),
        adverts=int(stages & SHOWN > 0),
        sent=1,
        reported=int(stages & (DELIVERED | BOUNCED) > 0),
        delivered=int(arrived > 0),
        bounced=int(stages & BOUNCED > 0 and not arrived),
        opened=int(stages & OPENED > 0),
        clicked=int(stages & CLICKED > 0),
        converted=int(orders > 0 or stages & CLAIMED > 0),
        orders=orders,
        revenue_cents=cents,
    )


def _spent(campaign: str, currency: str, amount: float) -> list[CampaignShard]:
    micros = round(amount * _MILLION)
    return [CampaignShard(campaign, spend_micros={currency: micros})] if micros else []


def _campaign(shard: CampaignShard) -> Campaign:
    knows_arrival = shard.reported > 0 or not shard.newsletters
    return Campaign(
        campaign=shard.campaign,
        kind=_kind(shard),
        sent=shard.sent,
        delivered=shard.delivered if knows_arrival else None,
        bounced=shard.bounced if shard.reported else None,
        opened=shard.opened if shard.newsletters else None,
        clicked=shard.clicked,
        converted=shard.converted,
        conversion=shard.converted / shard.sent if shard.sent else None,
        orders=shard.orders,
        revenue=_major(shard.revenue_cents, 100),
        spend=_major(shard.spend_micros, _MILLION),
        held_out=None,
        held_out_converted=None,
        lift=None,
        lift_low=None,
        lift_high=None,
    )


def _rule(shard: CampaignShard) -> Campaign:
    lift = share_difference(shard.asked_converted, shard.asked, shard.held_out_converted, shard.held_out)
    return Campaign(
        campaign=shard.campaign,
        kind="rule",
        sent=shard.asked,
        delivered=None,
        bounced=None,
        opened=None,
        clicked=None,
        converted=shard.asked_converted,
        conversion=shard.asked_converted / shard.asked if shard.asked else None,
        orders=shard.orders,
        revenue=_major(shard.revenue_cents, 100),
        spend=_major(shard.spend_micros, _MILLION),
        held_out=shard.held_out or None,
        held_out_converted=shard.held_out_converted if shard.held_out else None,
        lift=None if lift is None else lift.value,
        lift_low=None if lift is None else lift.low,
        lift_high=None if lift is None else lift.high,
    )


def _kind(shard: CampaignShard) -> Kind:
    if shard.newsletters and shard.adverts:
        return "newsletter and advert"
    if shard.newsletters:
        return "newsletter"
    return "advert" if shard.adverts else "spend only"


def _major(sums: dict[str, int], unit: int) -> dict[str, float]:
    return {currency: amount / unit for currency, amount in sorted(sums.items())}
