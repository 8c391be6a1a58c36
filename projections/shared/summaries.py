"""Events in a few words, for a person who reads a timeline: from typed, unsealed fields only, so they name nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engage.events.catalogue import (
    account,
    advertising,
    agreements,
    commerce,
    consent,
    conversations,
    cross_sell,
    dead_letter,
    deals,
    deliveries,
    disputes,
    follow_up,
    health,
    identity,
    invoices,
    loyalty,
    negotiations,
    newsletters,
    profile,
    segment,
    service_levels,
    support,
    surveys,
    term,
    training,
    tutorials,
    video,
    web,
)
from engage.events.catalogue.base import EventData

Summary = Callable[[Any], str]


def _money(data: Any, amount: float | None) -> str:
    return "" if amount is None else f": {amount:,.2f} {data.currency}"


def _because(reason: str | None) -> str:
    return "" if reason is None else f" ({reason})"


def _on_time(data: deliveries.DeliveryReceived) -> str:
    if data.received is None:
        return ""
    days = (data.received - data.promised).total_seconds() / 86_400
    return f", {days:.0f} days late" if days >= 1 else ", on time" if days <= 0 else ", some hours late"


def _band(band: health.KnownBand) -> str:
    return band.replace("_", " ")


def _overdue(data: invoices.InvoiceOverdue) -> str:
    since = "" if data.days_overdue is None else f" for {data.days_overdue} days"
    return f"Invoice {data.invoice_id} overdue{since}{_money(data, data.outstanding)}"


SUMMARIES: dict[type[EventData], Summary] = {
    account.AccountErased: lambda d: f"Personal data erased (key generation {d.generation})",
    account.ManagerAssigned: lambda d: f"Manager assigned: {d.manager}",
    advertising.AdvertShown: lambda d: f"Advert of {d.campaign} shown",
    advertising.AdvertClicked: lambda d: f"Advert of {d.campaign} clicked",
    agreements.AgreementSigned: lambda d: f"Agreement {d.agreement_id} signed: {d.title}, until {d.ends:%Y-%m-%d}",
    agreements.AgreementRenewed: lambda d: f"Agreement {d.agreement_id} renewed until {d.ends:%Y-%m-%d}",
    agreements.AgreementBreached: lambda d: (
        f"Agreement {d.agreement_id}: {d.term} is {d.measured:g} {d.unit or ''}".rstrip() + f", limit {d.limit:g}"
    ),
    term.AgreementTermMeasured: lambda d: (
        f"Agreement {d.agreement_id}: {d.term} is {d.measured:.3g} {d.unit}, limit {d.limit:g}"
    ),
    agreements.AgreementEnded: lambda d: f"Agreement {d.agreement_id} ended{_because(d.reason)}",
    commerce.ProductViewed: lambda d: f"Product {d.product_id} viewed",
    commerce.ProductAdded: lambda d: f"{d.quantity} × {d.product_id} put into the cart",
    commerce.OrderCompleted: lambda d: f"Order {d.order_id} completed{_money(d, d.total)}",
    commerce.OrderShipped: lambda d: f"Order {d.order_id} shipped",
    commerce.OrderDelivered: lambda d: f"Order {d.order_id} delivered",
    commerce.OrderRefunded: lambda d: f"Order {d.order_id} refunded{_money(d, d.total)}{_because(d.reason)}",
    commerce.OrderCancelled: lambda d: f"Order {d.order_id} cancelled{_because(d.reason)}",
    commerce.PaymentFailed: lambda d: f"Payment for order {d.order_id} failed{_because(d.reason)}",
    commerce.ChargebackReceived: lambda d: f"Chargeback for order {d.order_id}{_money(d, d.total)}{_because(d.reason)}",
    consent.ConsentGiven: lambda d: f"Consent given: {d.purpose} by {d.channel}",
    consent.ConsentWithdrawn: lambda d: f"Consent withdrawn: {d.purpose} by {d.channel}",
    conversations.CallHeld: lambda d: f"Call held, {d.direction}",
    conversations.CallMissed: lambda d: f"Call missed, {d.direction}",
    cross_sell.CrossSellOpeningFound: lambda d: (
        f"Opening found: the {d.kind} {d.opening}, which {d.support} of {d.similar} similar accounts have"
    ),
    dead_letter.DeadLetterRetried: lambda d: f"Retried by {d.consumer}: it goes on with the account, if it can",
    dead_letter.DeadLetterSkipped: lambda d: f"Passed over by {d.consumer}: {d.event_id} ({d.reason})",
    deals.DealRegistered: lambda d: f"Deal {d.deal_id} registered{_money(d, d.value)}",
    deals.DealWon: lambda d: f"Deal {d.deal_id} won{_money(d, d.value)}",
    deals.DealLost: lambda d: f"Deal {d.deal_id} lost{_because(d.reason)}",
    deliveries.DeliveryPromised: lambda d: f"Delivery {d.delivery_id} promised for {d.promised:%Y-%m-%d}",
    deliveries.DeliveryPostponed: lambda d: f"Delivery {d.delivery_id} moved to {d.promised:%Y-%m-%d}",
    deliveries.DeliveryReceived: lambda d: (
        f"Delivery {d.delivery_id} received: {d.units_received} of {d.units_ordered}{_on_time(d)}"
    ),
    deliveries.DeliveryRejected: lambda d: f"Delivery {d.delivery_id} sent back{_because(d.reason)}",
    deliveries.QualityInspected: lambda d: (
        f"Delivery {d.delivery_id} inspected: {d.defective} of {d.inspected} defective"
    ),
    disputes.DisputeOpened: lambda d: f"Dispute {d.dispute_id} opened about {d.topic}{_money(d, d.amount)}",
    disputes.DisputeAcknowledged: lambda d: f"Dispute {d.dispute_id} acknowledged",
    disputes.SettlementProposed: lambda d: f"Settlement of dispute {d.dispute_id} proposed{_money(d, d.amount)}",
    disputes.DisputeSettled: lambda d: f"Dispute {d.dispute_id} settled{_because(d.outcome)}",
    disputes.DisputeEscalated: lambda d: f"Dispute {d.dispute_id} escalated{_because(d.level)}",
    follow_up.FollowUpRequested: lambda d: f"Follow-up asked for by {d.rule}: {d.what}",
    follow_up.FollowUpSkipped: lambda d: f"Follow-up of {d.rule} not asked for ({d.reason}): {d.what}",
    follow_up.FollowUpOpened: lambda d: f"Follow-up in the queue: {d.what}",
    follow_up.FollowUpAssigned: lambda d: f"Follow-up assigned to {d.assignee}",
    follow_up.FollowUpSnoozed: lambda d: f"Follow-up snoozed until {d.until:%Y-%m-%d}",
    follow_up.FollowUpStarted: lambda d: "Follow-up started",
    follow_up.FollowUpCompleted: lambda d: f"Follow-up completed: {d.outcome}",
    follow_up.FollowUpDismissed: lambda d: f"Follow-up dismissed: {d.reason}",
    follow_up.FollowUpExpired: lambda d: "Follow-up expired: nobody came to it in time",
    follow_up.FollowUpDelivered: lambda d: f"Follow-up handed on by {d.channel}",
    follow_up.FollowUpDeliveryFailed: lambda d: f"Follow-up not handed on by {d.channel}: {d.reason}",
    health.HealthBandCrossed: lambda d: (
        f"Health went from {_band(d.before)} to {_band(d.band)}: score {d.score:.0f}, {d.component} {d.value:.0f}"
    ),
    health.HealthBandStands: lambda d: f"Health stands at {_band(d.band)}: score {d.score:.0f}",
    identity.IdentityLinked: lambda d: f"Turned out to be {d.account}: what was known of it went there",
    identity.IdentityUnlinked: lambda d: f"Is not {d.account} after all: what was known of it came back",
    identity.IdentityParted: lambda d: f"Is not {d.visitor} after all: what was known of that went back",
    invoices.InvoiceIssued: lambda d: (
        f"Invoice {d.invoice_id} issued, {d.direction}, due {d.due:%Y-%m-%d}{_money(d, d.total)}"
    ),
    invoices.InvoicePaid: lambda d: f"Invoice {d.invoice_id} paid{_money(d, d.paid)}",
    invoices.InvoiceOverdue: _overdue,
    loyalty.PointsEarned: lambda d: f"{d.points} points earned{_because(d.reason)}",
    loyalty.PointsRedeemed: lambda d: f"{d.points} points redeemed",
    loyalty.TierReached: lambda d: f"Tier {d.tier} reached",
    loyalty.TierLost: lambda d: f"Tier {d.tier} lost",
    negotiations.OfferMade: lambda d: f"Negotiation {d.negotiation_id}, round {d.round}: offer by {d.party}",
    negotiations.NegotiationClosed: lambda d: f"Negotiation {d.negotiation_id} closed: {d.outcome}",
    newsletters.NewsletterSent: lambda d: f"Newsletter {d.newsletter_id} sent",
    newsletters.NewsletterOpened: lambda d: f"Newsletter {d.newsletter_id} opened",
    newsletters.NewsletterClicked: lambda d: f"Newsletter {d.newsletter_id}: a link followed",
    newsletters.NewsletterUnsubscribed: lambda d: "Unsubscribed from the newsletter",
    profile.AccountIdentified: lambda d: "Account details received" if d.kind is None else f"Identified as {d.kind}",
    segment.SegmentEntered: lambda d: f"Entered the segment {d.segment}",
    segment.SegmentLeft: lambda d: f"Left the segment {d.segment}",
    service_levels.ServiceLevelBreached: lambda d: (
        f"Service level of {d.service} breached: {d.measured:g} {d.unit}, limit {d.limit:g}"
    ),
    service_levels.RequestAnswered: lambda d: f"Request {d.request_id} answered after {d.waited / 3600:.1f} hours",
    support.TicketOpened: lambda d: f"Ticket {d.ticket_id} opened, {d.priority}{_because(d.topic)}",
    support.TicketAnswered: lambda d: f"Ticket {d.ticket_id} answered",
    support.TicketReopened: lambda d: f"Ticket {d.ticket_id} reopened{_because(d.reason)}",
    support.TicketResolved: lambda d: f"Ticket {d.ticket_id} resolved{_because(d.resolution)}",
    support.TicketRated: lambda d: f"Ticket {d.ticket_id} rated {d.score} of 5",
    surveys.SurveySent: lambda d: f"Survey {d.survey_id} sent ({d.kind})",
    surveys.SurveyAnswered: lambda d: f"Survey {d.survey_id} answered: {d.kind} {d.score}",
    surveys.ReviewPosted: lambda d: f"Review of {d.product_id}: {d.rating:g} of 5",
    training.TrainingCompleted: lambda d: f"Training {d.training_id} completed",
    training.CertificationEarned: lambda d: f"Certification {d.certification} earned",
    training.CertificationLapsed: lambda d: f"Certification {d.certification} lapsed",
    tutorials.TutorialStarted: lambda d: f"Tutorial {d.tutorial_id} started",
    tutorials.TutorialStepCompleted: lambda d: f"Tutorial {d.tutorial_id}: step {d.step} done",
    tutorials.TutorialCompleted: lambda d: f"Tutorial {d.tutorial_id} completed",
    tutorials.TutorialAbandoned: lambda d: f"Tutorial {d.tutorial_id} left unfinished",
    video.VideoStarted: lambda d: f"Video {d.video_id} started",
    video.VideoCompleted: lambda d: f"Video {d.video_id} watched to its end",
    web.PageViewed: lambda d: f"Page viewed: {d.path or d.title or d.url or d.category or 'a page without a name'}",
}
"""What to say of an event's data, by its type; a type that is not here is shown by its name."""
