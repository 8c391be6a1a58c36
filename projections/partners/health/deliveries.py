"""Whether a partner delivers on time and in full, and how good it is what arrives."""

from __future__ import annotations

from engage.events.catalogue.deliveries import DeliveryReceived, DeliveryRejected, QualityInspected
from engage.events.envelope import Event
from engage.views.decay import faded
from engage.views.evidence import DAY, Component, Judged, Markings, count, count_quietly
from projections.partners.health.disputes import DISPUTES

DELIVERY = Component("delivery", "Whether they deliver on time and in full", weight=3, half_life_days=60)
"""After OTIF, "on time, in full" (VICS), with degrees: what is late or short counts for less, not for nothing."""
QUALITY = Component("quality", "How good it is what they deliver", weight=3, half_life_days=60)

LATE_HALVED_BY = 3 * DAY
"""Seconds of delay that halve a delivery's mark."""
DEFECTS_HALVED_BY = 0.02
"""Share of defective pieces (0-1) that halves an inspection's mark."""

markings = Markings()


@markings.on(DeliveryReceived)
def received(row: Judged, event: Event[DeliveryReceived]) -> None:
    """A delivery arrived, more or less late and complete; and it is one that need not be disputed."""
    data = event.data
    late = max(((data.received or event.time) - data.promised).total_seconds(), 0.0)
    complete = min(data.units_received / data.units_ordered, 1.0) if data.units_ordered else 1.0
    count(row, DELIVERY, event, f"delivery {data.delivery_id}", 100.0 * faded(late, LATE_HALVED_BY) * complete)
    count_quietly(row, DISPUTES, event, 100.0, 0.2)


@markings.on(DeliveryRejected)
def rejected(row: Judged, event: Event[DeliveryRejected]) -> None:
    """A delivery that we sent back is none."""
    count(row, DELIVERY, event, f"delivery {event.data.delivery_id}", 0.0)


@markings.on(QualityInspected)
def inspected(row: Judged, event: Event[QualityInspected]) -> None:
    """The share of what was looked at that was no good."""
    share = event.data.defective / event.data.inspected
    count(row, QUALITY, event, f"inspection {event.data.delivery_id}", 100.0 * faded(share, DEFECTS_HALVED_BY))
