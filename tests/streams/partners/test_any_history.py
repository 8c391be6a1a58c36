"""Whatever partners do, and however we learn of it: no partner rule fails, and what is told again asks for nothing."""

from datetime import timedelta
from functools import partial
from typing import Any

from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from engage.events.catalogue.agreements import (
    AgreementBreached,
    AgreementEnded,
    AgreementRenewed,
    AgreementSigned,
    Term,
)
from engage.events.catalogue.conversations import MeetingHeld
from engage.events.catalogue.cross_sell import CrossSellOpeningFound
from engage.events.catalogue.deals import DealApproved, DealRegistered
from engage.events.catalogue.deliveries import (
    DeliveryPostponed,
    DeliveryPromised,
    DeliveryReceived,
    DeliveryRejected,
    QualityInspected,
)
from engage.events.catalogue.disputes import (
    DisputeAcknowledged,
    DisputeEscalated,
    DisputeOpened,
    DisputeSettled,
    SettlementProposed,
)
from engage.events.catalogue.follow_up import FollowUpRequested
from engage.events.catalogue.invoices import InvoiceCancelled, InvoiceIssued, InvoiceOverdue, InvoicePaid
from engage.events.catalogue.negotiations import NegotiationClosed, NegotiationOpened, OfferMade
from engage.events.catalogue.profile import AccountIdentified
from engage.events.catalogue.service_levels import RequestAnswered, ServiceLevelBreached, ServiceLevelMeasured
from engage.rules.rule import Rule
from engage.testing.events import happened, moment
from engage.testing.rules import given
from streams import RULES

START, DAY = moment("2026-01-01"), timedelta(days=1)
PARTNER_RULES: list[Rule[Any, Any]] = [
    rule for rule in RULES if rule.handlers and rule.state.__module__.startswith("streams.partners")
]

LONGEST = "x" * 256
names = st.sampled_from(["one", "two", LONGEST])
moments = st.integers(0, 200).map(lambda day: START + day * DAY)
parties = st.sampled_from(["us", "them", None])
directions = st.sampled_from(["payable", "receivable"])
levels = st.sampled_from([0.0, 0.5, 1.0])
terms = st.builds(
    Term,
    name=names,
    kind=st.sampled_from(["expectation", "boundary"]),
    measure=st.sampled_from(["delivered_on_time", "defective", LONGEST]),
    limit=levels,
    direction=st.sampled_from(["at_least", "at_most"]),
    unit=st.sampled_from(["share", LONGEST]),
)
told = partial(st.builds, agreement_id=names)
measured = partial(
    st.builds, service=names, measured=levels, limit=levels, unit=names, agreement_id=names, term=st.none() | names
)
received = partial(st.builds, DeliveryReceived, units_ordered=st.just(5), units_received=st.just(5))
data = st.one_of(
    st.builds(AccountIdentified, kind=st.sampled_from(["supplier", "partner", None]), since=st.none() | moments),
    told(
        AgreementSigned, title=names, starts=st.just(START), ends=moments, terms=st.lists(terms, max_size=2).map(tuple)
    ),
    told(AgreementRenewed, ends=moments, terms=st.none() | st.tuples(terms)),
    told(AgreementBreached, term=names, measured=levels, limit=levels, unit=st.none() | names, by=parties),
    told(AgreementEnded, reason=st.sampled_from(["expired", "terminated", None])),
    measured(ServiceLevelMeasured),
    measured(ServiceLevelBreached),
    st.builds(DeliveryPromised, delivery_id=names, promised=moments),
    st.builds(DeliveryPostponed, delivery_id=names, promised=moments),
    received(delivery_id=st.integers(0, 40).map(str), promised=moments),
    st.builds(DeliveryRejected, delivery_id=names),
    st.builds(QualityInspected, delivery_id=names, inspected=st.just(60), defective=st.sampled_from([0, 30])),
    st.builds(DisputeOpened, dispute_id=names, topic=names, by=parties),
    st.builds(DisputeAcknowledged, dispute_id=names, by=parties, answer_due=st.none() | moments),
    st.builds(SettlementProposed, dispute_id=names, by=parties, answer_due=st.none() | moments),
    st.builds(DisputeEscalated, dispute_id=names),
    st.builds(DisputeSettled, dispute_id=names),
    st.builds(NegotiationOpened, negotiation_id=names),
    st.builds(
        OfferMade,
        negotiation_id=names,
        round=st.integers(1, 3),
        party=st.sampled_from(["us", "them"]),
        expires=st.none() | moments,
    ),
    st.builds(NegotiationClosed, negotiation_id=names, outcome=st.just("agreed")),
    st.builds(InvoiceIssued, invoice_id=names, direction=directions, total=st.just(10.0), due=moments),
    st.builds(
        InvoicePaid,
        invoice_id=names,
        paid=st.just(5.0),
        outstanding=st.sampled_from([0.0, 5.0]),
        direction=st.none() | directions,
        due=st.none() | moments,
    ),
    st.builds(
        InvoiceOverdue, invoice_id=names, direction=st.none() | directions, days_overdue=st.none() | st.just(2**53)
    ),
    st.builds(InvoiceCancelled, invoice_id=names),
    st.builds(DealRegistered, deal_id=names, value=st.just(1.0), closes=st.none() | moments),
    st.builds(DealApproved, deal_id=names),
    st.builds(RequestAnswered, request_id=names, waited=st.just(1.0)),
    st.builds(MeetingHeld, meeting_id=names),
    st.builds(
        CrossSellOpeningFound,
        kind=st.just("category"),
        opening=names,
        support=st.just(9),
        similar=st.just(10),
        lift=st.just(2.0),
    ),
)
histories = st.lists(st.tuples(data, st.integers(0, 200), st.sampled_from([0, 0, 0, 1, 40])), max_size=60)


def asked(history, *told_after):
    """What was asked for when each event of ``history`` is told so many days after we could first know of it."""
    events = [
        happened(data, at=START + day * DAY, recorded=START + (day + late + after) * DAY, id=f"{number}-{after}")
        for number, (data, day, late) in enumerate(history)
        for after in told_after
    ]
    events.sort(key=lambda event: event.now)
    story = given(PARTNER_RULES).when(*events, time="2028-01-01")
    return [
        (each.time, each.data.rule, each.data.what, each.data.about)
        for each in story.decisions
        if isinstance(each.data, FollowUpRequested)
    ]


@settings(max_examples=100, deadline=None)
@for_all(histories, st.sampled_from([0.5, 30]))
def test_what_is_told_twice_is_asked_once_and_no_rule_fails(history, later):
    assert asked(history, 0, later) == asked(history, 0)
