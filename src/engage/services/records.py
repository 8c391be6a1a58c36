"""Records of the log as events, and those of some kind without all the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import structlog

from engage.events import codec
from engage.events.envelope import Event
from engage.log.contract import Batch, Log, Record
from engage.log.sqlite import SqliteLog

AT_ONCE = 500
"""Records whose events are in the processor's cache at once, for ``placed_events``."""

UNRECORDED = "it does not say when it was recorded"
"""Why what might be an event elsewhere is none of the log: whoever wrote it was not intake."""

_logger = structlog.get_logger(__name__)


class CorruptRecordError(ValueError):
    """A log record is no event: restore the log from its backup; no read model goes past it."""

    def __init__(self, record: Record, why: Exception | str) -> None:
        super().__init__(
            f"record {record.partition}:{record.offset} of the log is no event ({why}): restore the log from its backup"
        )
        self.offset = record.offset


def read_event(record: Record) -> Event[Any]:
    """A record's event, its data raw, with its place in the log; CorruptRecordError if it is none."""
    try:
        event = codec.decode(record.value)
    except codec.NO_EVENT as error:
        raise CorruptRecordError(record, error) from error
    if event.recorded is None:
        raise CorruptRecordError(record, UNRECORDED)
    event.partition, event.offset = record.partition, record.offset
    return event


def placed_events(records: Sequence[Record], wanted: frozenset[str] | None = None) -> list[Event[Any]]:
    """The events of records, opened as ``codec.read_all`` does, each with its place in the log.

    CorruptRecordError for the first one that is none. ``AT_ONCE`` at a time: then their events are still in the
    processor's cache when their places are put into them.
    """
    try:
        events = codec.read_all([record.value for record in records], wanted)
    except codec.UnreadableError as error:
        raise CorruptRecordError(records[error.place], error) from error
    for event, record in zip(events, records, strict=True):
        if event.recorded is None:
            raise CorruptRecordError(record, UNRECORDED)
        event.partition = record.partition
        event.offset = record.offset
    return events


def events_of(records: Iterable[Record]) -> Iterator[Event[Any]]:
    """The events of those records that are one, for who must go on: rules and who publishes, whatever befell the log.

    Read models stop before a record that is none, and the log of this process tells of it.
    """
    for record in records:
        try:
            event = read_event(record)
        except CorruptRecordError as error:
            _logger.error("a record was passed over", detail=str(error))
        else:
            yield event


async def read_type(log: Log, kind: str, partition: int, position: int, limit: int) -> Batch:
    """``Log.read``, but of the records only those that may be events of the type ``kind``; few others are among them.

    Who follows the log for one type of a hundred need not look at the rest.
    """
    text = codec.encode(kind)
    if isinstance(log, SqliteLog):
        return await log.read_holding(text, partition, position, limit)
    batch = await log.read(partition, position, limit)
    return Batch([record for record in batch.records if text in record.value], batch.next_position)
