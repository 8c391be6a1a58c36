"""The application that keeps the aggregates: opened from a URL, loaded and saved many at a time, read by the relay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from eventsourcing.application import Application, ProcessingEvent
from eventsourcing.persistence import InfrastructureFactory, IntegrityError, Mapper, ProcessRecorder, Recording
from eventsourcing.utils import Environment, EnvType
from sqlalchemy.engine import make_url

from engage.events.envelope import to_micros
from engage.read_only import read_only_uri
from engage.relationships.aggregate import AccountAggregate, AccountEvent
from engage.relationships.follow_up import FollowUp
from engage.relationships.mapper import CatalogueMapper
from engage.relationships.recorder import KEPT_MICROS, Answered, Beside, Move, PositionMovedError, Recorder
from engage.relationships.sqlite import RelationshipsSQLiteFactory

SCHEMA_VERSION = 1
_SCHEMA = "engage-schema"


class StoreVersionError(RuntimeError):
    """The store was written by another version of engage: use that one, or restore the store from the log."""


class Relationships(Application[UUID]):
    """The aggregates of all accounts, in one database.

    ``url`` is ``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE`` (SQLAlchemy's form); tables are
    made where there are none, unless it is SQLite and opened ``read_only``. ValueError for any other kind of URL,
    StoreVersionError if a newer engage wrote it.
    """

    name = "relationships"

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        chosen = environment(url)
        path = chosen.get("SQLITE_DBNAME")
        if path is None or not read_only:
            super().__init__(chosen)
            self._check_schema()
        else:
            super().__init__(chosen | {"SQLITE_DBNAME": read_only_uri(Path(path)), "CREATE_TABLE": "n"})

    def construct_env(self, name: str, env: EnvType | None = None) -> Environment:
        """Only what the URL says: nothing is read from the process's environment."""
        return Environment(name, env)

    def construct_factory(self, env: Environment) -> InfrastructureFactory[Any]:
        """SQLite's or PostgreSQL's, with our recorder."""
        if "POSTGRES_DBNAME" in env:
            from engage.relationships.postgres import RelationshipsPostgresFactory  # its driver takes long to import

            return RelationshipsPostgresFactory(env)
        return RelationshipsSQLiteFactory(env)

    def construct_mapper(self) -> Mapper[UUID]:
        """The mapper by catalogue, for every aggregate that engage has."""
        self.catalogue = CatalogueMapper((FollowUp,))
        return self.catalogue

    def construct_recorder(self) -> ProcessRecorder:
        """A recorder that tracks positions beside the events."""
        return self.factory.process_recorder()

    @property
    def store(self) -> Recorder:
        """The recorder, by what we added to it."""
        return cast("Recorder", self.recorder)

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """See ``RelationshipsSQLiteFactory.hurried``; PostgreSQL goes on as ever."""
        with self.factory.hurried() if isinstance(self.factory, RelationshipsSQLiteFactory) else nullcontext():
            yield

    def load(self, ids: Iterable[UUID]) -> dict[UUID, FollowUp]:
        """Those of these follow-ups that exist, in one read."""
        found: dict[UUID, FollowUp] = {}
        for stored in self.store.select_many(ids):
            event = cast("AccountEvent", self.mapper.to_domain_event(stored))
            follow_up = event.mutate(found.get(event.originator_id))
            found[event.originator_id] = cast("FollowUp", follow_up)
        return found

    def record(
        self, aggregates: Iterable[AccountAggregate] = (), *moves: Move, answered: Answered | None = None
    ) -> None:
        """Save the aggregates' new events, advance the positions and keep an answer, all or nothing.

        PositionMovedError if a position is not where its move says; eventsourcing's IntegrityError if somebody else
        saved one of the aggregates meanwhile, or a command with the same key was answered.
        """
        self.save(*aggregates, beside=Beside(moves=moves, answered=answered))

    def answered(self, key: str, now: datetime) -> Answered | None:
        """What a command with this key was answered within the day before ``now``; None if none was."""
        return self.store.answered(key, to_micros(now) - KEPT_MICROS + 1)

    def claim(self, key: str, request: str, now: datetime) -> Answered | None:
        """Keep ``key`` for a request that is about to be done; if it is taken, what is kept under it.

        Its answer is empty until it is settled.
        """
        claim = Answered(key, request, b"", to_micros(now))
        try:
            self.record(answered=claim)
        except IntegrityError:
            return self.answered(key, now) or claim
        return None

    def settle(self, key: str, answer: bytes | None) -> None:
        """The request that claimed ``key`` was answered so; None: it was not done, and may be asked for again."""
        self.store.settle(key, answer)

    def record_relayed(self, events: Sequence[AccountEvent], relay: str) -> None:
        """Save events that the log has already, and with them the position ``relay`` at their end."""
        self.save(*events, beside=Beside(all_relayed=relay))

    def record_unrelayed(self, events: Sequence[AccountEvent]) -> None:
        """Save events that the log is yet to hear of."""
        self.save(*events)

    def strike(self, ids: Sequence[UUID]) -> None:
        """Take what is not open from the list of open follow-ups."""
        self.save(beside=Beside(closed=ids))

    def position(self, name: str) -> int | None:
        """Where ``name`` stands; None if it never moved."""
        return self.store.max_tracking_id(name)

    def expired(self, now: datetime, limit: int) -> list[UUID]:
        """Up to ``limit`` open follow-ups that expire at or before ``now``, the earliest first."""
        return self.store.expired(to_micros(now), limit)

    def notifications(self, after: int, limit: int) -> list[tuple[int, AccountEvent]]:
        """Up to ``limit`` events after position ``after`` in the order they were recorded, each with its position."""
        found = self.store.select_notifications(after, limit, inclusive_of_start=False)
        return [(one.id, cast("AccountEvent", self.mapper.to_domain_event(one))) for one in found]

    def _record(self, processing_event: ProcessingEvent[UUID]) -> list[Recording[UUID]]:
        events = cast("list[AccountEvent]", processing_event.events)
        beside: Beside = processing_event.saved_kwargs.get("beside") or Beside()
        processing_event.saved_kwargs["beside"] = Beside(
            moves=beside.moves,
            opened=[(e.originator_id, to_micros(e.data.expires)) for e in events if isinstance(e, FollowUp.Opened)],
            closed=[*beside.closed, *(e.originator_id for e in events if e.closes)],
            all_relayed=beside.all_relayed,
            answered=beside.answered,
        )
        return super()._record(processing_event)

    def _check_schema(self) -> None:
        # The version stands among the positions, where the library keeps that of its own tables.
        found = self.position(_SCHEMA)
        if found is None:
            with suppress(PositionMovedError):  # Another process opened it for the first time in the same moment.
                self.record((), Move(_SCHEMA, None, SCHEMA_VERSION))
        elif found > SCHEMA_VERSION:
            self.close()
            raise StoreVersionError(
                f"the relationships store has schema version {found}, this engage knows up to {SCHEMA_VERSION}: "
                "use the engage that wrote it"
            )


def environment(url: str) -> dict[str, str]:
    """The settings of eventsourcing's infrastructure for a SQLAlchemy URL; ValueError if it is of neither kind."""
    parts = make_url(url)
    backend = parts.get_backend_name()
    if backend == "sqlite" and parts.database:
        return {"SQLITE_DBNAME": parts.database, "SQLITE_LOCK_TIMEOUT": "30"}
    if backend == "postgresql" and parts.database:
        return {
            "POSTGRES_DBNAME": parts.database,
            "POSTGRES_HOST": parts.host or _text(parts.query.get("host")),
            "POSTGRES_PORT": str(parts.port or _text(parts.query.get("port")) or 5432),
            "POSTGRES_USER": parts.username or _text(parts.query.get("user")),
            "POSTGRES_PASSWORD": parts.password or "",
            "POSTGRES_POOL_SIZE": "1",
            "POSTGRES_MAX_OVERFLOW": "4",
            "POSTGRES_LOCK_TIMEOUT": "30",
            # The library's stored function would drop the positions without a word.
            "POSTGRES_ENABLE_DB_FUNCTIONS": "n",
        }
    shown = parts.render_as_string(hide_password=True)
    raise ValueError(f"{shown!r} is no place for relationships: give sqlite:///FILE or postgresql://…/DATABASE")


def _text(value: Any) -> str:
    return value[0] if isinstance(value, tuple) else value or ""
