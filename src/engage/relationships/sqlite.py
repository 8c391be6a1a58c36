"""Relationships in one SQLite file: the library's recorder, with what is kept beside the events."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from sqlite3 import OperationalError
from typing import Any
from uuid import UUID

from eventsourcing.persistence import IntegrityError, StoredEvent
from eventsourcing.sqlite import (
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteCursor,
    SQLiteFactory,
    SQLiteProcessRecorder,
)
from eventsourcing.utils import Environment
from msgspec import structs

from engage.relationships.recorder import KEPT_MICROS, Answered, Beside, PositionMovedError

_LOCK_SECONDS = 5.0


class RelationshipsSQLiteRecorder(SQLiteProcessRecorder):
    """Stored events, positions, open follow-ups and answers in one SQLite file."""

    def construct_create_table_statements(self) -> list[str]:
        """The library's tables and ours."""
        return [
            *super().construct_create_table_statements(),
            "CREATE TABLE IF NOT EXISTS open_follow_ups (id TEXT PRIMARY KEY, expires INTEGER NOT NULL) WITHOUT ROWID",
            "CREATE INDEX IF NOT EXISTS open_follow_ups_expires ON open_follow_ups (expires)",
            "CREATE TABLE IF NOT EXISTS answered_commands "
            "(key TEXT PRIMARY KEY, request TEXT NOT NULL, answer BLOB NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID",
            "CREATE INDEX IF NOT EXISTS answered_commands_at ON answered_commands (at)",
        ]

    def create_table(self) -> None:
        """The tables, also when another process makes them in the same moment, which the library takes for a fault."""
        try:
            super().create_table()
        except IntegrityError:
            super().create_table()

    def _insert_events(
        self, c: SQLiteCursor, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        beside: Beside = kwargs.pop("beside", None) or Beside()
        for move in beside.moves:
            if move.previous is None:
                c.execute(
                    "INSERT INTO tracking VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING notification_id",
                    (move.name, move.position),
                )
            else:
                c.execute(
                    "UPDATE tracking SET notification_id = ? WHERE application_name = ? AND notification_id = ? "
                    "RETURNING notification_id",
                    (move.position, move.name, move.previous),
                )
            if c.fetchone() is None:
                raise PositionMovedError(move)
        ids = super()._insert_events(c, stored_events, **kwargs)
        if beside.opened:
            c.executemany("INSERT INTO open_follow_ups VALUES (?, ?)", [(one.hex, due) for one, due in beside.opened])
        if beside.closed:
            c.executemany("DELETE FROM open_follow_ups WHERE id = ?", [(one.hex,) for one in beside.closed])
        if beside.all_relayed is not None:
            c.execute(
                f"INSERT OR REPLACE INTO tracking SELECT ?, MAX(rowid) FROM {self.events_table_name}",
                (beside.all_relayed,),
            )
        if (answered := beside.answered) is not None:
            c.execute("DELETE FROM answered_commands WHERE at <= ?", (answered.at - KEPT_MICROS,))
            c.execute("INSERT INTO answered_commands VALUES (?, ?, ?, ?)", structs.astuple(answered))
        return ids

    def answered(self, key: str, since: int) -> Answered | None:
        """What a command with this key was answered at ``since`` or later (microseconds since 1970)."""
        rows = self._rows(
            "SELECT key, request, answer, at FROM answered_commands WHERE key = ? AND at >= ?", key, since
        )
        return Answered(*rows[0]) if rows else None

    def settle(self, key: str, answer: bytes | None) -> None:
        """Put ``answer`` in the place of what is kept under this key; None: forget it."""
        with self.datastore.transaction(commit=True) as c:
            if answer is None:
                c.execute("DELETE FROM answered_commands WHERE key = ?", (key,))
            else:
                c.execute("UPDATE answered_commands SET answer = ? WHERE key = ?", (answer, key))

    def kept_answers(self) -> list[Answered]:
        """What commands were answered, the oldest first."""
        return [
            Answered(*row) for row in self._rows("SELECT key, request, answer, at FROM answered_commands ORDER BY at")
        ]

    def select_many(self, ids: Iterable[UUID]) -> list[StoredEvent]:
        """All stored events of these aggregates, each aggregate's in order."""
        rows = self._rows(
            f"SELECT originator_id, originator_version, topic, state FROM {self.events_table_name} "
            "WHERE originator_id IN (SELECT value FROM json_each(?)) ORDER BY originator_id, originator_version",
            json.dumps([one.hex for one in ids]),
        )
        return [StoredEvent(UUID(one), version, topic, state) for one, version, topic, state in rows]

    def versions(self, ids: Iterable[UUID]) -> dict[UUID, int]:
        """The last version of those of these aggregates that exist."""
        rows = self._rows(
            f"SELECT originator_id, MAX(originator_version) FROM {self.events_table_name} "
            "WHERE originator_id IN (SELECT value FROM json_each(?)) GROUP BY originator_id",
            json.dumps([one.hex for one in ids]),
        )
        return {UUID(one): version for one, version in rows}

    def expired(self, micros: int, limit: int) -> list[UUID]:
        """Up to ``limit`` open follow-ups whose expiry is at or before ``micros``, the earliest first."""
        rows = self._rows(
            "SELECT id FROM open_follow_ups WHERE expires <= ? ORDER BY expires, id LIMIT ?", micros, limit
        )
        return [UUID(row[0]) for row in rows]

    def _rows(self, statement: str, *values: Any) -> list[Any]:
        with self.datastore.transaction(commit=False) as c:
            c.execute(statement, values)
            return list(c.fetchall())


class _DurablePool(SQLiteConnectionPool):
    """Every commit reaches the disk: people's commands are kept nowhere else until they are relayed.

    ``hurries`` says that they need not for a while.
    """

    hurries = False

    def _create_connection(self) -> SQLiteConnection:
        """A connection; the first ones make the file keep a write-ahead log, for which SQLite waits for no writer."""
        until = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                return super()._create_connection()
            except OperationalError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def _get_connection(self, timeout: float = 0.0) -> SQLiteConnection:
        connection = super()._get_connection(timeout)
        connection.cursor().execute(f"PRAGMA synchronous = {'NORMAL' if self.hurries else 'FULL'}")
        return connection


class RelationshipsSQLiteFactory(SQLiteFactory):
    """The library's SQLite infrastructure with our recorder."""

    process_recorder_class = RelationshipsSQLiteRecorder

    def __init__(self, env: Environment) -> None:
        super().__init__(env)
        pool = self.datastore.pool
        self._pool = self.datastore.pool = _DurablePool(db_name=pool.db_name, lock_timeout=pool.lock_timeout)

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """Commits outlive this process meanwhile, and not a failure of the power; behind it all are on the disk."""
        self._pool.hurries = True
        try:
            yield
        finally:
            self._pool.hurries = False
            with self.datastore.get_connection(commit=True) as connection:
                connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
