"""Relationships in one PostgreSQL database: the library's recorder, with what is kept beside the events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresFactory, PostgresProcessRecorder
from msgspec import structs
from psycopg import Cursor
from psycopg.rows import DictRow
from psycopg.sql import SQL, Identifier

from engage.relationships.recorder import KEPT_MICROS, Answered, Beside, PositionMovedError

_CREATING = 0x656E67616765  # "engage", as the number of the advisory lock


class RelationshipsPostgresRecorder(PostgresProcessRecorder):
    """Stored events, positions, open follow-ups and answers in one PostgreSQL database."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._events = Identifier(self.datastore.schema, self.events_table_name)
        self._tracking = Identifier(self.datastore.schema, self.tracking_table_name)
        self._open = Identifier(self.datastore.schema, "open_follow_ups")
        self._answered = Identifier(self.datastore.schema, "answered_commands")
        self.sql_create_statements += [
            SQL("CREATE TABLE IF NOT EXISTS {} (id uuid PRIMARY KEY, expires bigint NOT NULL)").format(self._open),
            SQL("CREATE INDEX IF NOT EXISTS open_follow_ups_expires ON {} (expires)").format(self._open),
            SQL(
                "CREATE TABLE IF NOT EXISTS {} "
                "(key text PRIMARY KEY, request text NOT NULL, answer bytea NOT NULL, at bigint NOT NULL)"
            ).format(self._answered),
            SQL("CREATE INDEX IF NOT EXISTS answered_commands_at ON {} (at)").format(self._answered),
        ]

    def create_table(self) -> None:
        """The tables, by one process at a time: PostgreSQL's own IF NOT EXISTS fails when two begin together."""
        with self.datastore.get_connection() as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", (_CREATING,))
            try:
                super().create_table()
            finally:
                connection.execute("SELECT pg_advisory_unlock(%s)", (_CREATING,))

    def _insert_events(self, curs: Cursor[DictRow], stored_events: Sequence[StoredEvent], **kwargs: Any) -> None:
        beside: Beside = kwargs.get("beside") or Beside()
        for move in beside.moves:
            if move.previous is None:
                curs.execute(
                    SQL("INSERT INTO {} VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING 1 AS one").format(
                        self._tracking
                    ),
                    (move.name, move.position),
                )
            else:
                curs.execute(
                    SQL(
                        "UPDATE {} SET notification_id = %s WHERE application_name = %s AND notification_id = %s "
                        "RETURNING 1 AS one"
                    ).format(self._tracking),
                    (move.position, move.name, move.previous),
                )
            if curs.fetchone() is None:
                raise PositionMovedError(move)
        super()._insert_events(curs, stored_events, **kwargs)
        if not stored_events:  # then the library does not go on to insert them
            self._put(curs, beside)

    def _insert_stored_events(self, curs: Cursor[DictRow], stored_events: Sequence[StoredEvent], **kwargs: Any) -> None:
        super()._insert_stored_events(curs, stored_events, **kwargs)
        self._put(curs, kwargs.get("beside") or Beside())

    def _put(self, curs: Cursor[DictRow], beside: Beside) -> None:
        # The library fetches the new notification ids from ``curs``, so what belongs beside has a cursor of its own.
        with curs.connection.cursor() as c:
            if beside.opened:
                c.execute(
                    SQL("INSERT INTO {} SELECT * FROM unnest(%s::uuid[], %s::bigint[])").format(self._open),
                    ([one for one, _ in beside.opened], [due for _, due in beside.opened]),
                )
            if beside.closed:
                c.execute(SQL("DELETE FROM {} WHERE id = ANY(%s)").format(self._open), (list(beside.closed),))
            if beside.all_relayed is not None:
                c.execute(
                    SQL(
                        "INSERT INTO {} SELECT %s, MAX(notification_id) FROM {} "
                        "ON CONFLICT (application_name) DO UPDATE SET notification_id = excluded.notification_id"
                    ).format(self._tracking, self._events),
                    (beside.all_relayed,),
                )
            if (answered := beside.answered) is not None:
                c.execute(SQL("DELETE FROM {} WHERE at <= %s").format(self._answered), (answered.at - KEPT_MICROS,))
                c.execute(
                    SQL("INSERT INTO {} VALUES (%s, %s, %s, %s)").format(self._answered), structs.astuple(answered)
                )

    def answered(self, key: str, since: int) -> Answered | None:
        """What a command with this key was answered at ``since`` or later (microseconds since 1970)."""
        found = "SELECT key, request, answer, at FROM {} WHERE key = %s AND at >= %s"
        rows = self._rows(found, self._answered, key, since)
        return Answered(rows[0]["key"], rows[0]["request"], bytes(rows[0]["answer"]), rows[0]["at"]) if rows else None

    def settle(self, key: str, answer: bytes | None) -> None:
        """Put ``answer`` in the place of what is kept under this key; None: forget it."""
        with self.datastore.transaction(commit=True) as c:
            if answer is None:
                c.execute(SQL("DELETE FROM {} WHERE key = %s").format(self._answered), (key,))
            else:
                c.execute(SQL("UPDATE {} SET answer = %s WHERE key = %s").format(self._answered), (answer, key))

    def kept_answers(self) -> list[Answered]:
        """What commands were answered, the oldest first."""
        rows = self._rows("SELECT key, request, answer, at FROM {} ORDER BY at", self._answered)
        return [Answered(row["key"], row["request"], bytes(row["answer"]), row["at"]) for row in rows]

    def select_many(self, ids: Iterable[UUID]) -> list[StoredEvent]:
        """All stored events of these aggregates, each aggregate's in order."""
        rows = self._rows(
            "SELECT originator_id, originator_version, topic, state FROM {} WHERE originator_id = ANY(%s) "
            "ORDER BY originator_id, originator_version",
            self._events,
            list(ids),
        )
        return [
            StoredEvent(row["originator_id"], row["originator_version"], row["topic"], bytes(row["state"]))
            for row in rows
        ]

    def versions(self, ids: Iterable[UUID]) -> dict[UUID, int]:
        """The last version of those of these aggregates that exist."""
        rows = self._rows(
            "SELECT originator_id, MAX(originator_version) AS version FROM {} WHERE originator_id = ANY(%s) "
            "GROUP BY originator_id",
            self._events,
            list(ids),
        )
        return {row["originator_id"]: row["version"] for row in rows}

    def expired(self, micros: int, limit: int) -> list[UUID]:
        """Up to ``limit`` open follow-ups whose expiry is at or before ``micros``, the earliest first."""
        rows = self._rows(
            "SELECT id FROM {} WHERE expires <= %s ORDER BY expires, id LIMIT %s", self._open, micros, limit
        )
        return [row["id"] for row in rows]

    def _rows(self, statement: Any, table: Identifier, *values: Any) -> list[DictRow]:
        with self.datastore.get_connection() as connection, connection.cursor() as c:
            c.execute(SQL(statement).format(table), values)
            return c.fetchall()


class RelationshipsPostgresFactory(PostgresFactory):
    """The library's PostgreSQL infrastructure with our recorder."""

    process_recorder_class = RelationshipsPostgresRecorder
