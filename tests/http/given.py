"""What the tests of HTTP start from: events as upstream systems send them, and a clock that is set by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
STRANGE_IDS = (
    "a/b",
    "a%2Fb",
    "50%",
    "حساب",
    "😀",
    "timeline",
    "a/timeline",
    "with space",
    "q?x=1#y",
    ".",
    "..",
    "a//b",
)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def move(self, **span: float) -> None:
        self.now += timedelta(**span)


def order(event_id: str = "order-1", subject: str = "customer-17", **changes: Any) -> dict[str, Any]:
    """A CloudEvents order, with ``changes`` of its attributes."""
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "urn:shop",
        "type": "Order Completed",
        "subject": subject,
        "time": "2026-03-01T10:00:00Z",
        "data": {"order_id": event_id, "total": 59.9, "currency": "EUR"},
    } | changes


def ticket(ticket_id: str = "t-1", subject: str = "customer-17") -> dict[str, Any]:
    """A support ticket that somebody has to answer in time."""
    data = {"ticket_id": ticket_id, "priority": "urgent", "topic": "login", "channel": "email"}
    return order(ticket_id, subject, type="Ticket Opened", time=START.isoformat(), data=data)
