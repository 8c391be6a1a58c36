"""Agreements: their terms against what was measured, and the days on which they begin, fall due and lapse."""

from typing import Any

import pytest

from engage.events.catalogue.agreements import (
    AgreementBreached,
    AgreementCountered,
    AgreementEnded,
    AgreementProposed,
    AgreementRenewed,
    AgreementSigned,
    Term,
)
from engage.events.catalogue.disputes import DisputeOpened
from engage.events.catalogue.invoices import InvoiceIssued
from engage.events.catalogue.negotiations import NegotiationClosed
from engage.events.catalogue.service_levels import ServiceLevelMeasured
from engage.events.envelope import Event
from engage.testing.events import happened, moment
from engage.testing.projections import given
from projections.partners.agreements import agreements, days_to_renewal

KEY = "acc-1|a-1"
UPTIME = Term(name="uptime", kind="expectation", measure="availability", limit=0.99, direction="at_least", unit="share")


def signed(at: str = "2026-01-01", ends: str = "2027-01-01", notice_days: int = 0) -> Event[Any]:
    data = AgreementSigned(
        agreement_id="a-1",
        title="Hosting",
        starts=moment("2026-02-01"),
        ends=moment(ends),
        notice_days=notice_days,
        terms=(UPTIME,),
    )
    return happened(data, at=at)


def level(value: float, at: str, recorded: str | None = None) -> Event[Any]:
    data = ServiceLevelMeasured(
        service="availability", measured=value, limit=0.99, unit="share", agreement_id="a-1", term="uptime"
    )
    return happened(data, at=at, recorded=recorded or at)


def test_an_agreement_goes_through_its_life_on_its_days() -> None:
    proposed = happened(AgreementProposed(agreement_id="a-1", title="Hosting", by="them"), at="2025-11-01")
    countered = happened(AgreementCountered(agreement_id="a-1", terms=(UPTIME,), by="us"), at="2025-12-01")
    told = given(agreements, proposed).then(KEY, status="proposed", proposed_by="them", terms=[])
    told.when(countered).then(KEY, status="countered", terms_agreed=1)
    told.when(signed()).then(KEY, status="signed", account="acc-1", agreement_id="a-1")
    told.until("2026-02-01").then(KEY, status="running", status_since=moment("2026-02-01"))
    told.until("2026-10-02").then(KEY, status="running", renewal_from=moment("2026-10-03"))
    told.until("2026-10-04").then(KEY, status="renewal_due", status_since=moment("2026-10-03"))
    told.until("2027-01-02").then(KEY, status="lapsed", status_since=moment("2027-01-01"))
    told.when(happened(AgreementRenewed(agreement_id="a-1", ends=moment("2028-01-01")), at="2027-01-05"))
    told.then(KEY, status="running", renewals=1, terms_agreed=1)
    told.when(happened(AgreementEnded(agreement_id="a-1", reason="terminated", by="us"), at="2027-03-01"))
    told.then(KEY, status="ended", ended_reason="terminated", ended_by="us").until("2029-01-01").then(
        KEY, status="ended"
    )


def test_notice_moves_the_day_by_which_to_renew() -> None:
    row = given(agreements, signed(notice_days=120)).then(KEY, renew_by=moment("2026-09-03")).rows[KEY]
    assert row.renewal_from == moment("2026-08-04")
    assert days_to_renewal(row, moment("2026-09-01T12:00")) == 1
    assert days_to_renewal(row, moment("2026-09-05")) == -2


def test_a_term_stands_against_its_limit_since_it_went_over() -> None:
    told = given(agreements, signed()).then(KEY, terms_agreed=1, terms_measured=0, terms_breached=0)
    [term] = told.when(level(0.999, "2026-03-01"), level(0.995, "2026-03-08")).rows[KEY].terms
    assert (term.state, term.measured, term.limit, term.since) == ("within", 0.995, 0.99, moment("2026-03-01"))
    [term] = told.when(level(0.97, "2026-03-15"), level(0.96, "2026-03-22")).then(KEY, terms_breached=1).rows[KEY].terms
    assert (term.state, term.measured, term.since) == ("breached", 0.96, moment("2026-03-15"))
    told.when(level(0.999, "2026-03-02", recorded="2026-03-23")).then(KEY, terms_breached=1)
    told.when(level(0.999, "2026-03-29")).then(KEY, terms_breached=0, terms_measured=1)


@pytest.mark.parametrize(("by", "theirs", "ours"), [("them", 1, 0), ("us", 0, 1), (None, 1, 0)])
def test_a_breach_is_told_by_the_side_that_broke_it(by: Any, theirs: int, ours: int) -> None:
    breach = AgreementBreached(agreement_id="a-1", term="lead time", measured=9, limit=5, unit="days", by=by)
    told = given(agreements, signed(), happened(breach, at="2026-03-01"))
    told.then(KEY, breaches_theirs=theirs, breaches_ours=ours, terms_agreed=2, terms_breached=1)
    assert told.rows[KEY].terms[1].by == by


def test_terms_agreed_anew_forget_what_was_measured_against_another_limit() -> None:
    stricter = Term(
        name="uptime", kind="boundary", measure="availability", limit=0.999, direction="at_least", unit="share"
    )
    renewal = happened(
        AgreementRenewed(agreement_id="a-1", ends=moment("2028-01-01"), terms=(stricter,)), at="2026-11-01"
    )
    told = given(agreements, signed(), level(0.995, "2026-03-01")).then(KEY, terms_measured=1)
    told.when(renewal).then(KEY, terms_measured=0, terms_agreed=1)


def test_a_renewal_told_twice_is_one_and_a_late_signature_takes_nothing_back() -> None:
    renewal = AgreementRenewed(agreement_id="a-1", ends=moment("2028-01-01"))
    told = given(agreements, happened(renewal, at="2026-12-01"), happened(renewal, at="2026-12-02"))
    told.then(KEY, renewals=1, title=None)
    late = happened(signed().data, at="2026-01-01", recorded="2026-12-03")
    told.when(late).then(KEY, ends=moment("2028-01-01"), title="Hosting", signed_at=moment("2026-01-01"))


def test_what_it_is_worth() -> None:
    deal = NegotiationClosed(negotiation_id="n-1", outcome="agreed", value=5000.0, currency="EUR", agreement_id="a-1")
    invoice = InvoiceIssued(
        invoice_id="i-1",
        direction="payable",
        total=100.0,
        currency="EUR",
        due=moment("2026-05-01"),
        agreement_id="a-1",
    )
    dispute = DisputeOpened(dispute_id="x-1", topic="price", agreement_id="a-1")
    told = given(agreements, signed(), *(happened(one, at="2026-04-01") for one in (deal, invoice, invoice, dispute)))
    told.then(KEY, value=5000.0, currency="EUR", invoiced={"EUR": 100.0}, disputes=1)


def test_what_names_no_agreement_makes_no_row() -> None:
    dispute = happened(DisputeOpened(dispute_id="x-1", topic="price"), at="2026-01-01")
    assert given(agreements, dispute).rows == {}
