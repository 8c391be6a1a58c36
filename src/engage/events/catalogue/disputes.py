"""Disputes: what the two sides do not agree on, and how it is settled."""

from __future__ import annotations

from engage.events.catalogue.agreements import Party
from engage.events.catalogue.base import Amount, Currency, EventData, Personal, Ref, Text
from engage.events.envelope import Instant


class DisputeOpened(EventData):
    """One side does not accept something that happened between the two.

    ``topic`` is a short code such as ``price`` or ``quality``, ``amount`` what is at stake.
    ``agreement_id``, ``invoice_id`` and ``delivery_id`` are what it is about.
    """

    dispute_id: Ref
    topic: Ref
    amount: Amount | None = None
    currency: Currency = "USD"
    by: Party | None = None
    agreement_id: Ref | None = None
    invoice_id: Ref | None = None
    delivery_id: Ref | None = None
    text: Personal | None = None


class DisputeAcknowledged(EventData):
    """The other side has seen the dispute and takes it up; it answers by ``answer_due``."""

    dispute_id: Ref
    by: Party | None = None
    answer_due: Instant | None = None


class EvidenceSubmitted(EventData):
    """One side showed what supports its view: ``kind`` is such as ``photo``, ``link`` where it is kept."""

    dispute_id: Ref
    by: Party | None = None
    kind: Ref | None = None
    link: Text | None = None
    text: Personal | None = None


class SettlementProposed(EventData):
    """One side says how it would end the dispute: ``amount`` is what we would get back, negative what we would give."""

    dispute_id: Ref
    amount: Amount | None = None
    currency: Currency = "USD"
    by: Party | None = None
    answer_due: Instant | None = None
    text: Personal | None = None


class DisputeSettled(EventData):
    """Both sides agree how it ends: ``amount`` is what we get back, negative what we give.

    ``outcome`` is a short code such as ``credited``, ``replaced`` or ``withdrawn``.
    """

    dispute_id: Ref
    outcome: Ref | None = None
    amount: Amount | None = None
    currency: Currency = "USD"
    text: Personal | None = None


class DisputeEscalated(EventData):
    """It could not be settled where it was, and goes to ``level``, such as ``management`` or ``court``."""

    dispute_id: Ref
    level: Ref | None = None
    reason: Ref | None = None
    by: Party | None = None
    text: Personal | None = None
