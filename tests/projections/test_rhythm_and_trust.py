"""A customer's own rhythm, and whether a partner and we keep our word: what moves them, and what leaves them alone."""

from datetime import timedelta
from itertools import permutations
from typing import Any, Literal

import pytest

from engage.events.catalogue.agreements import AgreementBreached, AgreementSigned, Term
from engage.events.catalogue.commerce import OrderCompleted
from engage.events.catalogue.deliveries import DeliveryPostponed, DeliveryReceived
from engage.events.catalogue.disputes import DisputeEscalated, DisputeSettled
from engage.events.catalogue.invoices import InvoiceOverdue, InvoicePaid
from engage.events.catalogue.profile import AccountIdentified
from engage.events.catalogue.service_levels import ServiceLevelBreached
from engage.events.envelope import Event
from engage.testing.events import happened, moment
from engage.testing.projections import given
from projections.shared.account_health import AccountHealth, account_health, explain, score_at

DUE = moment("2026-01-10")


def health(*events: Event[Any]) -> AccountHealth:
    return given(account_health, *events).rows["acc-1"]


def order(order_id: str, at: str) -> Event[Any]:
    return happened(OrderCompleted(order_id=order_id, total=30.0), at=at)


MONTHLY = [order("o-1", "2026-01-01"), order("o-2", "2026-01-31"), order("o-3", "2026-03-02")]


def test_one_purchase_day_is_no_rhythm() -> None:
    assert health(order("o-1", "2026-01-01T08:00"), order("o-2", "2026-01-01T20:00")).rhythm is None


@pytest.mark.parametrize(("days", "value"), [(0, 100.0), (30, 100.0), (60, 50.0), (90, 25.0)])
def test_a_rhythm_is_kept_for_one_gap_and_halves_with_each_further_one(days: int, value: float) -> None:
    row = health(*MONTHLY)
    assert score_at(row, moment("2026-03-02") + timedelta(days=days)).components["rhythm"] == pytest.approx(value)


def test_purchases_make_the_same_rhythm_in_whatever_order_they_come() -> None:
    late = [happened(event.data, at=event.time, recorded="2026-03-02") for event in MONTHLY]
    assert {health(*some).rhythm for some in permutations(late)} == {health(*MONTHLY).rhythm}


def test_rhythm_stands_beside_the_score_and_says_so() -> None:
    row = health(*MONTHLY)
    purchasing, rhythm = explain(row, moment("2026-05-01"))
    assert (purchasing.component, purchasing.weight) == ("purchasing", 1.0)
    assert (rhythm.component, rhythm.weight) == ("rhythm", 0.0)
    assert rhythm.words.endswith("fair, 50 of 100 (about every 30 days, the last 60 days ago)")
    [moved] = rhythm.events
    assert moved.event_id == MONTHLY[-1].id
    assert moved.contribution == pytest.approx(50.0 - 25.0)


def test_no_purchase_lowers_a_rhythm_however_long_ago_it_was() -> None:
    row = health(*MONTHLY[:2])
    for later in ("2026-02-01", "2026-06-01", "2030-01-01"):
        [moved] = explain(row, moment(later))[-1].events
        assert moved.contribution >= 0.0


def received(name: str, at: str) -> Event[Any]:
    return happened(DeliveryReceived(delivery_id=name, promised=DUE, units_ordered=10, units_received=8), at=at)


def test_a_kept_word_is_a_whole_one_however_little_came() -> None:
    row = health(received("d-1", "2026-01-11"))
    assert row.trust == pytest.approx(100.0)
    assert row.delivery == pytest.approx(80.0 * 2 ** (-1 / 3))


def test_a_broken_word_weighs_as_three_kept_ones() -> None:
    kept = [
        happened(InvoicePaid(invoice_id=f"i-{n}", paid=5.0, due=moment("2026-01-12")), at="2026-01-12")
        for n in range(3)
    ]
    assert health(*kept, received("d-9", "2026-01-12")).trust == pytest.approx(50.0)


def test_a_promise_taken_back_in_time_is_half_kept() -> None:
    moved = happened(DeliveryPostponed(delivery_id="d-1", promised=moment("2026-01-10")), at="2026-01-10")
    row = health(moved, received("d-1", "2026-01-10"))
    assert row.trust == pytest.approx(50.0)
    assert row.delivery == pytest.approx(80.0)


def term(name: str, kind: Literal["expectation", "boundary"]) -> Term:
    return Term(name=name, kind=kind, measure=name, limit=5, direction="at_most", unit="days")


def test_a_crossed_boundary_weighs_twice_a_missed_expectation_whoever_crossed_it() -> None:
    signed = happened(
        AgreementSigned(
            agreement_id="a-1",
            title="Supply",
            starts=moment("2025-01-01"),
            ends=moment("2027-01-01"),
            terms=(term("lead time", "expectation"), term("resale", "boundary")),
        ),
        at="2026-01-01",
    )
    kept = [
        happened(InvoicePaid(invoice_id=f"i-{n}", paid=5.0, due=moment("2026-01-02")), at="2026-01-02")
        for n in range(6)
    ]

    def after(name: str, by: Literal["us", "them"]) -> float | None:
        data = AgreementBreached(agreement_id="a-1", term=name, measured=9, limit=5, by=by)
        return health(signed, *kept, happened(data, at="2026-01-02")).trust

    assert after("lead time", "them") == pytest.approx(100 * 6 / 9)
    assert after("resale", "them") == after("resale", "us") == pytest.approx(50.0)


def test_a_breach_that_two_report_is_one() -> None:
    breach = happened(AgreementBreached(agreement_id="a-1", term="t", measured=9, limit=5), at="2026-01-02")
    level = ServiceLevelBreached(service="s", measured=9, limit=5, unit="days", agreement_id="a-1", term="t")
    again = happened(level, at="2026-01-02T05:00")
    assert health(breach, again).evidence["trust"] == health(breach).evidence["trust"]


def test_an_invoice_is_one_word_and_late_once_for_all() -> None:
    overdue = happened(InvoiceOverdue(invoice_id="i-1", days_overdue=9), at="2026-01-10")
    paid = happened(InvoicePaid(invoice_id="i-1", paid=5.0, due=moment("2026-01-01")), at="2026-01-12")
    assert health(overdue, paid).evidence["trust"].count == 1


def test_what_was_settled_over_both_heads_stays_a_broken_word() -> None:
    escalated = happened(DisputeEscalated(dispute_id="x-1"), at="2026-01-01")
    settled = happened(DisputeSettled(dispute_id="x-1"), at="2026-01-02")
    assert health(settled).trust == 100.0
    assert health(escalated, settled).trust == 0.0


def test_customers_invoices_are_told_under_payments() -> None:
    named = happened(AccountIdentified(kind="customer"), at="2026-01-01")
    row = health(named, happened(InvoiceOverdue(invoice_id="i-1"), at="2026-01-01"))
    assert row.trust is None
    assert row.payments == pytest.approx(50.0)
