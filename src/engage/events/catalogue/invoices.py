"""Invoices and payments: who owes whom, and who pays on time."""

from __future__ import annotations

from typing import Literal

from engage.events.catalogue.base import Amount, Count, Currency, EventData, Personal, Ref
from engage.events.envelope import Instant

InvoiceDirection = Literal["payable", "receivable"]
"""``payable``: we owe it to the account. ``receivable``: the account owes it to us."""


class InvoiceIssued(EventData):
    """An invoice was written, to be paid by ``due``."""

    invoice_id: Ref
    direction: InvoiceDirection
    total: Amount
    due: Instant
    currency: Currency = "USD"
    order_ref: Ref | None = None
    agreement_id: Ref | None = None


class InvoicePaid(EventData):
    """An invoice was paid, in full or in part: ``paid`` is this payment, ``outstanding`` what is still owed after it.

    ``due`` is when it had to be paid.
    """

    invoice_id: Ref
    paid: Amount
    currency: Currency = "USD"
    outstanding: Amount = 0.0
    direction: InvoiceDirection | None = None
    due: Instant | None = None


class InvoiceOverdue(EventData):
    """An invoice was not paid in time; ``outstanding`` is what is still owed, ``days_overdue`` for how long."""

    invoice_id: Ref
    direction: InvoiceDirection | None = None
    outstanding: Amount | None = None
    currency: Currency = "USD"
    days_overdue: Count | None = None


class InvoiceCancelled(EventData):
    """An invoice was taken back; ``reason`` is a short code such as ``wrong_total``."""

    invoice_id: Ref
    reason: Ref | None = None


class PaymentDisputed(EventData):
    """Whoever owes an invoice does not agree that it does; ``amount`` is what it withholds."""

    invoice_id: Ref
    amount: Amount | None = None
    currency: Currency = "USD"
    reason: Ref | None = None
    dispute_id: Ref | None = None
    text: Personal | None = None
