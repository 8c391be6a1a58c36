"""Late money strains both sides: pay what we owe before it is late, and ask kindly, then firmly, for what they owe."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from engage.events.catalogue.invoices import (
    InvoiceCancelled,
    InvoiceDirection,
    InvoiceIssued,
    InvoiceOverdue,
    InvoicePaid,
    PaymentDisputed,
)
from engage.events.envelope import Event
from engage.rules.rule import MANAGER, Effect, FollowUpRequest, Forget, Rule, RuleSettings, Wake, Woken

_SETTLED = 50
_OPEN = 300


class Settings(RuleSettings):
    """We are warned ``ahead`` of the day on which we have to pay, and again on that day.

    Who owes us is reminded ``grace`` after the due day, and the manager speaks with them ``firm`` after it. The first
    of the two holds until the second comes; ``expires``: how long the second makes sense.
    """

    ahead: timedelta = timedelta(days=3)
    grace: timedelta = timedelta(days=7)
    firm: timedelta = timedelta(days=30)
    expires: timedelta = timedelta(days=60)


class Invoice(Struct, omit_defaults=True, gc=False):
    """An open invoice; ``outstanding`` None when nobody said how much, ``asked`` how often it was spoken of (0-2)."""

    direction: InvoiceDirection
    due: datetime
    outstanding: float | None = None
    currency: str = "USD"
    asked: int = 0


class State(Struct, omit_defaults=True, gc=False):
    """The open invoices, and the latest that are paid, cancelled or disputed."""

    invoices: dict[str, Invoice] = {}
    settled: list[str] = []


rule = Rule("invoice-overdue", version=1, settings=Settings(), state=State)


@rule.on(InvoiceIssued)
def issued(state: State, event: Event[InvoiceIssued], settings: Settings) -> Iterable[Effect]:
    """One of the two owes the other; nobody waits for a credit note."""
    data = event.data
    if data.total > 0:
        yield from _open(state, data.invoice_id, Invoice(data.direction, data.due, data.total, data.currency), settings)


@rule.on(InvoicePaid)
def paid(state: State, event: Event[InvoicePaid], settings: Settings) -> Iterable[Effect]:
    """In full, or the rest is still waited for."""
    data = event.data
    if data.outstanding <= 0:
        yield from _settle(state, data.invoice_id)
    elif data.invoice_id in state.invoices:
        known = state.invoices[data.invoice_id]
        known.outstanding = min(data.outstanding, known.outstanding or data.outstanding)
    elif data.direction is not None and data.due is not None:
        rest = Invoice(data.direction, data.due, data.outstanding, data.currency)
        yield from _open(state, data.invoice_id, rest, settings)


@rule.on(InvoiceOverdue)
def overdue(state: State, event: Event[InvoiceOverdue], settings: Settings) -> Iterable[Effect]:
    """Of an invoice that nobody told us of, this is the first we hear."""
    data = event.data
    if data.direction is not None and data.invoice_id not in state.invoices:
        due = event.time - timedelta(days=min(data.days_overdue or 0, 3_650))
        yield from _open(
            state, data.invoice_id, Invoice(data.direction, due, data.outstanding, data.currency), settings
        )


@rule.on(InvoiceCancelled, PaymentDisputed)
def withdrawn(state: State, event: Event[InvoiceCancelled | PaymentDisputed], settings: Settings) -> Iterable[Effect]:
    """Nobody owes it, or whether anybody does has to be settled first: a dispute has deadlines of its own."""
    return _settle(state, event.data.invoice_id)


@rule.on_wake
def unpaid(state: State, wake: Woken, settings: Settings) -> Iterable[Effect]:
    """It is about to be late, or it is."""
    invoice = state.invoices[wake.about]
    invoice.asked += 1
    first, second = _moments(invoice, settings)
    amount = f" over {invoice.outstanding:,.2f} {invoice.currency}" if invoice.outstanding is not None else ""
    told = f"invoice {wake.about}{amount}"
    days = (wake.due - invoice.due).days
    if invoice.direction == "payable":
        what = "pay an invoice in time" if invoice.asked == 1 else "pay an overdue invoice"
        why = f"We have to pay {told} by {invoice.due.date()} and have not yet: late money costs us their trust."
    else:
        what = "remind of an invoice" if invoice.asked == 1 else "speak about an overdue invoice"
        why = f"They owe us {told} since {invoice.due.date()}, for {days} days: ask whether anything is in the way."
    if invoice.asked == 1:
        yield Wake(second, about=wake.about)
    yield FollowUpRequest(
        what=what,
        why=why,
        about=wake.about,
        purpose="partnership",
        channels=("email",) if invoice.direction == "receivable" and invoice.asked == 1 else (MANAGER,),
        priority="normal" if invoice.asked == 1 else "high",
        due=timedelta(days=1),
        expires=second - first if invoice.asked == 1 else settings.expires,
    )


def _moments(invoice: Invoice, settings: Settings) -> tuple[datetime, datetime]:
    """When we speak of it first, and when the second time."""
    if invoice.direction == "payable":
        return invoice.due - settings.ahead, invoice.due
    return invoice.due + settings.grace, invoice.due + settings.firm


def _open(state: State, invoice_id: str, invoice: Invoice, settings: Settings) -> Iterable[Effect]:
    if invoice_id in state.settled:
        return
    known = state.invoices.get(invoice_id)
    if known is not None:
        if known.outstanding is None:
            known.outstanding, known.currency = invoice.outstanding, invoice.currency
        return
    state.invoices[invoice_id] = invoice
    yield Wake(_moments(invoice, settings)[0], about=invoice_id)
    for oldest in list(state.invoices)[:-_OPEN]:
        del state.invoices[oldest]
        yield Forget(oldest)


def _settle(state: State, invoice_id: str) -> Iterable[Effect]:
    state.invoices.pop(invoice_id, None)
    if invoice_id not in state.settled:
        state.settled = [*state.settled, invoice_id][-_SETTLED:]
    yield Forget(invoice_id)
