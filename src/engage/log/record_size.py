"""How large an event may be on its way to the log: what the broker would refuse is refused before it is sent.

A small event may grow when it is sealed, for each undeclared field is then named by its whole path.
"""

from __future__ import annotations

from msgspec import Raw

from engage.events.envelope import Event
from engage.events.validation import Fault, Refusal
from engage.log.topics import MAX_RECORD_BYTES

DATA_BYTES = MAX_RECORD_BYTES - (64 << 10)
"""What an event's data may have: the rest of the record is left to its envelope."""


def oversized(event: Event[Raw]) -> Refusal | None:
    """Why an event, sealed, is too large for a record of inbox and log; None if it is not."""
    size = len(memoryview(event.data))
    return too_large(size) if size > DATA_BYTES else None


def too_large(size: int) -> Refusal:
    """The refusal of so many bytes."""
    said = f"has {size:,} bytes on its way to the log and may have {DATA_BYTES:,}: store the rest elsewhere and link it"
    return Refusal("too_large", (Fault("", said),))
