"""What came of a follow-up's attempts, as events of its account: kept with the attempt, then published in order."""

from __future__ import annotations

import asyncio
from datetime import datetime
from uuid import UUID

import msgspec
import structlog

from engage.events import codec
from engage.events.catalogue import CATALOGUE, type_of
from engage.events.catalogue.follow_up import FollowUpDelivered, FollowUpDeliveryFailed, FollowUpRequested
from engage.events.named_ids import named_id
from engage.events.ours import SPEAKERS
from engage.events.validation import Refusal
from engage.log.contract import Publisher
from engage.store.webhook_queue import Delivery, Outcome
from engage.store.webhooks import WebhookStore

CHANNEL = "webhook"
_NAMESPACE = UUID("5a0d8a1e-5c58-5f0c-9d4b-0c7f4f0f7b52").bytes
_REQUESTED = type_of(FollowUpRequested)

_logger = structlog.get_logger(__name__)


def delivered(one: Delivery, now: datetime) -> Outcome | None:
    """That it was taken; None for what is no follow-up."""
    if one.type != _REQUESTED:
        return None
    data = FollowUpDelivered(follow_up_id=_follow_up(one), channel=CHANNEL, endpoint=one.endpoint, attempt=one.attempts)
    return _outcome(one, data, now)


def failed(one: Delivery, reason: str, now: datetime, *, retried: bool) -> Outcome | None:
    """That it was not, and whether it is tried again; None for what is no follow-up."""
    if one.type != _REQUESTED:
        return None
    data = FollowUpDeliveryFailed(
        follow_up_id=_follow_up(one),
        channel=CHANNEL,
        endpoint=one.endpoint,
        attempt=one.attempts,
        reason=reason,
        retried=retried,
    )
    return _outcome(one, data, now)


class Outcomes:
    """Publishes, then lets go: a crash between the two publishes the same ids again, and the log knows them."""

    def __init__(self, store: WebhookStore, publisher: Publisher) -> None:
        self._store = store
        self._publisher = publisher

    async def step(self, limit: int) -> int:
        """Publish up to ``limit`` of what waits; how many. What the log refuses is told to engage's own log."""
        waiting = await asyncio.to_thread(self._store.queue.outcomes, limit)
        if not waiting:
            return 0
        events = [
            codec.new_event(
                msgspec.json.decode(one.data, type=CATALOGUE[one.type].data),
                id=one.id,
                source=SPEAKERS[one.type],
                subject=one.subject,
                time=one.time,
            )
            for one in waiting
        ]
        for one, answer in zip(waiting, await self._publisher.publish(events), strict=True):
            if isinstance(answer, Refusal):
                _logger.error("the log refused what came of a delivery: report it", type=one.type, why=str(answer))
        await asyncio.to_thread(self._store.queue.told, [one.number for one in waiting])
        return len(waiting)


def _outcome(one: Delivery, data: FollowUpDelivered | FollowUpDeliveryFailed, now: datetime) -> Outcome:
    identity = named_id(_NAMESPACE, f"{one.endpoint}:{one.message}:{one.attempts}")
    return Outcome(identity, one.account, type_of(type(data)), codec.encode(data).decode(), now)


def _follow_up(one: Delivery) -> str:
    return codec.decode(one.value).id
