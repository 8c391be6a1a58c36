"""One database, SQLite or PostgreSQL: opened with the settings that engage's stores rely on, and its transactions."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    ExceptionContext,
    PoolProxiedConnection,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidatePoolError

from engage.read_only import read_only_uri

_BUSY_SECONDS = 30
_TRUSTED_SECONDS = 1.0
"""A connection to PostgreSQL that was used so lately is taken to be alive: to ask is a round trip before each."""
_USED = "engage_used"
_NEVER = float("-inf")
_LOCK = 0x656E67616765  # "engage": which advisory lock of a PostgreSQL database guards changes of its tables

Statement = tuple[str, Any]
"""SQL as the driver takes it, and its values.

In SQLite a list of tuples runs it for each of them; in PostgreSQL bytes are what a COPY reads.
"""

Synchronous = Literal["normal", "full"]
_PRAGMAS: dict[Synchronous, tuple[str, ...]] = {
    # 64 MiB in the write-ahead log before it is merged into the file: each batch of events touches rows all over the
    # tables, and merging them seldom saves a seventh of the projector's processor time.
    "normal": ("wal_autocheckpoint=16000",),
    "full": ("secure_delete=on",),
}
CACHE_MIB = 32
"""Of a SQLite file's pages, in each process."""


class Database:
    """An engine and its transactions.

    ``synchronous`` matters to SQLite: ``normal`` may lose the last transactions in a power failure, never their order,
    and is right for what can be folded again; ``full`` is for what exists nowhere else. ``read_only``
    opens a SQLite file without being able to change it. ``cache_mib`` of its pages are kept by each connection.
    """

    def __init__(
        self, url: str, *, synchronous: Synchronous, read_only: bool = False, cache_mib: int = CACHE_MIB
    ) -> None:
        self.url = _parsed(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self._read_only = read_only and self.sqlite
        self._cache_mib = cache_mib
        self._looking: PoolProxiedConnection | None = None
        self.engine: Engine = self._open_sqlite(synchronous) if self.sqlite else self._open_postgresql()
        self._writing = self.engine.execution_options(engage_begin="BEGIN IMMEDIATE")

    @property
    def name(self) -> str:
        """The database as a person would name it, without its password."""
        return self.url.database or "" if self.sqlite else self.url.render_as_string(hide_password=True)

    @property
    def mark(self) -> str:
        """What stands for a value in SQL as the driver takes it."""
        return "?" if self.sqlite else "%s"

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write; in SQLite it waits for the one before it."""
        with self._writing.begin() as connection:
            yield connection

    @contextmanager
    def change_tables(self) -> Iterator[Connection]:
        """A transaction that creates or drops tables; a second process waits until it ends."""
        with self.write() as connection:
            if not self.sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            yield connection

    @contextmanager
    def set_up(self) -> Iterator[Connection]:
        """``change_tables`` for a store that is being opened: if it cannot be, no connection stays open."""
        try:
            with self.change_tables() as connection:
                yield connection
        except BaseException:
            self.close()
            raise

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that reads one state of the database, whatever others write meanwhile."""
        engine = self.engine
        if not self.sqlite:
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with engine.begin() as connection:
            yield connection

    def look(self, sql: str, values: Sequence[Any]) -> list[Any]:
        """What a select finds in SQLite right now, on a connection kept for it: for one thread, which cannot wait."""
        if self._looking is None:
            self._looking = self.engine.raw_connection()
        driver: Any = self._looking.driver_connection
        found: list[Any] = driver.execute(sql, values).fetchall()
        return found

    @contextmanager
    def driver(self) -> Iterator[Any]:
        """A connection to SQLite as its driver has it, which may write: transactions are left to who uses it.

        What was begun and is not committed by the end of the block is rolled back.
        """
        pooled = self.engine.raw_connection()
        try:
            yield pooled.driver_connection
        except sqlite3.Error as error:
            raise self._told(error, sqlite3.Error) from error
        finally:
            pooled.close()

    def ask(self, connection: Connection, statements: Sequence[Statement]) -> list[list[Any]]:
        """What each of these selects finds; PostgreSQL is sent all of them before the first answer is waited for."""
        with self._driver(connection) as driver:
            if self.sqlite:
                return [driver.execute(sql, values or ()).fetchall() for sql, values in statements]
            cursors = [driver.execute(sql, values) for sql, values in statements]
            return [cursor.fetchall() for cursor in cursors]

    def send(self, connection: Connection, statements: Sequence[Statement]) -> None:
        """Run these in order, whatever they find.

        PostgreSQL is sent all before an answer is waited for, but for what it copies.
        """
        for copies, some in itertools.groupby(statements, _copies):
            with self._driver(connection, pipelined=not copies) as driver:
                for sql, values in some:
                    if copies:
                        with driver.cursor() as cursor, cursor.copy(sql) as copying:
                            copying.write(values)
                    elif self.sqlite and isinstance(values, list):
                        driver.executemany(sql, values)
                    else:
                        driver.execute(sql, values)

    def among(self, column: str, values: Collection[Any]) -> Statement:
        """The condition that a column has one of these values, and the values as the driver takes them."""
        if self.sqlite:
            return f"{column} IN ({','.join('?' * len(values))})", tuple(values)
        return f"{column} = ANY(%s)", (list(values),)

    def telling(self, channel: str, said: str = "") -> list[Statement]:
        """What lets those who listen on ``channel`` in PostgreSQL know, once the transaction is committed."""
        return [] if self.sqlite else [("SELECT pg_notify(%s, %s)", (channel, said))]

    def size(self) -> int | None:
        """The bytes of a PostgreSQL database; None for SQLite, whose file shows them."""
        if self.sqlite:
            return None
        with self.read() as connection:
            return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)

    def now(self) -> datetime | None:
        """What time the server says it is; None for SQLite, which has this machine's clock."""
        if self.sqlite:
            return None
        with self.read() as connection:
            told: datetime | None = connection.scalar(text("SELECT clock_timestamp()"))
            return told

    def scrub(self, table: str) -> None:
        """Leave no copy of what was overwritten in ``table``.

        SQLite's file overwrites with zeros itself, its write-ahead log is emptied; PostgreSQL's dead rows are cleared.
        """
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)" if self.sqlite else f"VACUUM {table}")

    @contextmanager
    def _driver(self, connection: Connection, *, pipelined: bool = True) -> Iterator[Any]:
        """The driver's connection, in a pipeline where it has one; errors are SQLAlchemy's.

        SQLAlchemy itself takes 50 us a statement, several times as long as SQLite takes for a row.
        """
        driver: Any = connection.connection.driver_connection
        if self.sqlite:
            try:
                yield driver
            except sqlite3.Error as error:
                raise self._told(error, sqlite3.Error) from error
            return
        import psycopg

        try:
            with driver.pipeline() if pipelined else nullcontext():  # waits for no answer until it is asked for one
                yield driver
        except psycopg.Error as error:
            _say_without_values(error)
            told = self._told(error, psycopg.Error)
            if driver.closed:
                connection.invalidate(error)
            raise told from error

    def _told(self, error: Exception, kind: type[Exception]) -> Exception:
        return DBAPIError.instance(None, None, error, kind, hide_parameters=True, dialect=self.engine.dialect)

    def close(self) -> None:
        """Close every connection."""
        if self._looking is not None:
            self._looking.close()
            self._looking = None
        self.engine.dispose()

    def _open_sqlite(self, synchronous: Synchronous) -> Engine:
        path = self.url.database
        if not path or path == ":memory:":
            raise ValueError("a store in SQLite needs a file: sqlite:///FOLDER/FILE.db")
        if self._read_only:
            opened = partial(sqlite3.connect, read_only_uri(Path(path)), uri=True, timeout=_BUSY_SECONDS)
            engine = create_engine(self.url, hide_parameters=True, creator=partial(opened, check_same_thread=False))
        else:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            engine = create_engine(self.url, hide_parameters=True, connect_args={"timeout": _BUSY_SECONDS})

        @event.listens_for(engine, "connect")
        def configure(connection: Any, _: Any) -> None:
            connection.isolation_level = None  # the driver leaves BEGIN to us
            if self._read_only:
                return
            cache = f"cache_size=-{self._cache_mib * 1024}"
            for pragma in ("journal_mode=wal", f"synchronous={synchronous}", cache, *_PRAGMAS[synchronous]):
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            with self._driver(connection) as driver:
                driver.execute(connection.get_execution_options().get("engage_begin", "BEGIN"))

        return engine

    def _open_postgresql(self) -> Engine:
        import psycopg

        # JSON comes back as the bytes the server sent: columns decode it once, with the field's own type.
        engine = create_engine(
            self.url,
            hide_parameters=True,  # an error may reach a log, values must not
            json_deserializer=bytes,
            connect_args={"options": "-c timezone=UTC"},
        )

        @event.listens_for(engine, "checkin")
        def was_used(_: Any, record: Any) -> None:
            record.info[_USED] = time.monotonic()

        @event.listens_for(engine, "checkout")
        def is_alive(driver: Any, record: Any, _: Any) -> None:
            """Ask whether the server still knows a connection, but not of one that has just been used."""
            if time.monotonic() - record.info.get(_USED, _NEVER) < _TRUSTED_SECONDS:
                return
            try:
                engine.dialect.do_ping(driver)
            except psycopg.Error as error:
                raise InvalidatePoolError() from error

        @event.listens_for(engine, "handle_error")
        def without_values(context: ExceptionContext) -> None:
            """Keep what the server says of an error, and drop its DETAIL and CONTEXT, which quote rows."""
            error = context.original_exception
            said = _say_without_values(error)
            if said is not None and context.sqlalchemy_exception is not None:
                kind = type(error)
                context.sqlalchemy_exception.args = (f"({kind.__module__}.{kind.__qualname__}) {said}",)

        return engine


def _copies(statement: Statement) -> bool:
    return isinstance(statement[1], bytes)


def _say_without_values(error: BaseException) -> str | None:
    """Let an error say what the server says first, and return it; None where no server said anything."""
    from psycopg import Error

    said = error.diag.message_primary if isinstance(error, Error) else None
    if said is not None:
        error.args = (said,)
    return said


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ValueError(f"{url!r} is no database URL: write sqlite:///FILE or postgresql://USER@HOST/NAME") from error
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return parsed
    raise ValueError(f"no store for {parsed.drivername!r}: write sqlite:///FILE or postgresql://USER@HOST/NAME")
