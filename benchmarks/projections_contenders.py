"""The contenders of ``benchmarks.projections``, each a process of its own: it prints its events per second.

Count and sum per account from a topic of orders: ours (the log's adapter, the projector, the store), a loop written by
hand for nothing else, one SQL statement and transaction per event in either database, and the ``eventsourcing``
library's runner on a history of its own in PostgreSQL. Then all read models on the demo's mix, and one view of it, how
many events each account has had and when the last one was, kept by one SQL statement and transaction per event: with
the position of the log in the same transaction, as ours has it, and without, where a crash counts events twice.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct
from sqlalchemy import make_url

from benchmarks.projections_profile import ProjectorProfile
from benchmarks.streams_load import ACCOUNTS, PARTITIONS
from engage.events.catalogue.commerce import OrderCompleted
from engage.events.envelope import Event
from engage.interpreter import tune
from engage.log.kafka import KafkaLog
from engage.log.kafka_fetching import FETCH_BYTES
from engage.log.topics import Topics
from engage.services.folding_forks import FoldingForks
from engage.services.projection_worker import LANES
from engage.services.projector import Projector
from engage.store.tables import view_table
from engage.store.views import ViewStore
from engage.views.projection import Projection
from projections import PROJECTIONS


class Spend(Struct):
    """What an account has ordered.

    account: the account's id
    orders: how many orders
    total: what they came to, all currencies alike
    """

    account: str
    orders: int = 0
    total: float = 0.0


spend = Projection("spend", version=1, row=Spend)


@spend.on(OrderCompleted)
def ordered(row: Spend, event: Event[OrderCompleted]) -> Spend:
    """One more."""
    row.orders += 1
    row.total += event.data.total
    return row


class _Total(Struct):
    total: float


class _Order(Struct):
    subject: str
    type: str
    data: _Total


_order = msgspec.json.Decoder(_Order).decode
_CREATE = "CREATE TABLE spend (account TEXT PRIMARY KEY, orders INTEGER, total REAL)"
_PLACES = "CREATE TABLE place (partition INTEGER PRIMARY KEY, position INTEGER)"
_PLACED = f"INSERT INTO place VALUES {', '.join(f'({partition}, 0)' for partition in range(PARTITIONS))}"
_ADD = """INSERT INTO spend VALUES (?, 1, ?)
ON CONFLICT (account) DO UPDATE SET orders = spend.orders + 1, total = spend.total + excluded.total"""


_COUNT = """INSERT INTO activity VALUES (?, 1, ?)
ON CONFLICT (account) DO UPDATE SET events = activity.events + 1, last = excluded.last"""
_MOVE = "UPDATE place SET position = ? WHERE partition = ?"


class _Envelope(Struct):
    subject: str
    recorded: str


_envelope = msgspec.json.Decoder(_Envelope).decode


def _file(folder: str, table: str = _CREATE) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{folder}/hand.db", isolation_level=None)
    for statement in ("PRAGMA journal_mode=wal", "PRAGMA synchronous=normal", table, _PLACES):
        connection.execute(statement)
    return connection


def _server() -> psycopg.Connection[Any]:
    url = make_url(os.environ["BENCH_VIEWS"]).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(url, autocommit=True)


async def _consumer(bootstrap: str, topics: Topics) -> Any:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    await consumer.start()
    homes = [TopicPartition(topics.interactions, partition) for partition in range(PARTITIONS)]
    consumer.assign(homes)
    for home in homes:
        consumer.seek(home, 0)
    return consumer


async def by_hand(bootstrap: str, topics: Topics, count: int, folder: str) -> None:
    """Fetched batch by fetched batch: fold in a dictionary, then rows and position in one transaction."""
    connection, consumer, seen = _file(folder), await _consumer(bootstrap, topics), 0
    rows: dict[str, list[Any]] = {}
    while seen < count:
        for home, records in (await consumer.getmany(timeout_ms=200, max_records=8_000)).items():
            touched = set()
            for record in records:
                order = _order(record.value)
                row = rows.setdefault(order.subject, [order.subject, 0, 0.0])
                row[1] += 1
                row[2] += order.data.total
                touched.add(order.subject)
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR REPLACE INTO spend VALUES (?, ?, ?)", [rows[name] for name in touched])
            connection.execute("INSERT OR REPLACE INTO place VALUES (?, ?)", (home.partition, records[-1].offset + 1))
            connection.execute("COMMIT")
            seen += len(records)
    await consumer.stop()


async def by_event(bootstrap: str, topics: Topics, count: int, folder: str) -> None:
    """One statement and one transaction for each event, as most projections are written."""
    connection = _file(folder)
    await _each(bootstrap, topics, count, lambda *values: connection.execute(_ADD, values))


async def by_event_postgresql(bootstrap: str, topics: Topics, count: int, folder: str) -> None:
    """The same in PostgreSQL, where ``BENCH_VIEWS`` says; the server commits as it does by default."""
    with _server() as connection:
        connection.execute("CREATE TABLE spend (account TEXT PRIMARY KEY, orders BIGINT, total DOUBLE PRECISION)")
        add = _ADD.replace("?", "%s")
        await _each(bootstrap, topics, count, lambda *values: connection.execute(add, values))


async def _each(bootstrap: str, topics: Topics, count: int, add: Callable[[str, float], Any]) -> None:
    consumer, seen = await _consumer(bootstrap, topics), 0
    while seen < count:
        for records in (await consumer.getmany(timeout_ms=200, max_records=8_000)).values():
            for record in records[: count - seen]:
                order = _order(record.value)
                if order.type == "Order Completed":
                    add(order.subject, order.data.total)
            seen += len(records)
    await consumer.stop()


async def mix_by_event(bootstrap: str, topics: Topics, count: int, folder: str) -> None:
    """Every event of the mix counted for its account in SQLite; with ``BENCH_PLACED`` in one transaction with where."""
    placed = bool(os.environ.get("BENCH_PLACED"))
    connection = _file(folder, "CREATE TABLE activity (account TEXT PRIMARY KEY, events INTEGER, last TEXT)")
    connection.execute(_PLACED)

    def add(account: str, recorded: str, partition: int, offset: int) -> None:
        if placed:
            connection.execute("BEGIN IMMEDIATE")
        connection.execute(_COUNT, (account, recorded))
        if placed:
            connection.execute(_MOVE, (offset + 1, partition))
            connection.execute("COMMIT")

    await _each_of_mix(bootstrap, topics, count, add)


async def mix_by_event_postgresql(bootstrap: str, topics: Topics, count: int, folder: str) -> None:
    """The same in PostgreSQL. ``BENCH_PLACED`` is "one" for one statement that does both, or "two" for two.

    Two in a transaction are what most people write, and four round trips; one is as quick as it is without a position.
    """
    placed = os.environ.get("BENCH_PLACED")
    count_one, move = _COUNT.replace("?", "%s"), _MOVE.replace("?", "%s")
    both = f"WITH moved AS ({move}) {count_one}"
    with _server() as connection:
        connection.execute("CREATE TABLE activity (account TEXT PRIMARY KEY, events BIGINT, last TIMESTAMPTZ)")
        connection.execute(_PLACES.replace("INTEGER", "BIGINT"))
        connection.execute(_PLACED)

        def add(account: str, recorded: str, partition: int, offset: int) -> None:
            if placed == "one":
                connection.execute(both, (offset + 1, partition, account, recorded))
            elif placed == "two":
                with connection.transaction():
                    connection.execute(count_one, (account, recorded))
                    connection.execute(move, (offset + 1, partition))
            else:
                connection.execute(count_one, (account, recorded))

        await _each_of_mix(bootstrap, topics, count, add)


async def _each_of_mix(bootstrap: str, topics: Topics, count: int, add: Callable[[str, str, int, int], Any]) -> None:
    consumer, seen = await _consumer(bootstrap, topics), 0
    while seen < count:
        for home, records in (await consumer.getmany(timeout_ms=200, max_records=8_000)).items():
            for record in records[: count - seen]:
                event = _envelope(record.value)
                add(event.subject, event.recorded, home.partition, record.offset)
            seen += len(records)
    await consumer.stop()


async def ours(bootstrap: str, topics: Topics, count: int, folder: str) -> None:
    """The projector with one read model."""
    async with _projector(bootstrap, topics, [spend], f"sqlite:///{folder}/views.db") as projector:
        await projector.catch_up()


async def all_models(
    bootstrap: str, topics: Topics, count: int, folder: str, forks: FoldingForks | None = None
) -> None:
    """The projector with every read model, on SQLite, or on PostgreSQL where ``BENCH_VIEWS`` says so."""
    async with _projector(bootstrap, topics, PROJECTIONS, _views(folder)) as projector:
        if forks is not None:
            await forks.catch_up(projector)
        await projector.catch_up()


def _views(folder: str) -> str:
    return os.environ.get("BENCH_VIEWS") or f"sqlite:///{folder}/views.db"


@asynccontextmanager
async def _projector(bootstrap: str, topics: Topics, models: Any, url: str) -> AsyncIterator[Projector]:
    store = ViewStore(url)
    async with KafkaLog(bootstrap, topics) as log:
        yield Projector(log, store, models)
    store.close()


async def library(bootstrap: str, topics: Topics, count: int, folder: str) -> None:
    """``eventsourcing``'s ProjectionRunner with its durable recorders on PostgreSQL: a transaction for each event."""
    from eventsourcing.application import Application
    from eventsourcing.domain import Aggregate as LibraryAggregate
    from eventsourcing.domain import event
    from eventsourcing.postgres import PostgresTrackingRecorder
    from eventsourcing.projection import Projection as LibraryProjection
    from eventsourcing.projection import ProjectionRunner
    from psycopg.sql import SQL

    class Orders(LibraryAggregate):
        @event("Ordered")
        def order(self, total: float) -> None:
            """It is the event that counts."""

    class Shop(Application[UUID]):
        name = "shop"

    class View(PostgresTrackingRecorder):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            columns = "account uuid PRIMARY KEY, orders bigint, total double precision"
            self.sql_create_statements.append(SQL(f"CREATE TABLE IF NOT EXISTS spend ({columns})"))

        def add(self, account: UUID, total: float, tracking: Any) -> None:
            with self.datastore.transaction(commit=True) as cursor:
                self._insert_tracking(cursor, tracking)
                cursor.execute(
                    "INSERT INTO spend VALUES (%s, 1, %s) ON CONFLICT (account) DO UPDATE "
                    "SET orders = spend.orders + 1, total = spend.total + excluded.total",
                    (account, total),
                )

    class Spending(LibraryProjection[View]):
        name = "spending"

        def process_event(self, domain_event: Any, tracking: Any) -> None:
            self.view.add(domain_event.originator_id, getattr(domain_event, "total", 0.0), tracking)

    url = make_url(os.environ["BENCH_VIEWS"])
    env = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": url.database or "",
        "POSTGRES_HOST": str(url.host or url.query["host"]),
        "POSTGRES_PORT": str(url.port or 5432),
        "POSTGRES_USER": url.username or "",
        "POSTGRES_PASSWORD": url.password or "none",
    }
    app = Shop(env)
    accounts = [Orders() for _ in range(min(ACCOUNTS, count // 10))]
    for number in range(count - len(accounts)):
        accounts[number % len(accounts)].order(float(number % 500))
    for account in accounts:  # one at a time: psycopg's pipeline may stand still with thousands of statements in it
        app.save(account)
    app.close()
    with ProjectionRunner(application_class=Shop, projection_class=Spending, view_class=View, env=env) as runner:
        begin = time.perf_counter()
        runner.wait(runner.app.recorder.max_notification_id() or 0, timeout=120)
        _told(count, begin)


CONTENDERS = {
    one.__name__: one
    for one in (ours, by_hand, by_event, by_event_postgresql, mix_by_event, mix_by_event_postgresql, all_models)
}


def _told(count: int, begin: float) -> None:
    print(count / (time.perf_counter() - begin))
    print(_most_megabytes())


def _most_megabytes() -> float:
    """The most this process has held; ``getrusage`` would tell what its parent held when it began, if that is more."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def main() -> None:
    """``NAME BOOTSTRAP PREFIX COUNT``: events per second, then the most memory held, in MB.

    With ``BENCH_PROFILE`` first the shares of the time, in JSON.
    """
    name, bootstrap, prefix, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    with tempfile.TemporaryDirectory() as folder:
        if name == "library":
            asyncio.run(library(bootstrap, Topics(prefix), count, folder))
            return
        tune()
        profile = ProjectorProfile() if os.environ.get("BENCH_PROFILE") else None
        begin = time.perf_counter()
        if name == "all_models" and profile is None:  # as ``engage worker projections`` does when it is far behind
            for model in PROJECTIONS:
                view_table(model, sqlite=not os.environ.get("BENCH_VIEWS"))
            opened = partial(_projector, bootstrap, Topics(prefix), PROJECTIONS, _views(folder))
            with FoldingForks(opened, LANES) as forks:
                asyncio.run(all_models(bootstrap, Topics(prefix), count, folder, forks))
        else:
            asyncio.run(CONTENDERS[name](bootstrap, Topics(prefix), count, folder))
        if profile:
            print(msgspec.json.encode(profile.shares()).decode())
        _told(count, begin)


if __name__ == "__main__":
    main()
