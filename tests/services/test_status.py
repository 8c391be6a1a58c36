"""Who asks how far everything has come changes nothing by it, and is told even when half of it is missing."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from engage import bootstrap
from engage.events import codec
from engage.events.catalogue.commerce import OrderCompleted
from engage.services.status import Status, read_status
from engage.settings import Settings
from engage.testing.events import happened
from projections import PROJECTIONS


@pytest.fixture
async def home(tmp_path: Path) -> Path:
    """A home in which one order was taken and folded."""
    settings = Settings(home=str(tmp_path))
    async with bootstrap.platform(settings, clock=lambda: datetime(2026, 3, 1, tzinfo=UTC)) as platform:
        order = happened(OrderCompleted(order_id="o-1", total=10.0), at="2026-02-28")
        await platform.publish([codec.encode(order)])
        await platform.settle()
    return tmp_path


def stores(home: Path) -> set[str]:
    return {path.name for path in home.glob("*.db")}


async def status(home: Path) -> Status:
    async with bootstrap.readers(Settings(home=str(home))) as (log, store, relationships):
        return await read_status(log, store, relationships, PROJECTIONS, home=home, owner=None, next_wake=None)


async def test_nothing_is_behind_once_all_is_folded(home: Path):
    found = await status(home)
    assert (found.desk_behind, found.relay_waiting) == (0, 0)
    assert {view.behind for view in found.views} == {0}
    assert found.files.keys() == {"access.db", "keys.db", "log.db", "relationships.db", "views.db", "webhooks.db"}


async def test_stores_that_are_missing_have_everything_before_them_and_are_not_made(home: Path):
    for name in ("views.db", "relationships.db"):
        (home / name).unlink()
    found = await status(home)
    records = sum(partition.end for partition in found.log)
    assert records > 0
    assert (found.desk_behind, found.relay_waiting) == (records, 0)
    assert {(view.behind, view.parked) for view in found.views} == {(records, 0)}
    assert stores(home) == {"access.db", "keys.db", "log.db", "webhooks.db"}


async def test_no_store_is_read_where_others_wait_for_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with bootstrap.platform(Settings(home=str(tmp_path))) as platform:
        asked: set[str] = set()

        def noted(*_: Any) -> None:
            asked.add(threading.current_thread().name)

        event.listen(platform.store.database.engine, "before_cursor_execute", noted)
        monkeypatch.setattr(platform.relationships, "position", noted)
        models = platform.projector.projections
        await read_status(
            platform.log, platform.store, platform.relationships, models, home=tmp_path, owner=None, next_wake=None
        )
        await platform.projector.lag()
    assert asked and threading.main_thread().name not in asked


async def test_a_file_that_vanishes_meanwhile_is_not_counted(home: Path):
    (home / "gone.db").symlink_to(home / "nowhere")
    (home / "left.db-wal").write_bytes(b"1234")
    found = await status(home)
    assert "gone.db" not in found.files
    assert found.files["left.db"] == 4
