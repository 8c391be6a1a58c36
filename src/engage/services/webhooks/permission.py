"""May a follow-up still be sent? Asked once more right before each attempt: time has passed since it was decided."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Raw

from engage.events import codec
from engage.events.catalogue.follow_up import CLOSED, FollowUpRequested
from engage.events.envelope import Event
from engage.relationships.application import Relationships
from engage.rules.consent import Word, consents
from engage.store.views import ViewMissingError, ViewStore
from engage.store.webhook_queue import Delivery
from projections.shared.profile import profile


class WithheldError(Exception):
    """It must not be sent any more; the message is the reason in a word."""


class Permission:
    """Answers from the follow-up itself and from the newest words on consent. Blocking."""

    def __init__(self, relationships: Relationships, views: ViewStore, clock: Callable[[], datetime]) -> None:
        self._relationships = relationships
        self._views = views
        self._clock = clock

    def checked(self, delivery: Delivery) -> bytes:
        """The request as it may be sent: of its channels only those that are still allowed.

        WithheldError if it has expired, was closed, or no channel is left; ViewMissingError while the account's words
        up to this request are not known.
        """
        event: Event[FollowUpRequested] = codec.open_data(codec.decode(delivery.value))
        data = event.data
        if self._clock() >= data.expires:
            raise WithheldError("expired")
        kept = self._relationships.load([UUID(event.id)]).get(UUID(event.id))
        if kept is not None and kept.status in CLOSED:
            raise WithheldError("expired" if kept.status == "expired" else "closed")
        offset = delivery.offset if event.inboxoffset is None else event.inboxoffset
        if self._views.behind([profile], delivery.partition, offset):
            raise ViewMissingError("the profiles do not include this follow-up yet")
        row = self._views.get(profile, event.subject)
        words = {key: Word(said.allowed, said.at) for key, said in row.consents.items()} if row else {}
        channels = tuple(channel for channel in data.channels if consents(words, channel, data.purpose))
        if not channels:
            raise WithheldError("consent")
        if channels == data.channels:
            return delivery.value
        fewer = msgspec.structs.replace(data, channels=channels)
        value: bytes = codec.encode(msgspec.structs.replace(event, data=Raw(codec.encode(fewer))))
        return value
