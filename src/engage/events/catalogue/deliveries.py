"""Deliveries and quality: what a partner promised, what arrived and when, and how good it was."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from engage.events.catalogue.base import Count, EventData, Personal, Ref
from engage.events.envelope import Instant

Inspected = Annotated[int, Meta(ge=1, le=2**53, description="pieces looked at")]


class DeliveryPromised(EventData):
    """A partner promised a delivery by ``promised``; ``order_ref`` is our purchase order."""

    delivery_id: Ref
    promised: Instant
    order_ref: Ref | None = None
    units_ordered: Count | None = None


class DeliveryPostponed(EventData):
    """A partner moved a promised delivery to ``promised``; ``reason`` is a short code such as ``no_material``."""

    delivery_id: Ref
    promised: Instant
    reason: Ref | None = None
    note: Personal | None = None


class DeliveryReceived(EventData):
    """A delivery arrived, with ``units_received`` of the pieces ordered.

    ``promised`` is when it was due, ``received`` when it came (left out: at the event's time).
    """

    delivery_id: Ref
    promised: Instant
    units_ordered: Count
    units_received: Count
    received: Instant | None = None
    order_ref: Ref | None = None


class DeliveryRejected(EventData):
    """We sent a delivery back; ``reason`` is a short code such as ``damaged`` or ``wrong_goods``."""

    delivery_id: Ref
    units: Count | None = None
    reason: Ref | None = None
    note: Personal | None = None


class QualityInspected(EventData):
    """Of a delivery, ``inspected`` pieces were looked at and ``defective`` of them found wanting."""

    delivery_id: Ref
    inspected: Inspected
    defective: Count
    note: Personal | None = None

    def __post_init__(self) -> None:
        """Raises ValueError when more pieces were defective than were looked at."""
        if self.defective > self.inspected:
            raise ValueError(f"{self.defective} defective pieces are more than the {self.inspected} inspected")
