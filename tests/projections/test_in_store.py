"""The shipped read models are the fold of the log, whatever the batches, on a small demo history in a real database."""

import asyncio
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from engage.demo.history import history
from engage.services.projector import Projector
from engage.store.views import ViewStore
from engage.testing.memory_log import MemoryLog
from projections import PROJECTIONS

TODAY = date(2026, 3, 1)
NOW = datetime(2026, 3, 1, 18, tzinfo=UTC)


def rows_after(log: MemoryLog, file: Path, limit: int) -> dict[str, list[Any]]:
    store = ViewStore(f"sqlite:///{file}")
    try:
        projector = Projector(log, store, PROJECTIONS)
        asyncio.run(projector.catch_up(limit=limit))
        assert [asyncio.run(projector.verify(projection)) for projection in PROJECTIONS] == [None] * len(PROJECTIONS)
        assert not any(store.parked(projection) for projection in PROJECTIONS)
        return {projection.name: store.select(projection) for projection in PROJECTIONS}
    finally:
        store.close()


def test_batches_large_and_small_leave_the_same_rows(tmp_path: Path) -> None:
    log = MemoryLog(partitions=2)
    log.append(*history(today=TODAY, now=NOW, scale=0.01))
    small = rows_after(log, tmp_path / "small.db", 37)
    assert small == rows_after(log, tmp_path / "large.db", 10_000)
    assert len(small["timeline"]) > 2_000
    assert {row.kind for row in small["account_health"]} >= {"customer", "supplier"}


def test_read_models_have_a_name_of_their_own_and_say_what_each_column_holds() -> None:
    assert len({projection.name for projection in PROJECTIONS}) == len(PROJECTIONS)
    for projection in PROJECTIONS:
        described = {line.strip().partition(":")[0] for line in (projection.row.__doc__ or "").splitlines()}
        assert described >= set(projection.row.__struct_fields__), projection.name
