"""What moves a partner's health: deliveries, quality, answers, agreements, disputes, invoices."""

from typing import Any

import pytest

from engage.events.catalogue.agreements import AgreementBreached, AgreementRenewed, AgreementSigned
from engage.events.catalogue.deliveries import DeliveryReceived, DeliveryRejected, QualityInspected
from engage.events.catalogue.disputes import (
    DisputeAcknowledged,
    DisputeEscalated,
    DisputeOpened,
    DisputeSettled,
    SettlementProposed,
)
from engage.events.catalogue.invoices import InvoiceOverdue, InvoicePaid, PaymentDisputed
from engage.events.catalogue.service_levels import RequestAnswered, ServiceLevelMeasured
from engage.events.envelope import Event
from engage.testing.events import happened, moment
from engage.testing.projections import given
from projections.shared.account_health import AccountHealth, account_health

DUE = moment("2026-01-10")


def health(*events: Event[Any]) -> AccountHealth:
    return given(account_health, *events).rows["acc-1"]


def delivery(name: str, at: str, *, received: int = 100) -> Event[Any]:
    data = DeliveryReceived(delivery_id=name, promised=DUE, units_ordered=100, units_received=received)
    return happened(data, at=at)


@pytest.mark.parametrize(
    ("at", "received", "mark"),
    [("2026-01-09", 100, 100.0), ("2026-01-13", 100, 50.0), ("2026-01-10", 80, 80.0), ("2026-01-10", 120, 100.0)],
)
def test_a_delivery_is_worth_what_came_and_when(at: str, received: int, mark: float) -> None:
    assert health(delivery("d-1", at, received=received)).delivery == pytest.approx(mark)


def test_a_delivery_sent_back_is_none() -> None:
    back = happened(DeliveryRejected(delivery_id="d-1"), at="2026-01-10")
    assert health(delivery("d-1", "2026-01-10"), back).delivery == pytest.approx(0.0)


def test_two_in_a_hundred_defective_halve_quality() -> None:
    row = health(happened(QualityInspected(delivery_id="d-1", inspected=100, defective=2), at="2026-01-10"))
    assert row.quality == pytest.approx(50.0)


def test_a_partner_that_answers_in_two_days_is_half_responsive() -> None:
    row = health(happened(RequestAnswered(request_id="r-1", waited=2 * 86_400), at="2026-01-10"))
    assert row.responsiveness == pytest.approx(50.0)


def test_a_dispute_weighs_less_the_nearer_it_is_to_its_end() -> None:
    course = [
        happened(DisputeOpened(dispute_id="x-1", topic="price"), at="2026-01-01"),
        happened(DisputeAcknowledged(dispute_id="x-1"), at="2026-01-02"),
        happened(SettlementProposed(dispute_id="x-1"), at="2026-01-03"),
        happened(DisputeSettled(dispute_id="x-1"), at="2026-01-04"),
    ]
    seen = [health(*course[: n + 1]).disputes for n in range(4)]
    assert seen == [pytest.approx(mark) for mark in (20.0, 35.0, 50.0, 80.0)]
    assert health(course[0], happened(DisputeEscalated(dispute_id="x-1"), at="2026-01-01")).disputes == 10.0


def test_one_dispute_among_many_deliveries_is_no_disaster() -> None:
    dispute = happened(DisputeOpened(dispute_id="x-1", topic="price"), at="2026-01-10")
    many = health(*(delivery(f"d-{n}", "2026-01-10") for n in range(50)), dispute)
    assert many.disputes == pytest.approx((50 * 0.2 * 100 + 20) / 11)
    assert health(delivery("d-1", "2026-01-10")).disputes is None


def test_a_breach_counts_against_whoever_broke_it() -> None:
    broken = AgreementBreached(agreement_id="a-1", term="lead time", measured=9, limit=5)
    ours = AgreementBreached(agreement_id="a-1", term="payment", measured=40, limit=30, by="us")
    assert health(happened(broken, at="2026-01-01")).compliance == 0.0
    assert health(happened(ours, at="2026-01-01")).compliance is None


def test_an_agreement_kept_and_renewed_shows_compliance() -> None:
    signed = AgreementSigned(agreement_id="a-1", title="Supply", starts=moment("2025-01-01"), ends=DUE)
    renewed = happened(AgreementRenewed(agreement_id="a-1", ends=moment("2027-01-10")), at="2026-01-01")
    assert health(happened(signed, at="2026-01-01")).compliance is None
    assert health(happened(signed, at="2026-01-01"), renewed).compliance == 100.0


def test_a_service_level_is_kept_on_its_good_side() -> None:
    def level(measured: float, direction: Any) -> float | None:
        data = ServiceLevelMeasured(service="api", measured=measured, limit=10, unit="ms", direction=direction)
        return health(happened(data, at="2026-01-01")).compliance

    assert (level(9, "at_most"), level(11, "at_most"), level(9, "at_least")) == (100.0, 0.0, 0.0)


@pytest.mark.parametrize(("paid_at", "mark"), [("2026-01-10", 100.0), ("2026-01-24", 50.0), ("2026-02-07", 25.0)])
def test_invoices_are_judged_by_the_delay(paid_at: str, mark: float) -> None:
    paid = happened(InvoicePaid(invoice_id="i-1", paid=10.0, due=DUE), at=paid_at)
    assert health(paid).payments == pytest.approx(mark)


def test_half_a_payment_is_worth_half() -> None:
    paid = happened(InvoicePaid(invoice_id="i-1", paid=10.0, outstanding=10.0, due=DUE), at="2026-01-10")
    assert health(paid).payments == pytest.approx(50.0)


def test_an_overdue_invoice_stays_a_mark_against_them_when_it_is_paid_without_a_due_date() -> None:
    overdue = happened(InvoiceOverdue(invoice_id="i-1", days_overdue=14), at="2026-01-24")
    paid = happened(InvoicePaid(invoice_id="i-1", paid=10.0), at="2026-01-25")
    assert health(overdue).payments == pytest.approx(25.0)
    assert health(overdue, paid).payments == pytest.approx(50.0)
    assert health(paid).payments is None


def test_money_withheld_on_purpose_is_worse_than_late() -> None:
    assert health(happened(PaymentDisputed(invoice_id="i-1"), at="2026-01-01")).payments == pytest.approx(20.0)


def test_a_good_supplier_thrives_and_a_slipping_one_does_not() -> None:
    good = [delivery(f"d-{n}", "2026-01-10") for n in range(6)]
    bad = [delivery(f"d-{n}", "2026-01-18", received=70) for n in range(6)]
    assert health(*good).band == "thriving"
    assert health(*bad).band == "at_risk"
    assert health(*good).purchasing is None
