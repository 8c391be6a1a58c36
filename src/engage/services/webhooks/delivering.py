"""Sends what is queued: a lane for each endpoint, so that a slow one keeps nobody else waiting.

An attempt is counted before it is made. Whoever dies between the two, or before the answer is noted, leaves it to be
made again under the same webhook-id: each message arrives at least once, and the receiver knows it by its id.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from engage.events.catalogue import type_of
from engage.events.catalogue.follow_up import FollowUpRequested
from engage.services.edge import Keyring
from engage.services.webhooks import message
from engage.services.webhooks.backoff import WINDOW, wait_after
from engage.services.webhooks.outcomes import delivered, failed
from engage.services.webhooks.permission import Permission, WithheldError
from engage.services.webhooks.sending import Reply, Sender
from engage.store.views import ViewMissingError
from engage.store.webhook_queue import Delivery
from engage.store.webhooks import Endpoint, WebhookStore

AT_ONCE = 4
"""Messages that one endpoint is sent at the same time, of as many accounts."""
LEASE = timedelta(minutes=2)
"""After so long an attempt of which nothing was heard is taken for dead: several times what one may take."""
NOT_YET = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(minutes=5)
_CLOSING_SECONDS = 3.0

_REQUESTED = type_of(FollowUpRequested)
_logger = structlog.get_logger(__name__)


class Delivering:
    """Sends from the queue of ``store``; several may, each message is one's at a time."""

    def __init__(
        self,
        store: WebhookStore,
        sender: Sender,
        permission: Permission,
        keyring: Keyring,
        clock: Callable[[], datetime],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._sender = sender
        self._permission = permission
        self._keyring = keyring
        self._clock = clock
        self._chance = chance
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, int] = {}
        self._not_before: dict[str, datetime] = {}
        self._closing = False

    async def step(self) -> int:
        """Set going what is due; how many endpoints are sent to from now on. What failed in engage itself is raised."""
        for identity in [name for name, lane in self._lanes.items() if lane.done()]:
            self._lanes.pop(identity).result()
        now = self._clock()
        started = 0
        for identity in await asyncio.to_thread(self._store.queue.due, now):
            if identity not in self._lanes and now >= self._not_before.get(identity, now):
                self._lanes[identity] = asyncio.create_task(self._lane(identity), name=f"webhook {identity}")
                started += 1
        return started

    async def idle(self) -> None:
        """Wait until nothing is being sent."""
        while self._lanes:
            await asyncio.wait(self._lanes.values())
            await self.step()

    async def close(self) -> None:
        """Finish the attempts that are being made, for a while; what is left is made again by whoever comes next."""
        self._closing = True
        if self._lanes:
            _, late = await asyncio.wait(self._lanes.values(), timeout=_CLOSING_SECONDS)
            for lane in late:
                lane.cancel()
            await asyncio.gather(*self._lanes.values(), return_exceptions=True)
        await self._sender.close()

    async def attempt(self, endpoint: Endpoint, identity: str, value: bytes) -> Reply:
        """Send this message now, whatever waits; nothing of it is kept."""
        said = message.body(value, (), self._keyring.all_of)
        return await self._sender.post(endpoint, identity, said, self._clock())

    async def _lane(self, identity: str) -> None:
        while not self._closing:
            endpoint = await asyncio.to_thread(self._store.endpoint, identity)
            if endpoint is None or endpoint.disabled is not None:
                return
            now = self._clock()
            claimed = await asyncio.to_thread(self._store.queue.claim, identity, now, now + LEASE, AT_ONCE)
            if not claimed:
                return
            went = await asyncio.gather(*(self._deliver(endpoint, one) for one in claimed))
            if any(went):
                self._failures.pop(identity, None)
                self._not_before.pop(identity, None)
                continue
            # Whoever answers nobody is asked again for one account after another, and not for all at once.
            failures = self._failures[identity] = self._failures.get(identity, 0) + 1
            self._not_before[identity] = self._clock() + min(wait_after(failures, self._chance()), LONGEST_PAUSE)
            return

    async def _deliver(self, endpoint: Endpoint, one: Delivery) -> bool:
        """One attempt; whether the endpoint was not to blame if it failed."""
        queue = self._store.queue
        try:
            said = await asyncio.to_thread(self._said, endpoint, one)
        except ViewMissingError as error:
            await asyncio.to_thread(queue.not_yet, one, self._clock() + NOT_YET, str(error))
            return True
        except WithheldError as reason:
            outcome = failed(one, str(reason), self._clock(), retried=False)
            await asyncio.to_thread(queue.end, one, "withheld", self._clock(), str(reason), outcome)
            return True
        reply = await self._sender.post(endpoint, one.message, said, self._clock())
        await asyncio.to_thread(self._note, endpoint, one, reply)
        return reply.taken

    def _said(self, endpoint: Endpoint, one: Delivery) -> bytes:
        value = self._permission.checked(one) if one.type == _REQUESTED else one.value
        return message.body(value, endpoint.subscription.in_clear, self._keyring.all_of)

    def _note(self, endpoint: Endpoint, one: Delivery, reply: Reply) -> None:
        queue, now = self._store.queue, self._clock()
        self._store.note(endpoint.id, reply.words, now, good=reply.taken)
        if reply.taken:
            queue.end(one, "delivered", now, reply.words, delivered(one, now))
            return
        failing = self._store.endpoint(endpoint.id)
        dead = failing is not None and failing.failing_since is not None and now - failing.failing_since >= WINDOW
        if reply.gone or dead:
            self._disable(endpoint, f"{reply.words}: it wants nothing more" if reply.gone else _dead(reply))
        tried = one.tried_at or now
        if now - tried >= WINDOW and not dead and not reply.gone:
            queue.end(one, "given_up", now, reply.words, failed(one, reply.words, now, retried=False))
            return
        wait = max(wait_after(one.attempts, self._chance()), reply.again_after or timedelta(0))
        queue.later(one, now + wait, reply.words, failed(one, reply.words, now, retried=True))

    def _disable(self, endpoint: Endpoint, why: str) -> None:
        self._store.disable(endpoint.id, why)
        _logger.error("a webhook is disabled, what it was to hear waits for it", webhook=endpoint.id, why=why)


def _dead(reply: Reply) -> str:
    return f"every attempt of {WINDOW.days} days failed, the last one with: {reply.words}"
