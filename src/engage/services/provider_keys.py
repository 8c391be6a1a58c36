"""The public keys of an OpenID provider: fetched when they are needed, and again when a key is new, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Any

import httpx
import msgspec
import structlog
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from engage.services.callers import ProviderUnavailableError
from engage.settings import is_loopback_or_https

OLD_SECONDS = 600.0
"""Keys are fetched again when they are this old: so one that the provider withdrew is refused."""
BETWEEN_SECONDS = 10.0
"""Whatever tokens come in, the provider is not asked more often than this."""
_TIMEOUT_SECONDS = 5.0
_MOST_BYTES = 1_000_000
_SYMMETRIC = "oct"

_logger = structlog.get_logger(__name__)


class ProviderKeys:
    """The signing keys of ``issuer``, as its discovery document names them (OpenID Connect Discovery 1.0).

    If the provider cannot be reached, the keys that were had go on being used.
    """

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._keys: dict[str | None, PyJWK] = {}
        self._fetched = self._tried = float("-inf")
        self._fetching = asyncio.Lock()

    async def key(self, identity: str | None) -> PyJWK | None:
        """The key called so (``kid``), None if there is none; ProviderUnavailableError if no keys can be had."""
        old = monotonic() - self._fetched > OLD_SECONDS
        # Who has a key does not wait while another request fetches new ones.
        if self._find(identity) is None or (old and not self._fetching.locked()):
            async with self._fetching:
                # Whoever waited here finds what the one before it brought.
                if monotonic() - self._tried > BETWEEN_SECONDS:
                    await self._fetch()
        if not self._keys:
            raise ProviderUnavailableError(f"the keys of {self._issuer} cannot be had just now: try again")
        return self._find(identity)

    def _find(self, identity: str | None) -> PyJWK | None:
        if identity is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(identity)

    async def _fetch(self) -> None:
        self._tried = monotonic()
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS) as http:
                about = await _get(http, f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
                if about["issuer"] != self._issuer:
                    raise ValueError(f"it calls itself {about['issuer']!r}")
                if not is_loopback_or_https(about["jwks_uri"]):
                    raise ValueError("its keys are not served over https")
                keys = _usable(await _get(http, about["jwks_uri"]))
        except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            words = f"{type(error).__name__}: {error}"
            _logger.warning("the keys of the OpenID provider cannot be had", issuer=self._issuer, error=words)
            return
        self._keys = keys
        self._fetched = monotonic()


async def _get(http: httpx.AsyncClient, url: str) -> dict[str, Any]:
    body = bytearray()
    async with http.stream("GET", url) as answer:
        answer.raise_for_status()
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > _MOST_BYTES:
                raise ValueError(f"{url} answers more than {_MOST_BYTES:,} bytes")
    return msgspec.json.decode(bytes(body), type=dict[str, Any])


def _usable(jwks: Mapping[str, Any]) -> dict[str | None, PyJWK]:
    """The keys that sign; a symmetric one signs nothing here, and one of a kind that we do not know is left out."""
    found: dict[str | None, PyJWK] = {}
    for one in jwks["keys"]:
        if one.get("kty") == _SYMMETRIC or one.get("use", "sig") != "sig":
            continue
        try:
            found[one.get("kid")] = PyJWK(one)
        except PyJWTError:
            continue
    return found
