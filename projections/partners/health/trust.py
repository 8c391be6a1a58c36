"""Whether the two sides keep their word to each other: promises kept and broken, and boundaries crossed.

It is no double of the other components. They say how well it went, by degrees, and of the partner alone; trust counts
words, each kept or broken and nothing between, and those of both sides: our late payment and our breach as much as
theirs. What is late by two days costs little delivery and all of the word; a delivery postponed in time costs none of
delivery and half of the word. That a dispute was opened is no broken word, that it went over both heads is. A broken
word weighs as three kept ones, for trust is lost faster than it is won, and a crossed boundary as six. So that events
which other components count too do not decide twice, it weighs little in the score, and only after many words.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Protocol

from engage.events.catalogue.agreements import AgreementBreached, AgreementEnded, AgreementRenewed, AgreementSigned
from engage.events.catalogue.deliveries import DeliveryPostponed, DeliveryReceived
from engage.events.catalogue.disputes import DisputeEscalated, DisputeSettled
from engage.events.catalogue.invoices import InvoiceOverdue, InvoicePaid
from engage.events.catalogue.profile import AccountKind
from engage.events.catalogue.service_levels import ServiceLevelBreached, ServiceLevelMeasured
from engage.events.envelope import Event
from engage.views.evidence import Component, Judged, Markings, count, find

TRUST = Component(
    "trust", "Whether both keep their word to each other", weight=1, half_life_days=180, credible_after=10
)

KEPT, HALF, BROKEN, CROSSED = (100.0, 1.0), (50.0, 1.0), (0.0, 3.0), (0.0, 6.0)
"""Mark (0-100) and weight of a word that was kept, taken back in time, broken, and of a boundary that was crossed."""
MEASURED_WEIGHT = 0.25
"""Levels are measured so often that each says little."""
GRACE = timedelta(days=1)
BOUNDARIES_KEPT = 40

markings = Markings()


class Partnered(Judged, Protocol):
    """A row that also knows the account's kind, and its agreements' boundaries (agreement|term, the latest ones)."""

    kind: AccountKind | None
    boundaries: list[str]


@markings.on(DeliveryPostponed)
def postponed(row: Partnered, event: Event[DeliveryPostponed]) -> None:
    """A promise was taken back, and they said so."""
    _word(row, event, f"delivery {event.data.delivery_id}", HALF)


@markings.on(DeliveryReceived)
def received(row: Partnered, event: Event[DeliveryReceived]) -> None:
    """It came when they said, or it did not; once postponed it is no kept word, however punctual then."""
    data = event.data
    about = f"delivery {data.delivery_id}"
    if (data.received or event.time) > data.promised + GRACE:
        _word(row, event, about, BROKEN)
    elif find(row, TRUST, about) is None:
        _word(row, event, about, KEPT)


@markings.on(AgreementSigned)
def signed(row: Partnered, event: Event[AgreementSigned]) -> None:
    """A word is given, not kept yet; its boundaries are remembered."""
    _draw(row, event.data.agreement_id, event.data.terms)


@markings.on(AgreementRenewed)
def renewed(row: Partnered, event: Event[AgreementRenewed]) -> None:
    """Both give their word again: it was worth something."""
    if event.data.terms is not None:
        _draw(row, event.data.agreement_id, event.data.terms)
    _word(row, event, f"renewal {event.data.agreement_id}", KEPT)


@markings.on(AgreementEnded)
def ended(row: Partnered, event: Event[AgreementEnded]) -> None:
    """Its boundaries bind nobody any more."""
    _draw(row, event.data.agreement_id, ())


@markings.on(AgreementBreached)
def breached(row: Partnered, event: Event[AgreementBreached]) -> None:
    """Somebody's word was broken, ours or theirs; the same term once a day."""
    _break(row, event, event.data.agreement_id, event.data.term)


@markings.on(ServiceLevelMeasured)
def measured(row: Partnered, event: Event[ServiceLevelMeasured]) -> None:
    """A level that was agreed was kept; that it was not is a breach, and comes as one."""
    data = event.data
    kept = data.measured >= data.limit if data.direction == "at_least" else data.measured <= data.limit
    if data.agreement_id is not None and kept:
        _word(row, event, f"level {event.id}", (100.0, MEASURED_WEIGHT))


@markings.on(ServiceLevelBreached)
def level_breached(row: Partnered, event: Event[ServiceLevelBreached]) -> None:
    """A level that was agreed was missed; where it is a term's, it is the same breach."""
    if event.data.agreement_id is not None:
        _break(row, event, event.data.agreement_id, event.data.term or event.data.service)


@markings.on(DisputeSettled)
def settled(row: Partnered, event: Event[DisputeSettled]) -> None:
    """They found a word that both could give."""
    if find(row, TRUST, f"dispute {event.data.dispute_id}") is None:
        _word(row, event, f"dispute {event.data.dispute_id}", KEPT)


@markings.on(DisputeEscalated)
def escalated(row: Partnered, event: Event[DisputeEscalated]) -> None:
    """They could not, and it stays so when others settle it."""
    _word(row, event, f"dispute {event.data.dispute_id}", BROKEN)


@markings.on(InvoicePaid)
def paid(row: Partnered, event: Event[InvoicePaid]) -> None:
    """Paid when it was due, or late; without a due date only a known delay tells."""
    due = event.data.due
    if due is not None:
        _pay(row, event, event.data.invoice_id, late=_late(event.time, due))


@markings.on(InvoiceOverdue)
def overdue(row: Partnered, event: Event[InvoiceOverdue]) -> None:
    """It is late before it is paid."""
    _pay(row, event, event.data.invoice_id, late=True)


def _late(at: datetime, due: datetime) -> bool:
    return at > due + GRACE


def _pay(row: Partnered, event: Event[Any], invoice_id: str, *, late: bool) -> None:
    """An invoice is one word, however many payments it takes, and late once for all."""
    about = f"invoice {invoice_id}"
    known = find(row, TRUST, about)
    if known is None or (late and known.mark > BROKEN[0]):
        _word(row, event, about, BROKEN if late else KEPT)


def _break(row: Partnered, event: Event[Any], agreement_id: str, term: str) -> None:
    boundary = f"{agreement_id}|{term}" in row.boundaries
    about = f"breach {agreement_id}|{term}|{event.time:%Y-%m-%d}"
    if find(row, TRUST, about) is None:
        _word(row, event, about, CROSSED if boundary else BROKEN)


def _word(row: Partnered, event: Event[Any], about: str, said: tuple[float, float]) -> None:
    if row.kind != "customer":  # invoices are customers' as well, and are told under payments
        count(row, TRUST, event, about, *said)


def _draw(row: Partnered, agreement_id: str, terms: tuple[Any, ...]) -> None:
    """The boundaries of an agreement, as they were agreed last."""
    others = [known for known in row.boundaries if not known.startswith(f"{agreement_id}|")]
    drawn = [f"{agreement_id}|{term.name}" for term in terms if term.kind == "boundary"]
    row.boundaries = [*others, *drawn][-BOUNDARIES_KEPT:]
