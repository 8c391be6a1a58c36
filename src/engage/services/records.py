"""Records of the log as events."""

from __future__ import annotations

from typing import Any

from engage.events import codec
from engage.events.envelope import Event
from engage.log.contract import Record


def read_event(record: Record) -> Event[Any]:
    """A record's event, its data raw, with its place in the log."""
    event = codec.decode(record.value)
    event.partition, event.offset = record.partition, record.offset
    return event
