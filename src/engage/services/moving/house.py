"""A house: what one engage keeps, opened for who writes it down or brings it back, and what of it is no fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from sqlalchemy import Table

from engage.log.contract import Log
from engage.relationships.application import Relationships
from engage.services.letters.finding import DeadLetters
from engage.services.moving.manifest import Backend
from engage.store import access, api_keys, audit, key_tables, keys, schema_version, webhook_tables, webhooks
from engage.store.database import Database
from engage.store.views import ViewStore
from engage.views.projection import ReadModel


class Kept(Struct, frozen=True):
    """A store that is carried table by table: its name, the version of its tables, and they."""

    name: str
    schema: int
    tables: tuple[Table, ...]

    def require(self, database: Database) -> None:
        """SchemaVersionError where the tables there are not of this version: the rows would be read wrong."""
        with database.read() as connection:
            schema_version.require(
                connection, self.name, version=self.schema, remedy="start engage once, it brings them up to date"
            )


KEYS = Kept("keys", keys.SCHEMA, key_tables.CARRIED)
ACCESS = Kept("access", access.SCHEMA, (api_keys.API_KEYS, audit.AUDIT))
WEBHOOKS = Kept(
    "webhooks",
    webhooks.SCHEMA,
    (webhook_tables.ENDPOINTS, webhook_tables.CURSORS, webhook_tables.QUEUE, webhook_tables.OUTCOMES),
)


class House(Struct, frozen=True, kw_only=True):
    """Where an engage keeps what it keeps; a store that was never made is None, or not among ``stores``.

    ``stores`` are databases by the name of what they keep, ``settings`` files by theirs.
    """

    engage: str
    log: Log
    letters: DeadLetters
    log_backend: Backend
    store_backend: Backend
    stores: Mapping[str, Database]
    views: ViewStore | None
    relationships: Relationships | None
    models: Sequence[ReadModel[Any]]
    settings: Mapping[str, Path]
    master_key: Path
