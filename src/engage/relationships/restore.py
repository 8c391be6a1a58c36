"""A lost store comes back from the log: what was relayed carries every aggregate event whole."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

import msgspec
from msgspec import Raw

from engage.events import codec
from engage.events.envelope import Event
from engage.events.ours import is_ours
from engage.events.upcasting import UpcastError
from engage.relationships.aggregate import RELAY, SOURCE, AccountEvent, published_id
from engage.relationships.application import Relationships

_BATCH = 2_000


class RestoreError(RuntimeError):
    """The store cannot be restored from this log: nothing more was written."""


def restore(app: Relationships, events: Iterable[Event[Raw]]) -> int:
    """Store again what was relayed; the number of events stored.

    ``events`` are the log's, each account's in order, others than ours are passed over. Every stored event is byte for
    byte what it was; only the order between accounts may differ. It can be repeated after an interruption.
    RestoreError if the store holds events that are not relayed yet, or if one on the log is missing or unreadable.
    """
    if (app.store.max_notification_id() or 0) > (app.position(RELAY) or 0):
        raise RestoreError(
            "the relationships store holds events that are not on the log yet: let the relay finish, or move the store "
            "away and start from an empty one"
        )
    versions: dict[UUID, int] = {}
    # On Kafka the same event may be on the log again, relayed when the window of identities had moved on.
    seen: set[str] = set()
    batch: list[AccountEvent] = []
    stored = 0
    for event in events:
        if not was_relayed(event) or event.id in seen:
            continue
        seen.add(event.id)
        batch.append(_aggregate_event(app, event, versions))
        if len(batch) >= _BATCH:
            stored += _store(app, batch)
            batch = []
    return stored + _store(app, batch)


def was_relayed(event: Event[Raw]) -> bool:
    """Whether an event on the log is one that the relay publishes: by source, type and subject, and of an aggregate."""
    return event.source == SOURCE and not event.is_copy and is_ours(event) and _aggregate(event) is not None


def _aggregate(event: Event[Raw]) -> UUID | None:
    try:
        return UUID(event.correlationid)
    except (TypeError, ValueError):
        return None


def _aggregate_event(app: Relationships, event: Event[Raw], versions: dict[UUID, int]) -> AccountEvent:
    identity = UUID(event.correlationid)
    version = versions.get(identity, 0) + 1
    if event.id != published_id(identity, version):
        raise RestoreError(
            f"event {event.id} at {event.partition}:{event.offset} is not version {version} of {identity}: the log "
            "lacks what came before; restore the log first"
        )
    versions[identity] = version
    try:
        data = codec.open_data(event).data
    except (msgspec.DecodeError, UpcastError) as error:
        raise RestoreError(
            f"event {event.id} at {event.partition}:{event.offset}, a {event.type!r}, cannot be read ({error}): use "
            "the engage that wrote it, or a newer one"
        ) from error
    return app.catalogue.event(event.type, identity, version, event.time, event.subject, event.actor or "", data)


def _store(app: Relationships, batch: list[AccountEvent]) -> int:
    known = app.store.versions({event.originator_id for event in batch})
    missing = [event for event in batch if event.originator_version > known.get(event.originator_id, 0)]
    if missing:
        app.record_relayed(missing, RELAY)
    return len(missing)
