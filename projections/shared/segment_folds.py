"""How events change what is known of an account for its segments; time and membership are not seen to here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engage.events.catalogue import (
    advertising,
    agreements,
    commerce,
    conversations,
    deals,
    deliveries,
    disputes,
    health,
    invoices,
    loyalty,
    negotiations,
    newsletters,
    profile,
    service_levels,
    support,
    surveys,
    training,
    tutorials,
    video,
    web,
)
from engage.events.catalogue.base import EventData
from engage.events.envelope import EPOCH, Event
from engage.views.latest_words import said
from engage.views.months import month_later, month_of
from engage.views.orders import ORDER_EVENTS, booked
from projections.shared.segment_facts import VALUE_MONTHS, Membership

Change = Callable[[Membership, Event[Any]], None]

SEEN: tuple[type[EventData], ...] = (
    advertising.AdvertClicked,
    commerce.ProductsSearched,
    commerce.ProductListViewed,
    commerce.PromotionClicked,
    commerce.ProductViewed,
    commerce.ProductAdded,
    commerce.ProductAddedToWishlist,
    commerce.CartViewed,
    commerce.CheckoutStarted,
    conversations.EmailReceived,
    conversations.CallHeld,
    conversations.MeetingHeld,
    deals.DealRegistered,
    deliveries.DeliveryPromised,
    deliveries.DeliveryReceived,
    invoices.InvoicePaid,
    loyalty.PointsRedeemed,
    loyalty.ReferralMade,
    negotiations.OfferMade,
    service_levels.RequestAnswered,
    support.ChatStarted,
    support.TicketCommented,
    support.TicketRated,
    surveys.ReviewPosted,
    training.TrainingCompleted,
    tutorials.TutorialStarted,
    tutorials.TutorialStepCompleted,
    tutorials.TutorialCompleted,
    video.VideoStarted,
    video.VideoCompleted,
    web.PageViewed,
    web.ScreenViewed,
    web.FeatureUsed,
    web.SearchPerformed,
    web.FileDownloaded,
    web.FormSubmitted,
    web.SignedUp,
    web.SignedIn,
)
"""What an account does itself, beside what has a fold of its own below."""

CHANGES: dict[type[EventData], tuple[Change, frozenset[str]]] = {}
"""How each type of event changes an account's facts, and which: only segments that ask for those are looked at then."""

_ALWAYS = "days_since_known"
_SEEN = "days_since_seen"


def _on(*kinds: type[EventData], facts: tuple[str, ...]) -> Callable[[Change], Change]:
    def register(change: Change) -> Change:
        for kind in kinds:
            CHANGES[kind] = change, frozenset((_ALWAYS, *facts))
        return change

    return register


@_on(*SEEN, facts=(_SEEN,))
def seen(row: Membership, event: Event[Any]) -> None:
    """The account did something."""
    row.seen_at = max(row.seen_at or event.time, event.time)


@_on(
    *ORDER_EVENTS,
    facts=(_SEEN, "orders", "value", "days_since_first_order", "days_since_order", "gaps_since_order"),
)
def ordered(row: Membership, event: Event[Any]) -> None:
    """An order came, or something came of one."""
    if isinstance(event.data, commerce.OrderCompleted):
        seen(row, event)
    change = booked(row.booked, event)
    oldest = month_later(month_of(event.now), 1 - VALUE_MONTHS)
    row.months = {month: sums for month, sums in row.months.items() if month >= oldest}
    for order, sign in ((change.before, -1), (change.after, 1)):
        if order is not None and order.counts:
            row.orders += sign
            if (month := month_of(order.at)) >= oldest:
                sums = row.months.setdefault(month, {})
                sums[order.currency] = sums.get(order.currency, 0) + sign * order.net
    known = [order.at for order in row.booked.values() if order.counts]
    are_all = len(known) == row.orders
    if change.after.counts:  # it may be too old to be among those that are remembered
        known.append(change.after.at)
    if row.orders <= 0:
        row.first_order_at = row.last_order_at = None
    elif known:
        row.last_order_at = max(known)
        row.first_order_at = min(known) if are_all else min([*known, row.first_order_at or known[0]])


@_on(newsletters.NewsletterOpened, newsletters.NewsletterClicked, facts=(_SEEN, "days_since_newsletter"))
def read(row: Membership, event: Event[Any]) -> None:
    """It reads our newsletter."""
    seen(row, event)
    row.newsletter_at = max(row.newsletter_at or event.time, event.time)


@_on(newsletters.NewsletterSubscribed, facts=(_SEEN, "subscribed"))
def subscribed(row: Membership, event: Event[Any]) -> None:
    """It wants a newsletter."""
    seen(row, event)
    _tell(row, event, "subscribed", True)


@_on(newsletters.NewsletterUnsubscribed, facts=(_SEEN, "subscribed"))
def unsubscribed(row: Membership, event: Event[Any]) -> None:
    """It wants one no more."""
    seen(row, event)
    _tell(row, event, "subscribed", False)


@_on(surveys.SurveyAnswered, facts=(_SEEN, "nps", "csat", "days_since_nps"))
def answered(row: Membership, event: Event[surveys.SurveyAnswered]) -> None:
    """It said what it thinks of us."""
    seen(row, event)
    _tell(row, event, event.data.kind, event.data.score)


@_on(profile.AccountIdentified, facts=("kind", "country", "plan"))
def identified(row: Membership, event: Event[profile.AccountIdentified]) -> None:
    """Somebody told us who it is."""
    for name in ("kind", "country", "plan"):
        if (value := getattr(event.data, name)) is not None:
            _tell(row, event, name, value)


@_on(loyalty.TierReached, facts=("tier",))
def rose(row: Membership, event: Event[loyalty.TierReached]) -> None:
    """It rose to a tier."""
    _tell(row, event, "tier", event.data.tier)


@_on(loyalty.TierLost, facts=("tier",))
def fell(row: Membership, event: Event[loyalty.TierLost]) -> None:
    """It fell out of one."""
    _tell(row, event, "tier", event.data.now)


@_on(health.HealthBandCrossed, health.HealthBandStands, facts=("band",))
def crossed(row: Membership, event: Event[health.HealthBandCrossed | health.HealthBandStands]) -> None:
    """Its health passed into another band, or stands in one of which we did not know."""
    _tell(row, event, "band", event.data.band)


@_on(support.TicketOpened, support.TicketReopened, facts=(_SEEN, "open_tickets"))
def ticket_opened(row: Membership, event: Event[Any]) -> None:
    """It waits for our help."""
    seen(row, event)
    said(row.tickets, event.data.ticket_id, event.time, open=True)


@_on(support.TicketResolved, facts=("open_tickets",))
def ticket_resolved(row: Membership, event: Event[support.TicketResolved]) -> None:
    """It was helped."""
    said(row.tickets, event.data.ticket_id, event.time, open=False)


@_on(disputes.DisputeOpened, facts=("open_disputes",))
def dispute_opened(row: Membership, event: Event[disputes.DisputeOpened]) -> None:
    """One side does not accept something."""
    said(row.disputes, event.data.dispute_id, event.time, open=True)


@_on(disputes.DisputeSettled, facts=("open_disputes",))
def dispute_settled(row: Membership, event: Event[disputes.DisputeSettled]) -> None:
    """Both sides agree again."""
    said(row.disputes, event.data.dispute_id, event.time, open=False)


@_on(agreements.AgreementSigned, agreements.AgreementRenewed, facts=("days_until_renewal",))
def agreement_runs(row: Membership, event: Event[Any]) -> None:
    """An agreement runs."""
    said(row.agreements, event.data.agreement_id, event.time, open=True, until=event.data.ends)


@_on(agreements.AgreementEnded, facts=("days_until_renewal",))
def agreement_ended(row: Membership, event: Event[agreements.AgreementEnded]) -> None:
    """It runs no more."""
    said(row.agreements, event.data.agreement_id, event.time, open=False)


@_on(agreements.AgreementBreached, facts=("days_since_breach",))
def breached(row: Membership, event: Event[agreements.AgreementBreached]) -> None:
    """A term was not kept, not by us as far as we know."""
    if event.data.by != "us":
        row.breached_at = max(row.breached_at or event.time, event.time)


def _tell(row: Membership, event: Event[Any], name: str, value: Any) -> None:
    if event.time >= row.told_at.get(name, EPOCH):
        row.told_at[name] = event.time
        setattr(row, name, value)
