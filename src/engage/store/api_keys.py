"""API keys: what they look like, and how they are kept, which is without the keys themselves.

A key is ``engage_ID_SECRET``. By the id it is found and recognised, and the secret are 32 random bytes. What is kept is
SHA-256 of the whole. A slow hash, as for passwords, defends what can be guessed; nobody guesses 256 random bits, and
every request has to be checked.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Column, Connection, Double, LargeBinary, MetaData, Row, Table, Text, insert, or_, select, update

from engage.scopes import Scope
from engage.store.columns import Moment

PREFIX = "engage_"
_ID_BYTES, _SECRET_BYTES = 6, 32

TABLES = MetaData()
API_KEYS = Table(
    "api_keys",
    TABLES,
    Column("id", Text, primary_key=True, comment="the part of the key by which it is recognised"),
    Column("name", Text, nullable=False, index=True, comment="whose it is; the same for a key and what replaces it"),
    Column("digest", LargeBinary, nullable=False, comment="SHA-256 of the whole key, which itself is kept nowhere"),
    Column("scopes", Text, nullable=False, comment="JSON: publish, read, work, operate"),
    Column("sources", Text, nullable=False, comment="JSON: the sources it may publish as; empty: any"),
    Column("rate", Double, comment="requests a second; null: as the settings say"),
    Column("created", Moment, nullable=False),
    Column("expires", Moment, comment="it is refused from then on; null: never"),
    Column("revoked", Moment, comment="it was refused from then on"),
    Column("last_used", Moment, comment="to about ten minutes"),
    comment="API keys. Not a fold of the log: back it up.",
)

_strings = msgspec.json.Decoder(tuple[str, ...]).decode
_scopes = msgspec.json.Decoder(tuple[Scope, ...]).decode


class ApiKey(Struct, frozen=True, kw_only=True):
    """A key as it may be shown: see the columns' comments."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    sources: tuple[str, ...] = ()
    rate: float | None = None
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None
    last_used: datetime | None = None

    @property
    def prefix(self) -> str:
        """How the key begins."""
        return PREFIX + self.id

    def holds(self, now: datetime) -> bool:
        """Whether it opens anything at ``now``."""
        return self.revoked is None and (self.expires is None or now < self.expires)


def new_text(id: str) -> str:  # noqa: A002
    """A new key with this id, to be shown once."""
    return f"{PREFIX}{id}_{secrets.token_urlsafe(_SECRET_BYTES)}"


def new_id() -> str:
    """An id that no other key has."""
    return secrets.token_hex(_ID_BYTES)


def id_in(text: str) -> str | None:
    """The id in what claims to be a key, None if it is none of ours."""
    return text.removeprefix(PREFIX).partition("_")[0] if text.startswith(PREFIX) else None


def digest_of(text: str) -> bytes:
    """What is kept of a key."""
    return sha256(text.encode()).digest()


def put(connection: Connection, key: ApiKey, digest: bytes) -> None:
    """Keep a new key."""
    row = msgspec.structs.asdict(key) | {
        "digest": digest,
        "scopes": msgspec.json.encode(key.scopes).decode(),
        "sources": msgspec.json.encode(key.sources).decode(),
    }
    connection.execute(insert(API_KEYS).values(row))


def every(connection: Connection) -> list[tuple[ApiKey, bytes]]:
    """Every key that ever was, the oldest first, and what is kept of it."""
    rows = connection.execute(select(API_KEYS).order_by(API_KEYS.c.created, API_KEYS.c.id))
    return [(_key(row), bytes(row.digest)) for row in rows]


def named(connection: Connection, name: str, now: datetime) -> list[ApiKey]:
    """The keys that hold at ``now`` and have this name, or this id, or begin like this; the oldest first."""
    columns = API_KEYS.c
    asked = select(API_KEYS).where(or_(columns.name == name, columns.id == name.removeprefix(PREFIX)))
    found = [_key(row) for row in connection.execute(asked.order_by(columns.created, columns.id))]
    return [key for key in found if key.holds(now)]


def end(connection: Connection, ids: Collection[str], **moments: datetime) -> None:
    """Set when these were ``revoked``, or when they ``expire``."""
    connection.execute(update(API_KEYS).where(API_KEYS.c.id.in_(ids)).values(moments))


def note_use(connection: Connection, ids: Collection[str], now: datetime) -> None:
    """These were used about now."""
    connection.execute(update(API_KEYS).where(API_KEYS.c.id.in_(ids)).values(last_used=now))


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        scopes=_scopes(row.scopes),
        sources=_strings(row.sources),
        rate=row.rate,
        created=row.created,
        expires=row.expires,
        revoked=row.revoked,
        last_used=row.last_used,
    )
