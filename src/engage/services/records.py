"""Records of the log as events, and those of some kind without all the others."""

from __future__ import annotations

from typing import Any

from engage.events import codec
from engage.events.envelope import Event
from engage.log.contract import Batch, Log, Record
from engage.log.sqlite import SqliteLog


def read_event(record: Record) -> Event[Any]:
    """A record's event, its data raw, with its place in the log."""
    event = codec.decode(record.value)
    event.partition, event.offset = record.partition, record.offset
    return event


async def read_type(log: Log, kind: str, partition: int, position: int, limit: int) -> Batch:
    """``Log.read``, but of the records only those that may be events of the type ``kind``; few others are among them.

    Who follows the log for one type of a hundred need not look at the rest.
    """
    text = codec.encode(kind)
    if isinstance(log, SqliteLog):
        return await log.read_holding(text, partition, position, limit)
    batch = await log.read(partition, position, limit)
    return Batch([record for record in batch.records if text in record.value], batch.next_position)
