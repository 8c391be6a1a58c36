"""Which agreements bind us and our partners, is each of their terms kept, and what comes up for renewal?

A term is measured by what names it, a service level of the agreement or a reported breach, and by our own deliveries
and inspections (``delivered_terms``). An agreement moves on by itself, on its days.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Struct, field

from engage.events.catalogue.agreements import (
    AgreementBreached,
    AgreementCountered,
    AgreementEnded,
    AgreementProposed,
    AgreementRenewed,
    AgreementSigned,
    Party,
    Term,
)
from engage.events.catalogue.disputes import DisputeOpened
from engage.events.catalogue.invoices import InvoiceIssued
from engage.events.catalogue.negotiations import NegotiationClosed
from engage.events.catalogue.service_levels import ServiceLevelBreached, ServiceLevelMeasured
from engage.events.catalogue.term import AgreementTermMeasured
from engage.events.envelope import EPOCH, Event
from engage.views.projection import Projection
from projections.partners.terms import TermKept, agreed, is_good, measure, named

AgreementStatus = Literal["proposed", "countered", "signed", "running", "renewal_due", "lapsed", "ended"]
LEAD, MARGIN = timedelta(days=90), timedelta(days=30)
"""Renewal is due ``LEAD`` before the end, or ``MARGIN`` before the last day of notice if that is earlier; never in the
first half of a term. ``streams/partners/agreement_renewal_due.py`` asks by the same days unless it is set otherwise."""
_INVOICES_KEPT = 20


class AgreementRow(Struct):
    """One agreement between us and an account, from its proposal to its end.

    agreement: the account's id and the agreement's, with a bar between
    account: the account's id: the other party
    agreement_id: the agreement's id in the upstream system
    title: what it is called; null until it was said
    proposed_by: us or them; null when nobody said who
    status: proposed, countered, signed (to begin), running, renewal_due, lapsed (over, not renewed) or ended
    status_since: when that began, in the log's time
    signed_at: when it was signed; null before
    starts: when it begins, or began
    ends: when it ends as agreed last
    notice_days: how many days before its end notice has to be given
    renew_by: the last moment at which notice can be given: until then a renewal has to be talked about
    renewal_from: when renewal falls due
    renewals: how often it was renewed
    renewed_at: when it was renewed last
    ended_at: when it was ended; null when it only ran out, or runs
    ended_reason: why it was ended, a short code
    ended_by: us or them
    terms: each term's measured value against its limit, whether it is within or breached, and since when
    terms_agreed: number of terms
    terms_measured: number of terms that are within or breached
    terms_breached: number of terms that are breached now
    breaches_theirs: number of breaches that they are answerable for, or nobody said who
    breaches_ours: number of breaches that we are answerable for
    last_breach: when a term was last found breached
    disputes: number of disputes that were opened about it
    value: what it is worth, as negotiated last, in major units of its currency; null when nobody said
    currency: the currency of value
    invoiced: sums invoiced under it, in both directions, by currency, in major units
    agreed_last: when what is known of its period was said
    invoices_seen: the latest invoices counted, so that none counts twice
    """

    agreement: str
    account: str = ""
    agreement_id: str = ""
    title: str | None = None
    proposed_by: Party | None = None
    status: AgreementStatus = "proposed"
    status_since: datetime | None = None
    signed_at: datetime | None = None
    starts: datetime | None = None
    ends: datetime | None = None
    notice_days: int = 0
    renew_by: datetime | None = None
    renewal_from: datetime | None = None
    renewals: int = 0
    renewed_at: datetime | None = None
    ended_at: datetime | None = None
    ended_reason: str | None = None
    ended_by: Party | None = None
    terms: list[TermKept] = field(default_factory=list)
    terms_agreed: int = 0
    terms_measured: int = 0
    terms_breached: int = 0
    breaches_theirs: int = 0
    breaches_ours: int = 0
    last_breach: datetime | None = None
    disputes: int = 0
    value: float | None = None
    currency: str | None = None
    invoiced: dict[str, float] = field(default_factory=dict)
    agreed_last: datetime = EPOCH
    invoices_seen: list[str] = field(default_factory=list)


def _agreement(event: Event[Any]) -> str | None:
    named = event.data.agreement_id
    return None if named is None else f"{event.subject}|{named}"


agreements = Projection(
    "agreements",
    version=1,
    row=AgreementRow,
    key=_agreement,
    indexes=("account", ("status", "renew_by"), "terms_breached"),
)


@agreements.on(AgreementProposed)
def proposed(row: AgreementRow, event: Event[AgreementProposed]) -> AgreementRow:
    """Somebody would have it; it is in the books from here on."""
    data = _named(row, event)
    row.title = row.title or data.title
    row.proposed_by = row.proposed_by or data.by
    if row.signed_at is None and event.time >= row.agreed_last:
        row.starts, row.ends, row.notice_days, row.agreed_last = data.starts, data.ends, data.notice_days, event.time
        _agree(row, data.terms)
    return _standing(row, event.now)


@agreements.on(AgreementCountered)
def countered(row: AgreementRow, event: Event[AgreementCountered]) -> AgreementRow:
    """They would have it otherwise."""
    data = _named(row, event)
    if row.signed_at is None and event.time >= row.agreed_last:
        row.starts, row.ends, row.agreed_last = data.starts or row.starts, data.ends or row.ends, event.time
        _agree(row, data.terms)
        _move(row, "countered", event.now)
    return _standing(row, event.now)


@agreements.on(AgreementSigned)
def signed(row: AgreementRow, event: Event[AgreementSigned]) -> AgreementRow:
    """It binds both, with these terms."""
    data = _named(row, event)
    row.title = data.title
    first = row.signed_at is None
    row.signed_at = row.signed_at or event.time
    if (first and row.renewals == 0) or event.time >= row.agreed_last:
        row.starts, row.ends, row.notice_days, row.agreed_last = data.starts, data.ends, data.notice_days, event.time
        _agree(row, data.terms)
        _revive(row, event.time)
    row.starts = row.starts or data.starts
    return _standing(row, event.now)


@agreements.on(AgreementRenewed)
def renewed(row: AgreementRow, event: Event[AgreementRenewed]) -> AgreementRow:
    """It runs on; what is not said anew stays. The same renewal told twice is one."""
    data = _named(row, event)
    if row.ends == data.ends and row.renewals:
        return row
    row.renewals += 1
    row.renewed_at = max(row.renewed_at or event.time, event.time)
    if event.time >= row.agreed_last:
        row.ends, row.agreed_last = data.ends, event.time
        row.notice_days = row.notice_days if data.notice_days is None else data.notice_days
        if data.terms is not None:
            _agree(row, data.terms)
        _revive(row, event.time)
    return _standing(row, event.now)


@agreements.on(AgreementEnded)
def ended(row: AgreementRow, event: Event[AgreementEnded]) -> AgreementRow:
    """It binds nobody any more; news of the end of an earlier term ends no later one."""
    data = _named(row, event)
    if event.time >= row.agreed_last and row.ended_at is None:
        row.ended_at, row.ended_reason, row.ended_by = event.time, data.reason, data.by
    return _standing(row, event.now)


@agreements.on(ServiceLevelMeasured)
def measured(row: AgreementRow, event: Event[ServiceLevelMeasured]) -> AgreementRow:
    """A term of it was measured."""
    data = _named(row, event)
    if data.term is not None:
        term = named(row.terms, data.term, data.limit, data.unit, data.direction)
        good = is_good(data.measured, data.limit, data.direction)
        measure(term, data.measured, data.ends or event.time, good=good)
        _count(row)
    return row


@agreements.on(AgreementTermMeasured)
def counted(row: AgreementRow, event: Event[AgreementTermMeasured]) -> AgreementRow:
    """A term of it was measured by what was delivered."""
    data = _named(row, event)
    term = named(row.terms, data.term, data.limit, data.unit, data.direction)
    measure(term, data.measured, event.time, good=is_good(data.measured, data.limit, data.direction))
    _count(row)
    return row


@agreements.on(ServiceLevelBreached)
def level_breached(row: AgreementRow, event: Event[ServiceLevelBreached]) -> AgreementRow:
    """A level of it was missed."""
    data = _named(row, event)
    return _breach(row, event, named(row.terms, data.term or data.service, data.limit, data.unit), data.measured, None)


@agreements.on(AgreementBreached)
def breached(row: AgreementRow, event: Event[AgreementBreached]) -> AgreementRow:
    """Somebody says that a term was not kept."""
    data = _named(row, event)
    return _breach(row, event, named(row.terms, data.term, data.limit, data.unit), data.measured, data.by)


@agreements.on(DisputeOpened)
def disputed(row: AgreementRow, event: Event[DisputeOpened]) -> AgreementRow:
    """They differ about it."""
    _named(row, event)
    row.disputes += 1
    return row


@agreements.on(NegotiationClosed)
def negotiated(row: AgreementRow, event: Event[NegotiationClosed]) -> AgreementRow:
    """What it is worth to both was settled."""
    data = _named(row, event)
    if data.outcome == "agreed" and data.value is not None:
        row.value, row.currency = data.value, data.currency
    return row


@agreements.on(InvoiceIssued)
def invoiced(row: AgreementRow, event: Event[InvoiceIssued]) -> AgreementRow:
    """What is done under it, in money; an invoice written anew does not count again."""
    data = _named(row, event)
    if data.invoice_id not in row.invoices_seen:
        row.invoices_seen = [*row.invoices_seen, data.invoice_id][-_INVOICES_KEPT:]
        row.invoiced[data.currency] = round(row.invoiced.get(data.currency, 0.0) + data.total, 2)
    return row


@agreements.on_wake(lambda row: _next_day(row))
def moved_on(row: AgreementRow, moment: datetime) -> AgreementRow:
    """It began, came up for renewal, or ran out."""
    return _standing(row, moment)


def days_to_renewal(row: AgreementRow, moment: datetime) -> int | None:
    """Whole days left at ``moment`` until notice has to be given, below 0 after; None if nothing is to be renewed."""
    if row.renew_by is None or row.status in ("proposed", "countered", "ended"):
        return None
    return (row.renew_by - moment) // timedelta(days=1)


def _named(row: AgreementRow, event: Event[Any]) -> Any:
    row.account, row.agreement_id = event.subject, event.data.agreement_id
    return event.data


def _revive(row: AgreementRow, at: datetime) -> None:
    if row.ended_at is not None and row.ended_at <= at:
        row.ended_at = row.ended_reason = row.ended_by = None


def _standing(row: AgreementRow, now: datetime) -> AgreementRow:
    """The dates that follow from its period, and where it stands at ``now``."""
    row.renew_by = row.renewal_from = None
    if row.ends is not None:
        row.renew_by = row.ends - timedelta(days=min(row.notice_days, 36_500))
        lead = max(LEAD, row.ends - row.renew_by + MARGIN)
        begun = row.renewed_at or row.starts or row.ends
        row.renewal_from = max(row.ends - lead, begun + (row.ends - begun) / 2)
    _move(row, _status(row, now), now)
    return row


def _status(row: AgreementRow, now: datetime) -> AgreementStatus:
    if row.ended_at is not None:
        return "ended"
    if row.signed_at is None and not row.renewals:
        return "countered" if row.status == "countered" else "proposed"
    if row.ends is not None and now >= row.ends:
        return "lapsed"
    if row.renewal_from is not None and now >= row.renewal_from:
        return "renewal_due"
    return "signed" if row.starts is not None and now < row.starts else "running"


def _next_day(row: AgreementRow) -> datetime | None:
    days = {"signed": row.starts, "running": row.renewal_from, "renewal_due": row.ends}
    return days.get(row.status)


def _move(row: AgreementRow, status: AgreementStatus, now: datetime) -> None:
    if status != row.status or row.status_since is None:
        row.status, row.status_since = status, now


def _agree(row: AgreementRow, terms: tuple[Term, ...]) -> None:
    row.terms = agreed(row.terms, terms)
    _count(row)


def _breach(row: AgreementRow, event: Event[Any], term: TermKept, value: float, by: Party | None) -> AgreementRow:
    row.breaches_ours += by == "us"
    row.breaches_theirs += by != "us"
    row.last_breach = max(row.last_breach or event.time, event.time)
    measure(term, value, event.time, good=False)
    _count(row)
    if term.measured_at == event.time:
        term.by = by
    return row


def _count(row: AgreementRow) -> None:
    row.terms_agreed = len(row.terms)
    row.terms_measured = sum(term.state != "unknown" for term in row.terms)
    row.terms_breached = sum(term.state == "breached" for term in row.terms)
