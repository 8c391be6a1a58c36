"""Callers by the tokens of an OpenID provider: JWTs (RFC 7519) that it signed for us."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jwt
from jwt.exceptions import PyJWTError
from msgspec import Struct

from engage.scopes import Scope
from engage.services.callers import BadTokenError, Caller
from engage.services.provider_keys import ProviderKeys

ALGORITHMS = ("ES256", "ES384", "ES512", "EdDSA", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512")
"""Signatures with a private key. HMAC and `none` are not among them: everybody has the public key."""
LEEWAY_SECONDS = 30
_LONGEST_TOKEN = 16_384
_LONGEST_NAME = 128


class OidcSettings(Struct, frozen=True):
    """Whose tokens are taken (``issuer``), for whom they must be (``audience``), and how they are read.

    ``claim`` holds what the bearer may do in the provider's words, which ``scopes`` translates; ``name`` holds who the
    bearer is.
    """

    issuer: str
    audience: str
    claim: str
    scopes: Mapping[str, frozenset[Scope]]
    name: str


class Oidc:
    """Tells callers by tokens."""

    def __init__(self, settings: OidcSettings) -> None:
        self._settings = settings
        self._keys = ProviderKeys(settings.issuer)

    @property
    def issuer(self) -> str:
        """Who issues the tokens."""
        return self._settings.issuer

    async def caller(self, token: str) -> Caller:
        """Whose token it is, and what it lets them do.

        BadTokenError says what is wrong with it; ProviderUnavailableError if there are no keys to check it with.
        """
        claims = await self._claims(token)
        name = claims.get(self._settings.name)
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
            raise BadTokenError(f"the token has no claim {self._settings.name!r} that names its bearer")
        said = _words(claims, self._settings.claim)
        scopes = frozenset[Scope]().union(*(self._settings.scopes.get(word, frozenset()) for word in said))
        # No key's name holds a colon, and none a slash: nobody at the provider can take the name of one of ours.
        return Caller(f"oidc:{name.replace('%', '%25').replace('/', '%2F')}", scopes)

    async def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > _LONGEST_TOKEN:
            raise BadTokenError(f"the token has {len(token):,} characters and may have {_LONGEST_TOKEN:,}")
        try:
            key = await self._keys.key(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                raise BadTokenError("the token is signed with a key that its provider does not have")
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
            )
        except (PyJWTError, ValueError) as error:
            raise BadTokenError(f"the token proves nothing: {error}") from None
        return claims


def _words(claims: Mapping[str, Any], path: str) -> list[str]:
    """The words in a claim, a text of them or a list; ``realm_access.roles`` is a claim within a claim."""
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for name in path.split("."):
            found = found.get(name) if isinstance(found, dict) else None
    if isinstance(found, str):
        return found.split()
    return [word for word in found if isinstance(word, str)] if isinstance(found, list) else []
