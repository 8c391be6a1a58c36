"""Appending to the embedded log against a bare ``executemany`` of the same rows.

The bare loop has the same durability (WAL, ``synchronous=FULL``, a transaction a batch) and a unique index on a 16-byte
id; ours looks up every identity first, keeps hashes, and moves ends. Run: ``python -m benchmarks.sqlite_append``.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import sqlite3
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.harness import medians, report
from engage.events import codec
from engage.events.catalogue.commerce import OrderCompleted, Product
from engage.events.envelope import to_micros
from engage.events.sealing import AccountKey, new_secret
from engage.log.contract import Record, Token
from engage.log.partitioning import partition_of
from engage.log.sqlite import PARTITIONS, SqliteLog, Writes
from engage.rules.policy import PolicySettings
from engage.services.edge import Edge
from engage.services.embedded import EmbeddedLog

EVENTS, BATCH = 64_000, 1_600
START = datetime(2026, 1, 1, tzinfo=UTC)


class _OneKey:
    def __init__(self) -> None:
        self._key = AccountKey(0, new_secret())

    def current(self, accounts: object) -> dict[str, AccountKey]:
        return {}

    def all_of(self, account: str) -> dict[int, AccountKey]:
        return {0: self._key}


def _values() -> list[tuple[str, bytes]]:
    chance = random.Random(7)
    values = []
    for number in range(EVENTS):
        account = f"account-{chance.randrange(1_000):05d}"
        products = tuple(
            Product(product_id=f"cd-{chance.randrange(10**6)}", price=11.77, category="jazz") for _ in range(2)
        )
        data = OrderCompleted(order_id=f"order-{number}", total=23.54, products=products)
        event = codec.new_event(
            data,
            id=f"cdnow_master.txt:{chance.getrandbits(64):x}",
            source="urn:engage:benchmark",
            subject=account,
            time=START + timedelta(seconds=number),
        )
        event.recorded = event.time
        values.append((account, codec.encode(event)))
    return values


def _bare(values: list[tuple[str, bytes]]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        db = sqlite3.connect(Path(folder) / "bare.db", isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute(
            "CREATE TABLE log (position INTEGER PRIMARY KEY, recorded INTEGER NOT NULL, id BLOB, value BLOB NOT NULL)"
        )
        db.execute("CREATE UNIQUE INDEX ids ON log (id)")
        micros = to_micros(START)
        rows = [(number, micros, hashlib.md5(value).digest(), value) for number, (_, value) in enumerate(values)]
        begin = time.perf_counter()
        for start in range(0, EVENTS, BATCH):
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", rows[start : start + BATCH])
            db.execute("COMMIT")
        return EVENTS / (time.perf_counter() - begin)


def _append(values: list[tuple[str, bytes]]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        log = SqliteLog(Path(folder) / "log.db")
        rows = [(partition_of(account, PARTITIONS), codec.decode(value), value) for account, value in values]
        ends = dict.fromkeys(range(PARTITIONS), 0)
        begin = time.perf_counter()
        for start in range(0, EVENTS, BATCH):
            batch = rows[start : start + BATCH]
            assert not log.find(event.identity for _, event, _ in batch)
            writes = Writes()
            for partition, event, value in batch:
                offset = ends[partition]
                ends[partition] = offset + 1
                writes.records.append(Record(partition, offset, event.now, value))
                writes.identities[event.identity] = Token(partition, offset)
            writes.ends = {partition: (end, START) for partition, end in ends.items()}
            log.commit(writes)
        rate = EVENTS / (time.perf_counter() - begin)
        log.close()
        return rate


def _publish(values: list[tuple[str, bytes]]) -> float:
    async def run(folder: str) -> float:
        log = SqliteLog(Path(folder) / "log.db")
        clock = lambda: datetime.now(UTC)  # noqa: E731 - the shortest way to say it
        embedded = EmbeddedLog(log, Edge(_OneKey(), clock), (), PolicySettings(), clock)
        await embedded.start()
        begin = time.perf_counter()
        for start in range(0, EVENTS, BATCH):
            await embedded.publish([value for _, value in values[start : start + BATCH]])
        rate = EVENTS / (time.perf_counter() - begin)
        log.close()
        return rate

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run(folder))


def main() -> None:
    """Run the contenders and write ``benchmarks/results/sqlite_append.json``."""
    values = _values()
    figures = medians(
        {
            "bare executemany, unique 16-byte id": lambda: _bare(values),
            "log append (look-up, hashes, ends)": lambda: _append(values),
            "publish (decode, validate, seal, append)": lambda: _publish(values),
        }
    )
    bare, append, publish = figures.values()
    report(
        "sqlite_append",
        "events/s",
        figures,
        {"append / bare": (append / bare, ">= 0.5"), "publish / bare": (publish / bare, "for information")},
    )


if __name__ == "__main__":
    main()
