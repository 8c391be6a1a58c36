"""The keeper of the door: who brings a credential, and whether one is needed at all.

All keys are read at once, again when they are a little old: so a request costs no query, wrong keys cost no more than
right ones, and one that was revoked, by whichever process, stops within seconds.
"""

from __future__ import annotations

import asyncio
import secrets
from base64 import b64decode
from binascii import Error as NotBase64Error
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from hmac import compare_digest
from time import monotonic
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from engage.services.callers import ANYBODY, BadTokenError, Caller, ProviderUnavailableError
from engage.services.rates import Rates
from engage.store.access import AccessStore
from engage.store.api_keys import ApiKey, digest_of, id_in

if TYPE_CHECKING:
    from engage.services.oidc import Oidc

FRESH_SECONDS = 2.0
"""For so long keys are taken for what they were."""
USE_NOTED = timedelta(minutes=10)
"""When a key was last used is written down this seldom."""
LOCAL = Caller("local", proven=False)
"""Who may read the folder's lock file: the command line on this machine, on behalf of whoever calls it."""

_DOTS_OF_A_JWT = 2
_BRING = "bring an API key (Authorization: Bearer, or the user name of Basic): `engage api-keys create` makes one"


class UnknownCallerError(Exception):
    """Nobody is known by what was brought; the message says what to bring, and never repeats it."""

    def __init__(self, message: str, *, brought: bool) -> None:
        super().__init__(message)
        self.brought = brought


class AccessUnavailableError(RuntimeError):
    """The keys cannot be read: nobody is let in until they can."""


class Access:
    """Tells callers by what they bring; ``local_secret`` is what the command line on this machine brings.

    ``rate`` is how many requests a second each may make that has no rate of its own; 0: any number. ``asks``: nobody
    comes in without a credential; so it is from the first key on, also after the last was revoked, and where others
    than this machine are served.
    """

    def __init__(
        self, store: AccessStore, clock: Callable[[], datetime], *, oidc: Oidc | None = None, rate: float = 0
    ) -> None:
        self.local_secret = secrets.token_urlsafe()
        self.store = store
        self.asks = oidc is not None
        self._oidc = oidc
        self._rate = rate
        self._rates = Rates()
        self._clock = clock
        self._keys: dict[str, tuple[ApiKey, bytes, Caller]] = {}
        self._used: dict[str, datetime] = {}
        self._stale = self._due = -1.0
        self._renewing: asyncio.Task[None] | None = None
        self._reading = asyncio.Lock()

    async def caller(self, authorization: str | None) -> Caller:
        """Who brings this ``Authorization`` header.

        UnknownCallerError if nobody is known by it; AccessUnavailableError if the keys cannot be read.
        """
        if not self._fresh():
            await self._read()
        credential = _credential(authorization)
        if (found := self._found(credential)) is not None:
            return found
        if self._oidc is not None and credential is not None and credential.count(".") == _DOTS_OF_A_JWT:
            return await self._by_token(self._oidc, credential)
        if authorization is None:
            raise UnknownCallerError(_BRING, brought=False)
        raise UnknownCallerError(f"nobody is known by what was brought, or not any more: {_BRING}", brought=True)

    def at_hand(self, authorization: str | None) -> Caller | None:
        """``caller`` of those who can be told without waiting; None: of others, and of who is not known."""
        return self._found(_credential(authorization)) if self._fresh() else None

    def wait(self, caller: Caller) -> float:
        """For how many seconds the caller has asked too often; 0: not at all. Who proves nothing is not counted."""
        rate = self._rate if caller.rate is None else caller.rate
        return self._rates.wait(caller.name, rate) if rate and caller.proven else 0

    def _fresh(self) -> bool:
        """Whether the keys are still taken for what they were; if not for long, they are read anew from here on."""
        now = monotonic()
        if self._due <= now < self._stale and (self._renewing is None or self._renewing.done()):
            self._renewing = asyncio.create_task(self._renew())
        return now < self._stale

    def _found(self, credential: str | None) -> Caller | None:
        if credential is not None:
            if compare_digest(credential.encode(), self.local_secret.encode()):
                return LOCAL
            if (found := self._by_key(credential)) is not None:
                return found
        return None if self.asks else ANYBODY

    def _by_key(self, credential: str) -> Caller | None:
        known = self._keys.get(id_in(credential) or "")
        if known is None:
            return None
        key, digest, caller = known
        now = self._clock()
        if not (compare_digest(digest, digest_of(credential)) and key.holds(now)):
            return None
        self._used[key.id] = now
        return caller

    async def _by_token(self, oidc: Oidc, token: str) -> Caller:
        try:
            return await oidc.caller(token)
        except BadTokenError as error:
            raise UnknownCallerError(f"{error}: get a new one from {oidc.issuer}", brought=True) from None
        except ProviderUnavailableError as error:
            raise AccessUnavailableError(str(error)) from error

    async def _read(self) -> None:
        async with self._reading:
            if monotonic() < self._stale:
                return
            await self._take()

    async def _renew(self) -> None:
        """Read the keys before they are stale, so that nobody has to wait for it."""
        async with self._reading:
            self._due = self._stale
            with suppress(AccessUnavailableError):  # who comes when they are stale is told
                await self._take()

    async def _take(self) -> None:
        asked = monotonic()
        try:
            self._keys = await asyncio.to_thread(self._from_store)
        except SQLAlchemyError as error:
            raise AccessUnavailableError("the API keys cannot be read just now: try again") from error
        self.asks = self.asks or bool(self._keys)
        self._stale, self._due = asked + FRESH_SECONDS, asked + FRESH_SECONDS / 2

    def _from_store(self) -> dict[str, tuple[ApiKey, bytes, Caller]]:
        found = {key.id: (key, digest, _caller(key)) for key, digest in self.store.every_key()}
        now, used = self._clock(), self._used
        self._used = {}
        # A copy: the event loop, which goes on meanwhile, may still put something there.
        due = [one for one, when in list(used.items()) if one in found and _long_ago(found[one][0].last_used, when)]
        if due:
            self.store.note_use(due, now)
        return found


def _caller(key: ApiKey) -> Caller:
    return Caller(key.name, frozenset(key.scopes), key.sources, rate=key.rate)


def _long_ago(noted: datetime | None, used: datetime) -> bool:
    return noted is None or used - noted > USE_NOTED


def _credential(authorization: str | None) -> str | None:
    """The token of ``Bearer``, or the user name of ``Basic``: Segment's write keys come so."""
    scheme, _, rest = (authorization or "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip() or None
    if scheme.lower() != "basic":
        return None
    try:
        return b64decode(rest.strip(), validate=True).decode().partition(":")[0] or None
    except (NotBase64Error, ValueError):
        return None
