"""Many small disappointments are told once, when together they weigh enough, and again after trust was regained."""

from engage.events.catalogue.agreements import AgreementBreached
from engage.events.catalogue.deliveries import DeliveryReceived, DeliveryRejected
from engage.events.catalogue.disputes import DisputeEscalated, DisputeOpened
from engage.events.catalogue.invoices import InvoiceOverdue, InvoicePaid
from engage.events.catalogue.service_levels import ServiceLevelBreached
from engage.testing.events import happened, moment
from engage.testing.rules import given, requested, skipped
from streams.partners.trust_falling import rule

REBUILD = "rebuild trust"


def arrival(at, delivery, promised="2026-02-01", **more):
    data = DeliveryReceived(delivery_id=delivery, promised=moment(promised), units_ordered=1, units_received=1)
    return happened(data, at=at, **more)


def late(*names, at="2026-03-01"):
    return [arrival(at, name) for name in names]


def breach(at, agreement="ag-1", **more):
    data = AgreementBreached(agreement_id=agreement, term="on-time", measured=0.8, limit=0.9)
    return happened(data, at=at, **more)


def disputed(at, dispute="x-1", **more):
    return happened(DisputeOpened(dispute_id=dispute, topic="price"), at=at, **more)


def test_what_went_wrong_adds_up_until_the_manager_hears_of_it():
    (
        given(rule, *late("d-1", "d-2"), disputed("2026-03-01"))
        .then_nothing()
        .when(breach("2026-03-01"))
        .then(
            requested(
                REBUILD,
                about="trust",
                purpose="partnership",
                priority="high",
                channels=["manager"],
                why="Trust stands at 44 of 100. Since 2026-03-01 breaches: 1, disputes: 1, late deliveries: 2.",
            )
        )
        .when(disputed("2026-03-02", "x-2"), *late("d-3", "d-4", at="2026-03-03"), time="2026-12-31")
        .then_nothing()
    )


def test_every_kind_of_disappointment_counts_whoever_caused_it():
    (
        given(
            rule,
            happened(DeliveryRejected(delivery_id="d-1"), at="2026-03-01"),
            happened(InvoiceOverdue(invoice_id="i-1", direction="payable"), at="2026-03-01"),
            happened(InvoicePaid(invoice_id="i-2", paid=1.0, due=moment("2026-02-01")), at="2026-03-01"),
            happened(DisputeEscalated(dispute_id="x-1"), at="2026-03-01"),
        )
        .then_nothing()
        .when(happened(ServiceLevelBreached(service="uptime", measured=1, limit=2, unit="share"), at="2026-03-01"))
        .then(
            requested(
                REBUILD,
                why="Trust stands at 38 of 100. Since 2026-03-01 breaches: 1, escalations: 1, late payments: 2, "
                "rejected deliveries: 1.",
            )
        )
    )


def test_what_is_in_time_or_no_more_than_a_day_late_harms_nobody():
    in_time = [arrival("2026-02-02", f"d-{n}") for n in range(20)]
    paid = [
        happened(InvoicePaid(invoice_id=f"i-{n}", paid=1.0, due=moment("2026-02-01")), at="2026-02-02")
        for n in range(20)
    ]
    undated = [happened(InvoicePaid(invoice_id=f"u-{n}", paid=1.0), at="2026-02-02") for n in range(20)]
    story = given(rule, *in_time, *paid, *undated).then_nothing()
    assert story.state(rule).harms == []


def test_what_lies_long_ago_has_faded():
    given(rule, *late("d-1", "d-2", "d-3", "d-4"), *late("d-5", "d-6", at="2026-06-01")).then_nothing()
    given(rule, *late("d-1", "d-2", "d-3", "d-4")).when(*late("d-5", "d-6", at="2026-03-05")).then(requested(REBUILD))


def test_trust_that_was_regained_may_fall_again():
    (
        given(rule, *late("d-1", "d-2", "d-3", "d-4", "d-5"))
        .when(*late("d-6", at="2026-03-02"))
        .then(requested(REBUILD))
        .when(*late("d-7", "d-8", "d-9", at="2026-04-15"))
        .then_nothing()
        .when(*late("e-1", "e-2", "e-3", "e-4", "e-5", at="2026-10-01"))
        .then(requested(REBUILD))
    )


def test_the_same_disappointment_counts_once():
    overdue = happened(InvoiceOverdue(invoice_id="i-1", direction="receivable"), at="2026-03-01")
    paid_late = happened(InvoicePaid(invoice_id="i-1", paid=1.0, due=moment("2026-02-01")), at="2026-03-05")
    level = ServiceLevelBreached(service="s", measured=1, limit=2, unit="share", agreement_id="ag-1", term="on-time")
    story = given(
        rule,
        *late("d-1"),
        arrival("2026-03-01", "d-1", id="again"),
        breach("2026-03-01T08:00"),
        happened(level, at="2026-03-01T09:00"),
        happened(overdue.data, at="2026-03-02"),
        paid_late,
    ).then_nothing()
    assert len(story.state(rule).harms) == 3


def test_the_order_in_which_we_learn_of_it_makes_no_difference():
    known = [*late("d-1", "d-2"), disputed("2026-02-20"), breach("2026-02-25")]
    states = []
    for order in (known, known[::-1]):
        told = [
            happened(event.data, at=event.time, recorded=f"2026-03-02T0{number}:00")
            for number, event in enumerate(order)
        ]
        states.append(given(rule, *told).state(rule))
    assert states[0] == states[1]
    assert states[0].fallen


def test_trust_that_fell_long_before_we_learnt_of_it_is_stale_news_or_faded():
    old = [arrival("2026-03-01", f"d-{n}", recorded="2026-06-01") for n in range(30)]
    given(rule).when(*old).then(skipped(REBUILD, reason="stale"))
    given(rule).when(*old[:10]).then_nothing()


def test_no_more_than_forty_disappointments_are_remembered():
    story = given(rule, *late(*[f"d-{n}" for n in range(60)]))
    assert len(story.state(rule).harms) == 40
