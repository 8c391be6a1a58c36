"""What did each campaign do with an account, and which campaign is an order owed to?

An order is owed to the campaign that the account last followed, by opening or clicking a newsletter or by clicking an
advert, in the ``TOUCH_DAYS`` days before it (last touch); to have been shown something is no touch. Who reports an
``Advert Converted`` with the order's id claims it, and a claim goes first. Late touches and late orders are put where
they belong. A rule's follow-ups are a campaign too: an order within ``RULE_DAYS`` days after the first time that the
rule asked for the account, or held it out, is its result, whatever else the order is owed to. Only the first time
counts, because a rule says once that it holds an account out, but asks again and again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct, field, structs

from engage.events.catalogue.advertising import AdvertClicked, AdvertConverted, AdvertShown
from engage.events.catalogue.follow_up import FollowUpRequested, FollowUpSkipped
from engage.events.catalogue.newsletters import (
    NewsletterBounced,
    NewsletterClicked,
    NewsletterDelivered,
    NewsletterOpened,
    NewsletterSent,
)
from engage.events.envelope import EPOCH, Event
from engage.views.orders import ORDER_EVENTS, Order, booked, cents, expect
from engage.views.projection import Projection, account_of

TOUCH_DAYS = 14
"""For how many days an order is owed to what the account followed."""
RULE_DAYS = 30
"""Within how many days an order counts as the result of a rule's follow-up, or of its absence."""
CAMPAIGNS_KEPT = 200
"""Of an account, the campaigns that counted last; those that fall out leave the sums, rules never do."""
_TOUCHES_KEPT = 12
_ISSUES_KEPT = 20
_RULE = "rule:"

SENT, DELIVERED, BOUNCED, OPENED, CLICKED, SHOWN, CLAIMED, ASKED, HELD_OUT = (1 << bit for bit in range(9))
"""What happened between a campaign and an account; newsletters set ``SENT`` and adverts ``SHOWN`` whatever came in."""


class Contact(Struct, array_like=True):
    """A campaign and an account: ``stages`` as bits, ``at`` the last time (of a rule: the first), what it brought.

    ``orders`` stand, neither cancelled nor given back; ``cents`` is their value by currency, in hundredths.
    """

    stages: int = 0
    at: datetime = EPOCH
    orders: int = 0
    cents: dict[str, int] = field(default_factory=dict)


class Credit(Struct, frozen=True, array_like=True):
    """The campaign that an order is owed to; ``claimed``: who ran it said so."""

    campaign: str
    claimed: bool = False


class CampaignContacts(Struct):
    """One account's dealings with campaigns, and the orders that came of them.

    account: the account's id
    contacts: by campaign what happened (bits), when last (of a rule: first), orders, their value in hundredths; up to
        200 campaigns and all rules; a newsletter without a campaign is one of its own, newsletter:<id>, a rule is
        rule:<name>
    touches: the latest times that the account followed a campaign, with the campaign; up to 12
    issues: the latest newsletters that named a campaign, with it; up to 20
    orders: the latest orders by their id: when placed, hundredths, currency, returned, whether they stand; up to 24
    credits: by order the campaign that it is owed to, and whether that was claimed
    """

    account: str
    contacts: dict[str, Contact] = field(default_factory=dict)
    touches: list[tuple[datetime, str]] = field(default_factory=list)
    issues: list[tuple[str, str]] = field(default_factory=list)
    orders: dict[str, Order] = field(default_factory=dict)
    credits: dict[str, Credit] = field(default_factory=dict)


campaign_contacts = Projection("campaign_contacts", version=1, row=CampaignContacts, key=account_of)


@campaign_contacts.on(NewsletterSent)
def sent(row: CampaignContacts, event: Event[NewsletterSent]) -> CampaignContacts:
    """An issue went out."""
    return _happened(row, event, _newsletter(row, event), SENT)


@campaign_contacts.on(NewsletterDelivered)
def delivered(row: CampaignContacts, event: Event[NewsletterDelivered]) -> CampaignContacts:
    """It arrived."""
    return _happened(row, event, _newsletter(row, event), SENT | DELIVERED)


@campaign_contacts.on(NewsletterBounced)
def bounced(row: CampaignContacts, event: Event[NewsletterBounced]) -> CampaignContacts:
    """It came back."""
    return _happened(row, event, _newsletter(row, event), SENT | BOUNCED)


@campaign_contacts.on(NewsletterOpened)
def opened(row: CampaignContacts, event: Event[NewsletterOpened]) -> CampaignContacts:
    """It was opened: a touch."""
    return _touched(row, event, _newsletter(row, event), SENT | OPENED)


@campaign_contacts.on(NewsletterClicked)
def clicked(row: CampaignContacts, event: Event[NewsletterClicked]) -> CampaignContacts:
    """A link was followed: a touch; whoever follows one has opened it, whether or not the mailer could see it."""
    return _touched(row, event, _newsletter(row, event), SENT | OPENED | CLICKED)


@campaign_contacts.on(AdvertShown)
def advert_shown(row: CampaignContacts, event: Event[AdvertShown]) -> CampaignContacts:
    """An advert was shown: no touch."""
    return _happened(row, event, event.data.campaign, SHOWN)


@campaign_contacts.on(AdvertClicked)
def advert_clicked(row: CampaignContacts, event: Event[AdvertClicked]) -> CampaignContacts:
    """An advert was followed: a touch."""
    return _touched(row, event, event.data.campaign, SHOWN | CLICKED)


@campaign_contacts.on(AdvertConverted)
def advert_converted(row: CampaignContacts, event: Event[AdvertConverted]) -> CampaignContacts:
    """The network says that its advert did it: the order is its own, or without one what it says it brought."""
    data = event.data
    _happened(row, event, data.campaign, SHOWN | CLAIMED)
    order_id = data.order_id
    if order_id is None:
        _add(row.contacts[data.campaign], data.currency, cents(data.value))
        return row
    credit = row.credits.get(order_id)
    if credit is None or not credit.claimed:
        expect(row.orders, event, order_id, data.currency)
        if order_id in row.orders:
            _owe(row, order_id, Credit(data.campaign, True))
        row.credits = {known: owed for known, owed in row.credits.items() if known in row.orders}
    return row


@campaign_contacts.on(FollowUpRequested)
def asked(row: CampaignContacts, event: Event[FollowUpRequested]) -> CampaignContacts:
    """A rule asked for a follow-up."""
    return _tried(row, event, event.data.rule, ASKED)


@campaign_contacts.on(FollowUpSkipped)
def skipped(row: CampaignContacts, event: Event[FollowUpSkipped]) -> CampaignContacts:
    """A rule would have asked, but leaves this account alone to see what its follow-ups bring."""
    return _tried(row, event, event.data.rule, HELD_OUT) if event.data.reason == "holdout" else row


@campaign_contacts.on(*ORDER_EVENTS)
def ordered(row: CampaignContacts, event: Event[Any]) -> CampaignContacts:
    """An order came, or something came of one."""
    change = booked(row.orders, event)
    name, credit = change.order_id, row.credits.get(change.order_id)
    if change.before is not None:
        _count(row, credit, change.before, -1)
    if credit is None or not credit.claimed:
        credit = _last_touch(row, change.after) or credit
    _count(row, credit, change.after, 1)
    row.credits = {known: owed for known, owed in row.credits.items() if known in row.orders and known != name}
    if credit is not None and name in row.orders:
        row.credits[name] = credit
    return row


def _newsletter(row: CampaignContacts, event: Event[Any]) -> str:
    """The issue's campaign, as this event or an earlier one says; what came before it was known moves over to it."""
    issue: str = event.data.newsletter_id
    named: str | None = getattr(event.data, "campaign", None)
    own = f"newsletter:{issue}"
    known = next((campaign for name, campaign in row.issues if name == issue), None)
    if known is not None or named is None:
        return known or own
    row.issues = [*row.issues[1 - _ISSUES_KEPT :], (issue, named)]
    if early := row.contacts.pop(own, None):
        contact = row.contacts.setdefault(named, Contact())
        contact.stages |= early.stages
        contact.at = max(contact.at, early.at)
        contact.orders += early.orders
        for currency, amount in early.cents.items():
            _add(contact, currency, amount)
        row.touches = [(at, named if campaign == own else campaign) for at, campaign in row.touches]
        for order_id, owed in row.credits.items():
            if owed.campaign == own:
                row.credits[order_id] = structs.replace(owed, campaign=named)
    return named


def _happened(row: CampaignContacts, event: Event[Any], campaign: str, stages: int) -> CampaignContacts:
    contact = row.contacts.get(campaign)
    if contact is None:
        contact = row.contacts[campaign] = Contact()
        if len(row.contacts) > CAMPAIGNS_KEPT:
            _forget_oldest(row, campaign)
    contact.stages |= stages
    contact.at = max(contact.at, event.time)
    return row


def _touched(row: CampaignContacts, event: Event[Any], campaign: str, stages: int) -> CampaignContacts:
    _happened(row, event, campaign, stages)
    row.touches = sorted([*row.touches, (event.time, campaign)])[-_TOUCHES_KEPT:]
    for name, order in row.orders.items():
        owed = row.credits.get(name)
        if order.at >= event.time and not (owed and owed.claimed):
            _owe(row, name, _last_touch(row, order) or owed)
    return row


def _tried(row: CampaignContacts, event: Event[Any], rule: str, arm: int) -> CampaignContacts:
    name = f"{_RULE}{rule}"
    if name not in row.contacts:
        contact = row.contacts[name] = Contact(arm, event.time)
        for order in row.orders.values():
            _count_for_rule(contact, order, 1)
    return row


def _last_touch(row: CampaignContacts, order: Order) -> Credit | None:
    since = order.at - timedelta(days=TOUCH_DAYS)
    for at, campaign in reversed(row.touches):
        if since <= at <= order.at:
            return Credit(campaign)
    return None


def _owe(row: CampaignContacts, name: str, credit: Credit | None) -> None:
    before = row.credits.get(name)
    if credit is not None and credit != before:
        _count_for_campaign(row, before, row.orders[name], -1)
        _count_for_campaign(row, credit, row.orders[name], 1)
        row.credits[name] = credit


def _count(row: CampaignContacts, credit: Credit | None, order: Order, sign: int) -> None:
    _count_for_campaign(row, credit, order, sign)
    for name, contact in row.contacts.items():
        if name.startswith(_RULE):
            _count_for_rule(contact, order, sign)


def _count_for_campaign(row: CampaignContacts, credit: Credit | None, order: Order, sign: int) -> None:
    contact = row.contacts.get(credit.campaign) if credit is not None else None
    if contact is not None and order.counts:
        contact.orders += sign
        _add(contact, order.currency, sign * order.net)


def _count_for_rule(contact: Contact, order: Order, sign: int) -> None:
    if order.counts and contact.at < order.at <= contact.at + timedelta(days=RULE_DAYS):
        contact.orders += sign
        _add(contact, order.currency, sign * order.net)


def _add(contact: Contact, currency: str, amount: int) -> None:
    """Into a new dictionary: shares that were given of the row still hold the old one."""
    total = contact.cents.get(currency, 0) + amount
    others = {name: value for name, value in contact.cents.items() if name != currency}
    contact.cents = others | {currency: total} if total else others


def _forget_oldest(row: CampaignContacts, fresh: str) -> None:
    campaigns = [name for name in row.contacts if not name.startswith(_RULE) and name != fresh]
    if len(campaigns) < CAMPAIGNS_KEPT:
        return
    oldest = min(campaigns, key=lambda name: (row.contacts[name].at, name))
    del row.contacts[oldest]
    row.touches = [touch for touch in row.touches if touch[1] != oldest]
    row.credits = {order: owed for order, owed in row.credits.items() if owed.campaign != oldest}
