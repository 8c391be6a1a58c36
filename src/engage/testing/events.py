"""Events for tests: typed data in, an event as a fold or a rule sees it out."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from engage.events.catalogue import BY_CLASS
from engage.events.catalogue.base import EventData
from engage.events.codec import encode
from engage.events.envelope import Event

_NAMESPACE = uuid.UUID("5b1c1a3e-7a0c-4c6e-9f59-0f4f6a6f2b11")


def happened(
    data: EventData,
    *,
    at: str | datetime,
    subject: str = "acc-1",
    id: str | None = None,  # noqa: A002 - CloudEvents calls it so
    source: str = "test",
    recorded: str | datetime | None = None,
    offset: int = -1,
    partition: int = 0,
    contact: str | None = None,
) -> Event[Any]:
    """An event that happened ``at`` that time (``"2026-03-01"``, ``"2026-03-01T09:30"``; UTC if it has no offset).

    It was ``recorded`` at once if not said otherwise. Its id, if not given, follows from its content: the same event
    made twice is the same event.
    """
    time = moment(at)
    kind = BY_CLASS[type(data)]
    told = "\n".join((subject, source, kind.name, time.isoformat(), encode(data).decode()))
    return Event(
        specversion="1.0",
        id=id or str(uuid.uuid5(_NAMESPACE, told)),
        source=source,
        type=kind.name,
        subject=subject,
        time=time,
        data=data,
        dataversion=kind.version,
        recorded=time if recorded is None else moment(recorded),
        contact=contact,
        partition=partition,
        offset=offset,
    )


def moment(when: str | datetime) -> datetime:
    """A moment with its UTC offset; a text that has none is in UTC."""
    found = datetime.fromisoformat(when) if isinstance(when, str) else when
    return found if found.tzinfo else found.replace(tzinfo=UTC)
