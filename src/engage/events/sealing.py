"""Personal fields, readable only with the account's key: sealed before the log, erased by forgetting the key.

AES-256-GCM (NIST SP 800-38D) by ``cryptography``; each sealed text carries its key generation and a random nonce and is
bound to its account, so it cannot be moved to another.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Raw, Struct

from engage.events.catalogue import CATALOGUE
from engage.events.catalogue.base import UNDECLARED, EventType, Nested
from engage.events.envelope import Event, is_account

PREFIX = "sealed:"
ERASED = "[erased]"
_NONCE_BYTES = 12
# Nonce and tag alone are 28 bytes, 38 characters and their padding.
_SEALED = re.compile(PREFIX + r"[1-9][0-9]{0,8}:[A-Za-z0-9+/]{38,}={0,2}")


class AccountKey(Struct, frozen=True):
    """An account's key of one generation: 32 secret bytes, which no log line or traceback shows."""

    generation: int
    secret: bytes

    def __repr__(self) -> str:
        return f"AccountKey(generation={self.generation})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("generation", self.generation)]


class SealError(ValueError):
    """A sealed text that this key does not open: it belongs to another account or generation, or was altered."""


def new_secret() -> bytes:
    """32 random bytes for a new account key."""
    return AESGCM.generate_key(bit_length=256)


def seal_text(text: str, key: AccountKey, account: str) -> str:
    """``text`` sealed for ``account``: ``sealed:<generation>:<base64 of nonce and ciphertext>``."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = nonce + AESGCM(key.secret).encrypt(nonce, text.encode("utf-8", "surrogatepass"), account.encode())
    return f"{PREFIX}{key.generation}:{base64.b64encode(sealed).decode()}"


def is_sealed(value: object) -> bool:
    """Whether ``value`` has the form of a sealed text, all of it: what only begins like one is plain text."""
    return isinstance(value, str) and value.startswith(PREFIX) and _SEALED.fullmatch(value) is not None


def generation_of(sealed: str) -> int:
    """The key generation that a sealed text needs; SealError if it is not of that form."""
    try:
        return int(sealed.split(":", 2)[1])
    except (IndexError, ValueError) as error:
        raise SealError(f"{sealed[:20]!r}… is not a sealed text") from error


def open_text(sealed: str, key: AccountKey, account: str) -> str:
    """The text that was sealed for ``account`` with ``key``; SealError if it was not."""
    try:
        blob = base64.b64decode(sealed.split(":", 2)[2], validate=True)
        return (
            AESGCM(key.secret)
            .decrypt(blob[:_NONCE_BYTES], blob[_NONCE_BYTES:], account.encode())
            .decode("utf-8", "surrogatepass")
        )
    except (IndexError, ValueError, InvalidTag) as error:
        raise SealError(
            f"the key of generation {key.generation} does not open this text of account {account!r}"
        ) from error


def exposed(event: Event[Raw], shape: Any = msgspec.UNSET) -> dict[str, Any] | None:
    """What of the event's data must be sealed before it reaches the log, by field; None if nothing must.

    ``shape`` is what the data say, for who has read them already.
    An unknown type's data is sealed whole, under the name ``undeclared``.
    """
    if shape is msgspec.UNSET:
        shape = msgspec.json.decode(event.data)
    kind = CATALOGUE.get(event.type)
    if kind is not None and kind.open.issuperset(shape) and next(_undeclared_inside(shape, kind), None) is None:
        return None  # as nearly always
    if not is_account(event.subject):
        return None
    if kind is None:
        if isinstance(shape, dict) and all(name == UNDECLARED and is_sealed(value) for name, value in shape.items()):
            return None
        return {UNDECLARED: shape}
    found = {
        name: value
        for name, value in shape.items()
        if (name in kind.personal or name not in kind.fields) and value is not None and not is_sealed(value)
    }
    found.update((path, holder[name]) for path, holder, name in _undeclared_inside(shape, kind))
    return found or None


def seal(event: Event[Raw], found: Mapping[str, Any], key: AccountKey) -> Event[Raw]:
    """The event with ``found`` (what ``exposed`` found) sealed with ``key`` of its account.

    Personal fields are sealed one by one; everything undeclared goes, as one sealed JSON object, into ``undeclared``.
    """
    kind = CATALOGUE.get(event.type)
    if kind is None:
        event.data = _raw({UNDECLARED: seal_text(_json_text(found[UNDECLARED]), key, event.subject)})
        return event
    shape: dict[str, Any] = msgspec.json.decode(event.data)
    for _, holder, field in list(_undeclared_inside(shape, kind)):
        del holder[field]
    rest = {}
    for name, value in found.items():
        if name in kind.personal:
            shape[name] = seal_text(value, key, event.subject)
        else:
            shape.pop(name, None)
            rest[name] = value
    if rest:
        shape[UNDECLARED] = seal_text(_json_text(rest), key, event.subject)
    event.data = _raw(shape)
    return event


def holds_sealed(event: Event[Raw]) -> bool:
    """Whether something in the event's data may be sealed."""
    return PREFIX.encode() in bytes(event.data)


def seal_anew(event: Event[Raw], keys: Mapping[int, AccountKey], owner: str, key: AccountKey) -> Event[Raw]:
    """The event, which is now said of another account, with what ``keys`` of ``owner`` open sealed with ``key``.

    What they do not open stays as it is: nobody can read it there either.
    """
    shape = msgspec.json.decode(event.data)
    for name, value in shape.items() if isinstance(shape, dict) else ():
        if is_sealed(value):
            with suppress(KeyError, SealError):
                shape[name] = seal_text(open_text(value, keys[generation_of(value)], owner), key, event.subject)
    event.data = _raw(shape)
    return event


def undeclared(shape: dict[str, Any], kind: EventType) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Each field of ``kind``'s data that the catalogue does not declare: its path, what holds it, its name there."""
    yield from ((name, shape, name) for name in shape if name not in kind.fields)
    yield from _undeclared_inside(shape, kind)


def _undeclared_inside(shape: dict[str, Any], kind: EventType) -> Iterator[tuple[str, dict[str, Any], str]]:
    for name, nested in kind.nested.items():
        if name in shape:
            yield from _undeclared(shape[name], nested, name)


def _undeclared(value: Any, nested: Nested, path: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Each undeclared field in the objects under a declared one: its path, the object that holds it, its name there."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _undeclared(item, nested, f"{path}/{index}")
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in nested.fields:
                yield f"{path}/{name}", value, name
            elif name in nested.nested:
                yield from _undeclared(inner, nested.nested[name], f"{path}/{name}")


def unseal(data: dict[str, Any], keys: Mapping[int, AccountKey], account: str) -> dict[str, Any]:
    """The top-level fields of ``data`` with what ``keys`` (by generation) open in plain words.

    What they do not open (the account was erased, or somebody who writes to Kafka made it up) reads ``[erased]``;
    undeclared fields stand beside the declared ones, nested ones under their path.
    """
    plain: dict[str, Any] = {}
    for name, value in data.items():
        if not is_sealed(value):
            plain[name] = value
            continue
        try:
            text = open_text(value, keys[generation_of(value)], account)
        except (KeyError, SealError):
            plain[name] = ERASED
            continue
        if name != UNDECLARED:
            plain[name] = text
        else:
            rest = msgspec.json.decode(text)
            plain.update(rest if isinstance(rest, dict) else {UNDECLARED: rest})
    return plain


def _json_text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _raw(value: object) -> Raw:
    return Raw(msgspec.json.encode(value))
