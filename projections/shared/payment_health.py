"""How an account's payments go, in either direction: invoices on both sides, and what befell customers' payments.

An unpaid bill strains a relationship whoever owes it, so both directions of invoice count.
"""

from __future__ import annotations

from engage.events.catalogue.invoices import InvoiceOverdue, InvoicePaid, PaymentDisputed
from engage.events.envelope import Event
from engage.views.decay import faded
from engage.views.evidence import DAY, Component, Judged, Markings, count, find

PAYMENTS = Component("payments", "How payments go", weight=1, half_life_days=180)
"""Orders paid without a word are the background; they alone make nothing known."""

HALVED_BY = 14 * DAY
"""Seconds of delay that halve an invoice's mark."""
OVERDUE_AT_BEST = 50.0

markings = Markings()


@markings.on(InvoicePaid)
def paid(row: Judged, event: Event[InvoicePaid]) -> None:
    """By how late it was, and how much of it; without a due date only a known delay can tell."""
    data = event.data
    about = f"invoice {data.invoice_id}"
    share = data.paid / (data.paid + data.outstanding) if data.outstanding > 0 and data.paid > 0 else 1.0
    if data.due is not None:
        late = max((event.time - data.due).total_seconds(), 0.0)
        count(row, PAYMENTS, event, about, 100.0 * share * faded(late, HALVED_BY))
    else:
        overdue = find(row, PAYMENTS, about)
        if overdue is not None:
            count(row, PAYMENTS, event, about, max(overdue.mark, OVERDUE_AT_BEST * share))


@markings.on(InvoiceOverdue)
def overdue(row: Judged, event: Event[InvoiceOverdue]) -> None:
    """The longer it is overdue, the worse."""
    late = (event.data.days_overdue or 0) * DAY
    count(row, PAYMENTS, event, f"invoice {event.data.invoice_id}", OVERDUE_AT_BEST * faded(late, HALVED_BY))


@markings.on(PaymentDisputed)
def disputed(row: Judged, event: Event[PaymentDisputed]) -> None:
    """Somebody withholds money on purpose."""
    count(row, PAYMENTS, event, f"invoice {event.data.invoice_id}", 20.0)
