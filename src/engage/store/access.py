"""Who may come in, and what operators did: API keys and the trail of commands, in one database."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from msgspec import structs
from sqlalchemy import Connection

from engage.store import api_keys, audit, schema_version
from engage.store.api_keys import ApiKey
from engage.store.audit import Deed
from engage.store.database import Database

SCHEMA = 1


class ApiKeyError(ValueError):
    """A key that cannot be made, or that there is none of; the message says what to do."""


class NoApiKeyError(ApiKeyError):
    """No key that holds has this name."""


class AccessStore:
    """API keys and the audit trail in the database at ``url``, ``sqlite:///FILE`` or ``postgresql://…``.

    Neither is a fold of the log. Safe for several processes: the command line writes while a service reads.
    """

    def __init__(self, url: str) -> None:
        self.database = Database(url, synchronous="full")
        with self.database.set_up() as connection:
            schema_version.settle(
                connection,
                "access",
                api_keys.TABLES,
                version=SCHEMA,
                migrations={},
                remedy="open it with the engage that wrote it, or remove it and make new API keys",
            )

    def close(self) -> None:
        """Close every connection."""
        self.database.close()

    def create(self, key: ApiKey, deed: Deed) -> str:
        """Make a key; returns it, which nobody can do again. ApiKeyError if one of that name still holds."""
        with self.database.write() as connection:
            if api_keys.named(connection, key.name, key.created):
                raise ApiKeyError(
                    f"there is a key named {key.name!r} already: `engage api-keys rotate` replaces it, or choose "
                    "another name"
                )
            text = api_keys.new_text(key.id)
            api_keys.put(connection, key, api_keys.digest_of(text))
            audit.put(connection, deed)
        return text

    def rotate(self, name: str, until: datetime, deed: Deed) -> tuple[ApiKey, str]:
        """A new key in the place of the newest of that name; those before it hold ``until`` then at the longest.

        It lasts as long as that one was made to. NoApiKeyError if none holds.
        """
        with self.database.write() as connection:
            before = self._held(connection, name, deed.time)
            newest = before[-1]
            expires = None if newest.expires is None else deed.time + (newest.expires - newest.created)
            made = structs.replace(newest, id=api_keys.new_id(), created=deed.time, expires=expires, last_used=None)
            text = api_keys.new_text(made.id)
            api_keys.put(connection, made, api_keys.digest_of(text))
            longer = [one.id for one in before if one.expires is None or one.expires > until]
            api_keys.end(connection, longer, expires=until)
            audit.put(connection, deed)
        return made, text

    def revoke(self, name: str, deed: Deed) -> list[ApiKey]:
        """Refuse every key of that name, or the one of that id, from now on; NoApiKeyError if none holds."""
        with self.database.write() as connection:
            found = self._held(connection, name, deed.time)
            api_keys.end(connection, [one.id for one in found], revoked=deed.time)
            audit.put(connection, deed)
        return found

    def every_key(self) -> list[tuple[ApiKey, bytes]]:
        """Every key that ever was, the oldest first, with the digest by which it is proved."""
        with self.database.read() as connection:
            return api_keys.every(connection)

    def note_use(self, ids: Collection[str], now: datetime) -> None:
        """These keys were used about now."""
        with self.database.write() as connection:
            api_keys.note_use(connection, ids, now)

    def keep(self, deed: Deed) -> None:
        """Keep what an operator did."""
        with self.database.write() as connection:
            audit.put(connection, deed)

    def deeds(self, limit: int) -> list[Deed]:
        """What operators did last, the newest first."""
        with self.database.read() as connection:
            return audit.newest(connection, limit)

    def untold(self, limit: int, behind: int = 0) -> list[Deed]:
        """What the log does not have yet, in order, without the first ``behind``."""
        with self.database.read() as connection:
            return audit.untold(connection, limit, behind)

    def told(self, deeds: Sequence[Deed]) -> None:
        """The log has these."""
        with self.database.write() as connection:
            audit.told(connection, [deed.id for deed in deeds])

    @staticmethod
    def _held(connection: Connection, name: str, now: datetime) -> list[ApiKey]:
        found = api_keys.named(connection, name, now)
        if not found:
            raise NoApiKeyError(f"no key that holds is named {name!r}, or begins so: `engage api-keys list` shows them")
        return found
