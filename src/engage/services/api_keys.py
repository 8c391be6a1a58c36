"""Making, replacing and ending API keys, and the trail that each of it leaves."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import cast

from engage.events.validation import text_fault
from engage.scopes import SCOPES, Scope
from engage.services.audit import deed
from engage.store.access import AccessStore, ApiKeyError
from engage.store.api_keys import ApiKey, new_id
from engage.store.audit import Deed

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_LONGEST_SOURCE = 256


class ApiKeys:
    """The keys in ``store``, as ``actor`` changes them."""

    def __init__(self, store: AccessStore, actor: str, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._actor = actor
        self._clock = clock

    def create(
        self,
        name: str,
        scopes: Sequence[str],
        sources: Sequence[str] = (),
        *,
        expires: timedelta | None = None,
        rate: float | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key, and its text, which is kept nowhere; ApiKeyError says what is wrong with what was asked for.

        ``expires`` is how long it holds, ``rate`` its requests a second.
        """
        now = self._clock()
        key = ApiKey(
            id=new_id(),
            name=_checked_name(name),
            scopes=_checked_scopes(scopes),
            sources=_checked_sources(sources, scopes),
            rate=rate,
            created=now,
            expires=None if expires is None else now + expires,
        )
        return key, self._store.create(key, self._deed("create", name, now))

    def every(self) -> list[ApiKey]:
        """Every key that ever was, the oldest first."""
        return [key for key, _ in self._store.every_key()]

    def rotate(self, name: str, grace: timedelta) -> tuple[ApiKey, str]:
        """A key in the place of that of ``name``, which holds for ``grace`` more; NoApiKeyError if none holds."""
        now = self._clock()
        return self._store.rotate(name, now + grace, self._deed("rotate", name, now))

    def revoke(self, name: str) -> list[ApiKey]:
        """Refuse all keys of ``name``, or the one that begins so; NoApiKeyError if none holds."""
        now = self._clock()
        return self._store.revoke(name, self._deed("revoke", name, now))

    def _deed(self, verb: str, name: str, now: datetime) -> Deed:
        return deed(self._actor, f"api-keys {verb}", name, now)


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ApiKeyError(
            f"{name!r} cannot name a key: up to 64 small letters, digits, dots, - and _, such as shop or crm-screens; "
            "it stands on the log as who gave a command"
        )
    return name


def _checked_scopes(scopes: Sequence[str]) -> tuple[Scope, ...]:
    for scope in scopes:
        if scope not in SCOPES:
            close = get_close_matches(scope, SCOPES, n=1)
            hint = f"did you mean {close[0]}? There are" if close else "there are"
            raise ApiKeyError(f"{scope!r} is no scope: {hint} {', '.join(SCOPES)}")
    return tuple(scope for scope in SCOPES if scope in cast("Sequence[Scope]", scopes))


def _checked_sources(sources: Sequence[str], scopes: Sequence[str]) -> tuple[str, ...]:
    if sources and "publish" not in scopes:
        raise ApiKeyError("a source is for a key that publishes: add the scope publish, or leave the source out")
    for source in sources:
        if not 0 < len(source) <= _LONGEST_SOURCE or text_fault(source):
            raise ApiKeyError(f"{source!r} can be no event's source: give it as the events do, such as urn:shop")
    return tuple(dict.fromkeys(sources))
