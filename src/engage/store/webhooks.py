"""Who is told what by webhook, and how far each has been told: durable, the secrets sealed with a key that is given."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct
from sqlalchemy import Connection, Update, delete, func, insert, literal, select, update

from engage.store import schema_version
from engage.store.columns import Moment
from engage.store.database import Database
from engage.store.master_key import MasterKeyError
from engage.store.webhook_queue import WebhookQueue, hold
from engage.store.webhook_tables import CURSORS, ENDPOINTS, QUEUE, TABLES

SCHEMA = 1
LOG = "log"
"""The stream that is the log itself; that of a view is ``view:`` and its name."""
_NONCE_BYTES = 12


class Subscription(Struct, frozen=True, kw_only=True):
    """What an endpoint is told: event types and views by name, and filters, which hold where they are not empty.

    ``channels``, ``rules`` and ``purposes`` choose among follow-ups, ``kinds`` among accounts. Of personal fields only
    those named in ``in_clear`` are sent.
    """

    events: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    in_clear: tuple[str, ...] = ()

    @property
    def streams(self) -> tuple[str, ...]:
        """What has to be followed for it."""
        return (*((LOG,) if self.events else ()), *(f"view:{name}" for name in self.views))


class Secret(Struct, frozen=True):
    """A signing secret, ``whsec_…``; one that was replaced signs ``until`` then, beside the newer one."""

    value: str
    until: datetime | None = None

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Secret(until={self.until})"


class Endpoint(Struct, frozen=True, kw_only=True):
    """One endpoint; see the columns' comments."""

    id: str
    url: str
    subscription: Subscription
    secrets: tuple[Secret, ...]
    created: datetime
    disabled: str | None = None
    failing_since: datetime | None = None
    last_answer: str | None = None


class Cursor(Struct, frozen=True):
    """How far an endpoint has been told of a partition of a stream."""

    endpoint: str
    stream: str
    partition: int
    generation: str
    position: int


class CursorMovedError(RuntimeError):
    """Another process has queued the same for this endpoint already, or it is gone: read its cursor again."""


class WebhookStore:
    """Endpoints and their cursors in the database at ``url``; ``queue`` holds what waits to be sent.

    ``keys`` tells which 32 bytes seal secrets now, and those that older ones may have been sealed with; MasterKeyError
    where it was none of them.
    """

    def __init__(self, url: str, keys: Callable[[], Sequence[bytes]]) -> None:
        self.database = Database(url, synchronous="full")
        self._keys = keys
        self.queue = WebhookQueue(self.database)
        with self.database.set_up() as connection:
            schema_version.settle(
                connection, "webhooks", TABLES, version=SCHEMA, migrations={}, remedy="restore them from the backup"
            )

    def close(self) -> None:
        """Close every connection."""
        self.database.close()

    def endpoints(self) -> list[Endpoint]:
        """All of them, the oldest first."""
        with self.database.read() as connection:
            found = connection.execute(select(ENDPOINTS).order_by(ENDPOINTS.c.created, ENDPOINTS.c.id))
            return [self._endpoint(row) for row in found]

    def endpoint(self, identity: str) -> Endpoint | None:
        """The endpoint of this id, None if there is none."""
        with self.database.read() as connection:
            row = connection.execute(select(ENDPOINTS).where(ENDPOINTS.c.id == identity)).first()
            return None if row is None else self._endpoint(row)

    def add(self, endpoint: Endpoint, cursors: Iterable[Cursor]) -> None:
        """Keep a new endpoint, and from where on it is told."""
        rows = [msgspec.structs.asdict(cursor) for cursor in cursors]
        with self._sealing() as connection:
            connection.execute(insert(ENDPOINTS).values(self._row(endpoint)))
            if rows:
                connection.execute(insert(CURSORS), rows)

    def change_secrets(self, endpoint: Endpoint) -> None:
        """Keep the secrets of an endpoint as they are here."""
        with self._sealing() as connection:
            self._keep_secrets(connection, endpoint)

    def seal_anew(self) -> int:
        """Seal all secrets with the key that seals now; of how many endpoints."""
        with self._sealing() as connection:
            found = [self._endpoint(row) for row in connection.execute(select(ENDPOINTS).with_for_update())]
            for endpoint in found:
                self._keep_secrets(connection, endpoint)
        self.database.scrub(ENDPOINTS.name)
        return len(found)

    def remove(self, identity: str) -> bool:
        """Forget an endpoint and all that waits for it; whether there was one."""
        with self.database.write() as connection:
            hold(connection, identity)
            for table in (QUEUE, CURSORS):
                connection.execute(delete(table).where(table.c.endpoint == identity))
            return connection.execute(delete(ENDPOINTS).where(ENDPOINTS.c.id == identity)).rowcount > 0

    def disable(self, identity: str, why: str) -> None:
        """Send nothing there any more; what waits goes on waiting, and its cursors stand still."""
        with self.database.write() as connection:
            connection.execute(update(ENDPOINTS).where(ENDPOINTS.c.id == identity).values(disabled=why))

    def enable(self, identity: str, now: datetime, cursors: Iterable[Cursor] = ()) -> None:
        """Send there again, what waits at once; ``cursors`` say where to go on from, else from where it stood."""
        with self.database.write() as connection:
            held = update(ENDPOINTS).where(ENDPOINTS.c.id == identity)
            connection.execute(held.values(disabled=None, failing_since=None))
            self.queue.hurry(connection, identity, now)
            for cursor in cursors:
                connection.execute(_at(cursor).values(generation=cursor.generation, position=cursor.position))

    def note(self, identity: str, answer: str, now: datetime, *, good: bool) -> None:
        """Remember what came of an attempt."""
        failing = None if good else func.coalesce(ENDPOINTS.c.failing_since, literal(now, Moment()))
        with self.database.write() as connection:
            held = update(ENDPOINTS).where(ENDPOINTS.c.id == identity)
            connection.execute(held.values(last_answer=answer, failing_since=failing))

    def cursors(self, endpoints: Sequence[str]) -> list[Cursor]:
        """How far these have been told."""
        columns = [CURSORS.c[name] for name in Cursor.__struct_fields__]
        with self.database.read() as connection:
            found = select(*columns).where(CURSORS.c.endpoint.in_(endpoints))
            return [Cursor(*row) for row in connection.execute(found)]

    def tell(self, steps: Mapping[Cursor, Cursor], rows: Sequence[dict[str, Any]]) -> None:
        """Queue ``rows`` (columns of the queue) and move cursors from where they stood, or nothing.

        CursorMovedError if somebody else moved one of them.
        """
        with self.database.write() as connection:
            for old, new in sorted(steps.items(), key=lambda step: (step[0].endpoint, step[0].stream)):
                hold(connection, old.endpoint)
                stood = CURSORS.c.generation == old.generation, CURSORS.c.position == old.position
                moved = _at(old).where(*stood).values(generation=new.generation, position=new.position)
                if connection.execute(moved).rowcount != 1:
                    raise CursorMovedError(
                        f"webhook {old.endpoint}: {old.stream}, partition {old.partition} is no longer at "
                        f"{old.position}: another process works on it"
                    )
            self.queue.put(connection, rows)

    def _row(self, endpoint: Endpoint) -> dict[str, Any]:
        row = msgspec.structs.asdict(endpoint)
        row["subscription"] = msgspec.json.encode(endpoint.subscription).decode()
        row["secrets"] = self._sealed(endpoint)
        return row

    @contextmanager
    def _sealing(self) -> Iterator[Connection]:
        """A transaction beside which nobody else seals secrets: so an old key seals none that ``seal_anew`` missed."""
        with self.database.write() as connection:
            if not self.database.sqlite:
                connection.exec_driver_sql(f"LOCK TABLE {ENDPOINTS.name} IN SHARE ROW EXCLUSIVE MODE")
            yield connection

    def _keep_secrets(self, connection: Connection, endpoint: Endpoint) -> None:
        held = update(ENDPOINTS).where(ENDPOINTS.c.id == endpoint.id)
        connection.execute(held.values(secrets=self._sealed(endpoint)))

    def _sealed(self, endpoint: Endpoint) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self._keys()[0]).encrypt(
            nonce, msgspec.json.encode(endpoint.secrets), endpoint.id.encode()
        )

    def _opened(self, identity: str, blob: bytes) -> bytes:
        for key in self._keys():
            with suppress(InvalidTag):
                return AESGCM(key).decrypt(blob[:_NONCE_BYTES], blob[_NONCE_BYTES:], identity.encode())
        raise MasterKeyError(
            f"the secrets of webhook {identity} in {self.database.name} were sealed with another master key or "
            "altered: put the master key file that belongs to them back"
        )

    def _endpoint(self, row: Any) -> Endpoint:
        values = dict(row._mapping)
        plain = self._opened(values["id"], values["secrets"])
        values["secrets"] = msgspec.json.decode(plain, type=tuple[Secret, ...])
        values["subscription"] = msgspec.json.decode(values["subscription"], type=Subscription)
        return Endpoint(**values)


def _at(cursor: Cursor) -> Update:
    columns = CURSORS.c
    return update(CURSORS).where(
        columns.endpoint == cursor.endpoint, columns.stream == cursor.stream, columns.partition == cursor.partition
    )
