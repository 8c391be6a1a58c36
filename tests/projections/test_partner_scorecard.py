"""A partner's record in plain numbers: what counts, what counts once, and how the quarters compare."""

from typing import Any

import pytest

from engage.events.catalogue.agreements import AgreementBreached
from engage.events.catalogue.deliveries import DeliveryReceived, DeliveryRejected, QualityInspected
from engage.events.catalogue.disputes import DisputeEscalated, DisputeOpened, DisputeSettled
from engage.events.catalogue.invoices import InvoiceOverdue, InvoicePaid
from engage.events.catalogue.profile import AccountIdentified
from engage.events.catalogue.service_levels import RequestAnswered, ServiceLevelMeasured
from engage.events.envelope import Event
from engage.testing.events import happened, moment
from engage.testing.projections import given
from projections.partners.partner_scorecard import partner_scorecard

SUPPLIER = happened(AccountIdentified(kind="supplier"), at="2026-01-01")


def delivery(name: str, at: str, *, promised: str | None = None, units: int = 10) -> Event[Any]:
    data = DeliveryReceived(delivery_id=name, promised=moment(promised or at), units_ordered=10, units_received=units)
    return happened(data, at=at)


def test_deliveries_count_on_time_and_in_full() -> None:
    told = given(
        partner_scorecard,
        delivery("d-1", "2026-01-05"),
        delivery("d-2", "2026-01-09", promised="2026-01-07"),
        delivery("d-3", "2026-01-10", units=9),
        delivery("d-4", "2026-01-11", promised="2026-01-10"),
    )
    told.then("acc-1", deliveries=4, deliveries_on_time=3, deliveries_in_full=3, on_time_in_full=2)
    told.then("acc-1", on_time_in_full_share=0.5, last_delivery=moment("2026-01-11"))


def test_a_delivery_counts_once_and_not_in_full_when_it_was_sent_back() -> None:
    more = delivery("d-1", "2026-01-05", units=4), delivery("d-1", "2026-01-05", units=10)
    told = given(partner_scorecard, *more).then("acc-1", deliveries=1, on_time_in_full=1)
    told.when(happened(DeliveryRejected(delivery_id="d-1"), at="2026-01-06"))
    told.then("acc-1", deliveries=1, deliveries_on_time=1, on_time_in_full=0, on_time_in_full_share=0.0)


def test_quality_is_counted_in_pieces_per_million() -> None:
    looks = [
        happened(QualityInspected(delivery_id=f"d-{n}", inspected=500, defective=n), at="2026-01-05") for n in (0, 1)
    ]
    given(partner_scorecard, *looks).then("acc-1", inspections=2, inspected=1000, defective=1, defects_ppm=1000.0)


def test_half_of_the_answers_came_within_the_median() -> None:
    waits = [
        happened(RequestAnswered(request_id=f"r-{n}", waited=3600 * hours), at="2026-01-05")
        for n, hours in enumerate((1, 2, 90))
    ]
    given(partner_scorecard, *waits).then("acc-1", answers=3, answer_hours_p50=2.0)
    row = given(partner_scorecard, *(waits * 100)).rows["acc-1"]
    assert (row.answers, len(row.answer_hours)) == (300, 50)


def test_disputes_are_open_until_settled_and_held_against_deliveries() -> None:
    told = given(
        partner_scorecard,
        *(delivery(f"d-{n}", "2026-01-05") for n in range(50)),
        happened(DisputeOpened(dispute_id="x-1", topic="price"), at="2026-01-06"),
        happened(DisputeOpened(dispute_id="x-1", topic="price"), at="2026-01-06"),
        happened(DisputeEscalated(dispute_id="x-1"), at="2026-01-07"),
    )
    told.then("acc-1", disputes_opened=1, disputes_open=1, disputes_escalated=1, disputes_per_100_deliveries=2.0)
    told.when(happened(DisputeSettled(dispute_id="x-1"), at="2026-01-08")).then("acc-1", disputes_open=0)


def test_levels_and_breaches_are_theirs() -> None:
    good = ServiceLevelMeasured(service="s", measured=0.99, limit=0.98, unit="share")
    bad = ServiceLevelMeasured(service="s", measured=0.97, limit=0.98, unit="share")
    theirs = AgreementBreached(agreement_id="a-1", term="t", measured=1, limit=2, by="them")
    ours = AgreementBreached(agreement_id="a-1", term="u", measured=1, limit=2, by="us")
    told = given(partner_scorecard, *(happened(one, at="2026-01-05") for one in (good, bad, theirs, ours)))
    told.then("acc-1", levels_measured=2, levels_kept=1, levels_kept_share=0.5, breaches=1, words=2, trust=0.0)


def test_an_invoice_is_one_however_it_is_paid_and_late_once_it_was_overdue() -> None:
    due = moment("2026-01-10")
    told = given(
        partner_scorecard,
        SUPPLIER,
        happened(InvoicePaid(invoice_id="i-1", paid=5.0, outstanding=5.0, due=due), at="2026-01-05"),
        happened(InvoicePaid(invoice_id="i-1", paid=5.0, due=due), at="2026-01-06"),
        happened(InvoiceOverdue(invoice_id="i-2"), at="2026-01-20"),
        happened(InvoicePaid(invoice_id="i-2", paid=5.0), at="2026-01-21"),
    )
    told.then("acc-1", invoices=2, invoices_on_time=1, invoices_on_time_share=0.5)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (delivery("d-1", "2026-03-31"), delivery("d-2", "2026-04-20", promised="2026-04-01")),
        (delivery("d-2", "2026-04-20", promised="2026-04-01"), delivery("d-1", "2026-03-31")),
    ],
)
def test_the_last_quarter_is_held_against_the_one_before(before: Event[Any], after: Event[Any]) -> None:
    told = given(partner_scorecard, before).then("acc-1", on_time_in_full_trend=None)
    told.when(happened(after.data, at=after.time, recorded="2026-04-20"))
    told.then("acc-1", on_time_in_full_trend=-1.0, defects_trend_ppm=None)
    assert [one.quarter for one in told.rows["acc-1"].quarters] == ["2026-Q1", "2026-Q2"]


def test_five_quarters_are_kept() -> None:
    row = given(partner_scorecard, *(delivery(f"d-{n}", f"{2020 + n}-01-05") for n in range(7))).rows["acc-1"]
    assert [one.quarter for one in row.quarters] == [f"{year}-Q1" for year in range(2022, 2027)]
    assert (row.deliveries, len(row.deliveries_lately)) == (7, 7)


def test_customers_have_no_scorecard() -> None:
    customer = happened(AccountIdentified(kind="customer"), at="2026-01-01")
    late = happened(InvoiceOverdue(invoice_id="i-1"), at="2026-01-05")
    nameless = happened(AccountIdentified(), at="2026-01-01", subject="acc-2")
    assert given(partner_scorecard, customer, late, nameless).rows == {}
