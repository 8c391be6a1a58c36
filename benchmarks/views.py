"""From the log into the read models' tables, on SQLite: what the writer, the size of a batch and the store cost.

A tenth of the demo's history in a log in memory, the shipped read models. The bare contender folds the same events and
keeps rows in a dictionary. Run: ``python -m benchmarks.views``.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from datetime import UTC, date, datetime
from typing import Any

from msgspec import structs
from sqlalchemy.dialects.sqlite import insert

from benchmarks.harness import medians, report
from engage.demo.history import history
from engage.events import codec
from engage.services.projector import BATCH, HISTORY_BATCH, Projector
from engage.store.row_writing import Part, Stamp
from engage.store.views import ViewStore
from engage.testing.memory_log import MemoryLog
from engage.views.folding import Folding
from projections import PROJECTIONS
from projections.shared.timeline import timeline

PARTITIONS = 4
SCALE = 0.1
TODAY = date(2026, 3, 1)
STAMP = Stamp(0, 1, 1)


def _log() -> tuple[MemoryLog, int]:
    log = MemoryLog(PARTITIONS)
    tokens = log.append(*history(today=TODAY, now=datetime(2026, 3, 2, tzinfo=UTC), scale=SCALE))
    return log, len(tokens)


def _project(log: MemoryLog, count: int, limit: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        store = ViewStore(f"sqlite:///{folder}/views.db")
        projector = Projector(log, store, PROJECTIONS)
        begin = time.perf_counter()
        asyncio.run(projector.catch_up(limit=limit))
        rate = count / (time.perf_counter() - begin)
        store.close()
        return rate


def _fold(log: MemoryLog, count: int) -> float:
    kept: dict[str, dict[str, Any]] = {projection.name: {} for projection in PROJECTIONS}
    folding = Folding(PROJECTIONS)
    begin = time.perf_counter()
    for partition in range(PARTITIONS):
        events = []
        for record in asyncio.run(log.read(partition, 0, count)).records:
            event = codec.decode(record.value)
            event.partition, event.offset = partition, record.offset
            events.append(event)
        for folded in folding.fold(events, lambda projection, _: kept[projection.name]):
            kept[folded.model.name].update(folded.rows)
    return count / (time.perf_counter() - begin)


def _write(rows: list[Any], raw: bool) -> float:
    with tempfile.TemporaryDirectory() as folder:
        store = ViewStore(f"sqlite:///{folder}/views.db")
        store.prepare([timeline], "benchmark", PARTITIONS)
        table = store.table(timeline)
        names = timeline.row.__struct_fields__
        begin = time.perf_counter()
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            with store.database.write() as connection:
                if raw:
                    table.write(connection, [Part(batch, STAMP)])
                else:
                    stamp = {f"_{name}": value for name, value in structs.asdict(STAMP).items()}
                    values = [{name: getattr(row, name) for name in names} | stamp for row in batch]
                    statement = insert(table.table)
                    replaced = {name: statement.excluded[name] for name in names[1:]}
                    connection.execute(
                        statement.on_conflict_do_update(index_elements=[names[0]], set_=replaced), values
                    )
        rate = len(rows) / (time.perf_counter() - begin)
        store.close()
        return rate


def main() -> None:
    """Run the contenders and write ``benchmarks/results/views.json``."""
    log, count = _log()
    with tempfile.TemporaryDirectory() as folder:
        store = ViewStore(f"sqlite:///{folder}/views.db")
        asyncio.run(Projector(log, store, PROJECTIONS).catch_up())
        rows = store.select(timeline)
        store.close()
    figures = medians(
        {
            "fold in memory, no tables": lambda: _fold(log, count),
            "projector, 500 records a batch": lambda: _project(log, count, 500),
            f"projector, {BATCH:,} records a batch": lambda: _project(log, count, BATCH),
            f"projector, {HISTORY_BATCH:,} records a batch": lambda: _project(log, count, HISTORY_BATCH),
            "timeline rows, SQLAlchemy insert": lambda: _write(rows, raw=False),
            "timeline rows, raw tuples": lambda: _write(rows, raw=True),
        },
        rounds=3,
    )
    fold, small, usual, large, orm, raw = figures.values()
    report(
        "views",
        "events or rows/s",
        figures,
        {
            "projector / fold in memory": (usual / fold, "for information"),
            "raw tuples / SQLAlchemy insert": (raw / orm, "> 1, else the trick is not worth it"),
            f"{BATCH:,} a batch / 500": (usual / small, "for information"),
            f"{HISTORY_BATCH:,} a batch / {BATCH:,}": (large / usual, "for information"),
        },
    )


if __name__ == "__main__":
    main()
