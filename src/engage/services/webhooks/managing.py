"""Outgoing webhooks as a whole: what operators do with endpoints, and the step that keeps them told."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any, get_args

import msgspec
from msgspec import Struct

from engage.events.catalogue import CATALOGUE
from engage.events.catalogue.follow_up import Purpose
from engage.events.catalogue.profile import AccountKind
from engage.events.ours import OF_PARTITIONS
from engage.services.webhooks.delivering import Delivering
from engage.services.webhooks.destination import EndpointError, check_url
from engage.services.webhooks.feeding import Feeding
from engage.services.webhooks.message import TEST, message_id
from engage.services.webhooks.outcomes import Outcomes
from engage.store.webhook_queue import State
from engage.store.webhook_standing import WebhookStanding, standings
from engage.store.webhooks import Endpoint, Secret, Subscription, WebhookStore
from engage.views.projection import ReadModel

VIEW = "view:"
KEPT = timedelta(days=7)
"""For how long it is known what came of a delivery."""
_CLEAN_EVERY = timedelta(hours=1)
_OUTCOMES = 500
_SECRET_BYTES = 32


class NewEndpoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An endpoint to add: ``on`` names event types, and views as ``view:NAME``.

    ``channels``, ``rules`` and ``purposes`` choose among follow-ups, ``kinds`` among accounts. Personal fields are left
    out but for those named in ``in_clear``. It is told from now on, or all there is with ``from_start``.
    """

    url: str
    on: tuple[str, ...]
    channels: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    in_clear: tuple[str, ...] = ()
    from_start: bool = False


class Webhook(Struct, frozen=True, kw_only=True):
    """An endpoint as it stands: ``disabled`` says why nothing is sent there, ``waiting`` counts what is to be.

    ``secret`` is shown once, when it is made.
    """

    id: str
    url: str
    on: tuple[str, ...]
    channels: tuple[str, ...]
    rules: tuple[str, ...]
    purposes: tuple[str, ...]
    kinds: tuple[str, ...]
    in_clear: tuple[str, ...]
    created: datetime
    disabled: str | None
    failing_since: datetime | None
    last_answer: str | None
    waiting: int
    secret: str | None = None


class Delivered(Struct, frozen=True):
    """One message: its webhook-id, what it is about, and what came of the attempts that were made."""

    message: str
    type: str
    account: str
    state: State
    attempts: int
    answer: str | None
    queued_at: datetime
    next_at: datetime | None
    ended_at: datetime | None


class Tested(Struct, frozen=True):
    """What came of a test message: ``status`` is HTTP's, null if there was no answer."""

    taken: bool
    status: int | None
    words: str


class WebhookNotFoundError(LookupError):
    """There is no such endpoint: list them, and take an id from there."""

    status = 404


class Webhooks:
    """Everything about outgoing webhooks that a process has in hand; only ``step`` sends what is queued."""

    def __init__(
        self,
        store: WebhookStore,
        feeding: Feeding,
        delivering: Delivering,
        outcomes: Outcomes,
        *,
        models: Iterable[ReadModel[Any]],
        rules: Collection[str],
        private: bool,
        clock: Callable[[], datetime],
    ) -> None:
        self.store = store
        self._feeding = feeding
        self.delivering = delivering
        self._outcomes = outcomes
        self._views = {model.name for model in models if not model.append_only}
        self._rules = rules
        self._private = private
        self._clock = clock
        self._cleaned: datetime | None = None
        self._at_rest = False

    async def step(self, limit: int) -> int:
        """Queue up to ``limit`` records or changes of each place, send what is due; how much was done."""
        endpoints = await asyncio.to_thread(self.store.endpoints)
        if not endpoints and self._at_rest:
            return 0
        done = await self._feeding.step(endpoints, limit)
        done += await self.delivering.step()
        done += await self._outcomes.step(_OUTCOMES)
        self._at_rest = not endpoints and not done
        now = self._clock()
        if self._cleaned is None or now - self._cleaned > _CLEAN_EVERY:
            self._cleaned = now
            await asyncio.to_thread(self.store.queue.clean, now - KEPT)
        return done

    async def again(self, partition: int, offset: int) -> None:
        """Queue what could not be read before; see ``unread.Again``."""
        await self._feeding.again(await asyncio.to_thread(self.store.endpoints), partition, offset)

    async def close(self) -> None:
        """Finish what is being sent."""
        await self.delivering.close()

    async def add(self, new: NewEndpoint) -> Webhook:
        """Tell another endpoint; EndpointError says which of its fields cannot be so."""
        subscription = self._subscription(new)
        secret = _new_secret()
        identity = f"we_{secrets.token_hex(8)}"
        endpoint = Endpoint(
            id=identity, url=new.url, subscription=subscription, secrets=(Secret(secret),), created=self._clock()
        )
        begins = await self._feeding.ends(subscription.streams, beginning=new.from_start)
        cursors = [msgspec.structs.replace(cursor, endpoint=identity) for cursor in begins]
        await asyncio.to_thread(self.store.add, endpoint, cursors)
        return _shown(endpoint, 0, secret)

    def all(self) -> list[Webhook]:
        """Every endpoint, the oldest first."""
        waiting = self.store.queue.waiting()
        return [_shown(one, waiting.get(one.id, 0)) for one in self.store.endpoints()]

    def standings(self) -> list[WebhookStanding]:
        """Every endpoint at a glance."""
        return standings(self.store.database)

    def one(self, identity: str) -> Webhook:
        """One endpoint; WebhookNotFoundError if there is none, here and below."""
        return _shown(self._found(identity), self.store.queue.waiting().get(identity, 0))

    def remove(self, identity: str) -> None:
        """Tell it nothing more, also not what waits."""
        if not self.store.remove(identity):
            raise _unknown(identity)

    def disable(self, identity: str) -> Webhook:
        """Send nothing there until it is enabled again; what it is to hear waits on the log."""
        self._found(identity)
        self.store.disable(identity, "an operator disabled it")
        return self.one(identity)

    async def enable(self, identity: str, *, from_now: bool = False) -> Webhook:
        """Send there again: from where it stood, or what comes ``from_now`` on and what was queued."""
        found = await asyncio.to_thread(self._found, identity)
        ends = await self._feeding.ends(found.subscription.streams) if from_now else []
        cursors = [msgspec.structs.replace(cursor, endpoint=identity) for cursor in ends]
        await asyncio.to_thread(self.store.enable, identity, self._clock(), cursors)
        return await asyncio.to_thread(self.one, identity)

    def rotate(self, identity: str, keep: timedelta) -> Webhook:
        """A new secret; what is sent carries a signature by the one before it too, for as long as ``keep``."""
        found = self._found(identity)
        now = self._clock()
        secret = _new_secret()
        old = [one for one in found.secrets if one.until is None or now < one.until]
        held = tuple(Secret(one.value, min(one.until or now + keep, now + keep)) for one in old if keep)
        self.store.change_secrets(msgspec.structs.replace(found, secrets=(Secret(secret), *held)))
        return _shown(found, self.store.queue.waiting().get(identity, 0), secret)

    async def test(self, identity: str) -> Tested:
        """Send a message that says nothing, now, and tell what came of it."""
        found = await asyncio.to_thread(self._found, identity)
        now = self._clock()
        message = message_id(identity, now.isoformat())
        event = {"specversion": "1.0", "id": message, "source": "engage/channels", "type": TEST, "subject": identity}
        value = msgspec.json.encode(event | {"time": now, "data": {}})
        reply = await self.delivering.attempt(found, message, value)
        return Tested(reply.taken, reply.status, reply.words)

    def deliveries(self, identity: str, limit: int) -> list[Delivered]:
        """What was and is to be sent there, the latest first; what ended is known for a week."""
        self._found(identity)
        names = Delivered.__struct_fields__
        return [Delivered(*(getattr(one, name) for name in names)) for one in self.store.queue.of(identity, limit)]

    def _found(self, identity: str) -> Endpoint:
        found = self.store.endpoint(identity)
        if found is None:
            raise _unknown(identity)
        return found

    def _subscription(self, new: NewEndpoint) -> Subscription:
        check_url(new.url, private=self._private)
        events = [name for name in new.on if not name.startswith(VIEW)]
        views = [name.removeprefix(VIEW) for name in new.on if name.startswith(VIEW)]
        if not new.on:
            raise EndpointError("it would hear of nothing: name event types, or views as view:NAME", "on")
        _check("on", events, [name for name in CATALOGUE if name not in OF_PARTITIONS], "event type that engage knows")
        _check("on", views, self._views, "view whose changes can be followed")
        _check("rules", new.rules, self._rules, "rule")
        _check("purposes", new.purposes, get_args(Purpose), "purpose")
        _check("kinds", new.kinds, get_args(AccountKind), "kind of account")
        personal = {field for name in events for field in CATALOGUE[name].personal}
        _check("in_clear", new.in_clear, personal, "personal field of these event types")
        return Subscription(
            events=tuple(dict.fromkeys(events)),
            views=tuple(dict.fromkeys(views)),
            channels=new.channels,
            rules=new.rules,
            purposes=new.purposes,
            kinds=new.kinds,
            in_clear=new.in_clear,
        )


def _check(field: str, given: Iterable[str], known: Collection[str], what: str) -> None:
    for name in given:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {_listed(known)}"
            raise EndpointError(f"{name!r} is no {what}: {hint}", field)


def _listed(known: Collection[str]) -> str:
    names = sorted(known)
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "") if names else "none"


def _shown(endpoint: Endpoint, waiting: int, secret: str | None = None) -> Webhook:
    subscription = endpoint.subscription
    return Webhook(
        id=endpoint.id,
        url=endpoint.url,
        on=_names(subscription.events, subscription.views),
        channels=subscription.channels,
        rules=subscription.rules,
        purposes=subscription.purposes,
        kinds=subscription.kinds,
        in_clear=subscription.in_clear,
        created=endpoint.created,
        disabled=endpoint.disabled,
        failing_since=endpoint.failing_since,
        last_answer=endpoint.last_answer,
        waiting=waiting,
        secret=secret,
    )


def _names(events: Sequence[str], views: Sequence[str]) -> tuple[str, ...]:
    return (*events, *(VIEW + name for name in views))


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def _unknown(identity: str) -> WebhookNotFoundError:
    return WebhookNotFoundError(f"there is no webhook {identity!r}: `engage webhooks list` shows those there are")
