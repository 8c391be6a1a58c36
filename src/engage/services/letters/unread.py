"""Records of the log that one of its readers could not read: kept as dead letters, and the reader goes on behind them.

Rules and read models stand still where that is kept with what they are a fold of; the readers here only follow the log
for some types of it, and have nothing that a record passed over would make wrong but what it asks for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import structlog
from msgspec import Raw, Struct

from engage.events import codec
from engage.events.catalogue import RESERVED
from engage.events.envelope import Event
from engage.log.contract import Log, Record
from engage.services import metrics
from engage.services.records import read_event

DESK, ERASURES, WEBHOOKS, RULES = READERS = ("desk", "erasures", "webhooks", "rules")
"""``rules`` are all of them, on Kafka: of a record that is no event nobody knows whose it is, or which would listen."""
_CLASS = "unread"

_logger = structlog.get_logger(__name__)


class Unread(Struct, frozen=True, kw_only=True):
    """What ``consumer`` could not read, and why; ``account`` and ``event_id`` are empty where not even that can be had.

    ``at`` is since when it is kept, None where what is settled is kept no longer.
    """

    consumer: str
    partition: int
    offset: int
    error: str
    account: str = ""
    event_id: str = ""
    at: datetime | None = None


class UnreadRecordError(ValueError):
    """The record can still not be read."""


Wanted = Callable[[Event[Any]], bool]
"""Whether a reader wants to hear of an event whose data are raw still."""
Read = tuple[Record, Event[Any]]
"""A record with its event, the data typed."""
Keep = Callable[[Unread], Awaitable[None]]
"""Keeps a dead letter, before its reader goes on; the same again is the same one."""
Again = Callable[[int, int], Awaitable[None]]
"""Has a reader take the record at a partition and offset once more; UnreadRecordError if it still cannot."""
Readers = Mapping[str, Again]
"""Those of a process, by name."""


async def only_logged(unread: Unread) -> None:
    """For who has nowhere to keep it."""


async def read_on(records: Sequence[Record], consumer: str, wanted: Wanted, keep: Keep) -> list[Read]:
    """Those of the records that are ``wanted``; of what cannot be read those who watch are told, when it is kept."""
    found: list[Read] = []
    for record, event in await asyncio.to_thread(_opened, records, consumer, wanted) if records else ():
        if not isinstance(event, Unread):
            found.append((record, event))
            continue
        await keep(event)
        metrics.died([_CLASS])
        _logger.error(
            "a record cannot be read, the others go on: see `engage dead-letters list`",
            consumer=consumer,
            partition=event.partition,
            offset=event.offset,
            detail=event.error,
        )
    return found


async def reread(log: Log, consumer: str, partition: int, offset: int, wanted: Wanted) -> Read | None:
    """The record at a place once more; None where it is not ``wanted``. UnreadRecordError as before."""
    batch = await log.read(partition, offset, 1)
    for record, event in _opened([one for one in batch.records if one.offset == offset], consumer, wanted):
        if isinstance(event, Unread):
            raise UnreadRecordError(event.error)
        return record, event
    return None


def _opened(records: Iterable[Record], consumer: str, wanted: Wanted) -> list[tuple[Record, Event[Any] | Unread]]:
    """Those that are wanted, or that cannot be read."""
    return [(one, event) for one in records if (event := _one(one, consumer, wanted)) is not None]


def _one(record: Record, consumer: str, wanted: Wanted) -> Event[Any] | Unread | None:
    """The record's event with its data if it is ``wanted``, or why it cannot be read; what is no event may be wanted.

    Data of the houses' types stay raw where the record is older than its type; engage's own never are.
    """
    account = identity = ""
    try:
        event = read_event(record)
        if not wanted(event):
            return None
        account, identity = event.subject, event.id
        event = codec.open_data(event)
        if isinstance(event.data, Raw) and event.type in RESERVED:
            raise UnreadRecordError(f"{event.type!r} declares nothing")
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return Unread(
            consumer=consumer,
            partition=record.partition,
            offset=record.offset,
            error=f"{type(error).__name__}: {error}",
            account=account,
            event_id=identity,
        )
    return event
