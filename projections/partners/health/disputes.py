"""Whether we and a partner dispute, and how it ends."""

from __future__ import annotations

from engage.events.catalogue.disputes import (
    DisputeAcknowledged,
    DisputeEscalated,
    DisputeOpened,
    DisputeSettled,
    SettlementProposed,
)
from engage.events.envelope import Event
from engage.views.evidence import Component, Judged, Markings, count, raise_mark

DISPUTES = Component("disputes", "How disputes with them go", weight=2, half_life_days=180)
"""Deliveries without a dispute are the background; they alone make nothing known."""

OPEN, TAKEN_UP, PROPOSED, SETTLED = 20.0, 35.0, 50.0, 80.0

markings = Markings()


@markings.on(DisputeOpened)
def opened(row: Judged, event: Event[DisputeOpened]) -> None:
    """A dispute weighs on both, until it is settled."""
    raise_mark(row, DISPUTES, event, _dispute(event.data.dispute_id), OPEN)


@markings.on(DisputeAcknowledged)
def acknowledged(row: Judged, event: Event[DisputeAcknowledged]) -> None:
    """It is taken up."""
    raise_mark(row, DISPUTES, event, _dispute(event.data.dispute_id), TAKEN_UP)


@markings.on(SettlementProposed)
def proposed(row: Judged, event: Event[SettlementProposed]) -> None:
    """Somebody says how it could end."""
    raise_mark(row, DISPUTES, event, _dispute(event.data.dispute_id), PROPOSED)


@markings.on(DisputeSettled)
def settled(row: Judged, event: Event[DisputeSettled]) -> None:
    """A dispute that was settled did little harm."""
    raise_mark(row, DISPUTES, event, _dispute(event.data.dispute_id), SETTLED)


@markings.on(DisputeEscalated)
def escalated(row: Judged, event: Event[DisputeEscalated]) -> None:
    """It could not be settled between us; that counts on, even when it is settled elsewhere."""
    count(row, DISPUTES, event, f"escalation {event.data.dispute_id}", 0.0)


def _dispute(dispute_id: str) -> str:
    return f"dispute {dispute_id}"
