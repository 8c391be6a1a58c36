"""Read models in SQLite keep what every store of read models promises."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from engage.store import database, views
from engage.store.schema_version import SchemaVersionError
from engage.store.views import SCHEMA, ViewStore
from engage.testing.store_contract import ViewStoreContract
from engage.testing.store_rows import (
    FULL,
    GENERATION,
    PARTITIONS,
    Everything,
    change,
    everything,
)


class TestSqlite(ViewStoreContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/new folder/views.db"

    def test_moments_sort_as_text_and_sqlite_itself_understands_them(self, store: ViewStore, url: str) -> None:
        store.commit([change(0, 1, FULL)])
        engine = create_engine(url)
        with engine.connect() as connection:
            stored, understood = connection.execute(
                text("SELECT seen, strftime('%Y-%m-%d %H:%M', seen) FROM everything")
            ).one()
        engine.dispose()
        assert stored == "2026-03-01T07:00:15.123456+00:00"
        assert understood == "2026-03-01 07:00"

    def test_readers_see_the_last_commit_while_somebody_writes(self, store: ViewStore) -> None:
        store.commit([change(0, 1, Everything("a", count=1))])
        with store.database.write() as connection:
            store.table(everything).delete(connection, ["a"])
            assert store.get(everything, "a") == Everything("a", count=1)
        assert store.get(everything, "a") is None

    def test_a_store_of_a_newer_engage_is_refused(self, store: ViewStore, url: str) -> None:
        with store.database.write() as connection:
            connection.execute(text("UPDATE schema_versions SET version = 99"))
        with pytest.raises(SchemaVersionError, match=rf"schema 99, this one knows {SCHEMA}\): update engage"):
            ViewStore(url)

    def test_a_store_of_an_older_shape_is_refused_with_the_remedy(self, store: ViewStore, url: str) -> None:
        with store.database.write() as connection:
            connection.execute(text("UPDATE schema_versions SET version = 0"))
        with pytest.raises(SchemaVersionError, match=rf"schema 0, this engage needs {SCHEMA} .*remove .*views\.db"):
            ViewStore(url)


def test_a_url_that_names_no_database_is_refused_with_advice() -> None:
    with pytest.raises(ValueError, match="is no database URL: write sqlite"):
        ViewStore("views.db")
    with pytest.raises(ValueError, match="no store for 'mysql'"):
        ViewStore("mysql://x/y")
    with pytest.raises(ValueError, match="needs a file"):
        ViewStore("sqlite://")


def test_generation_and_partitions_are_those_of_the_log(tmp_path: Path) -> None:
    store = ViewStore(f"sqlite:///{tmp_path}/views.db")
    store.prepare([everything], GENERATION, PARTITIONS)
    assert [(one.partition, one.generation) for one in store.positions()] == [(0, GENERATION), (1, GENERATION)]
    store.close()


def test_what_small_batches_wrote_gets_into_the_file_itself_beside_whoever_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_the_file_alone() -> list[tuple[str]]:
        (alone := tmp_path / "alone.db").write_bytes((tmp_path / "views.db").read_bytes())
        with closing(sqlite3.connect(alone)) as other:
            try:
                return other.execute("SELECT key FROM everything").fetchall()
            except sqlite3.DatabaseError:  # it was copied in the middle of it, or has no table yet
                return []

    monkeypatch.setattr(views, "_MERGED_PAGES", 1)
    store = ViewStore(f"sqlite:///{tmp_path}/views.db")
    store.prepare([everything], GENERATION, PARTITIONS)
    store.commit([change(0, 1, Everything("a", count=1))])
    assert in_the_file_alone() == []
    store.wrote(1)
    deadline = time.monotonic() + 10
    while in_the_file_alone() != [("a",)]:
        assert time.monotonic() < deadline, "it was not merged"
        time.sleep(0.01)
    store.close()


def test_what_is_written_ahead_of_the_file_stays_bounded_while_others_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(database._PRAGMAS, "normal", ("wal_autocheckpoint=40",))
    monkeypatch.setattr(views, "_MERGED_PAGES", 5)
    url, longest = f"sqlite:///{tmp_path}/views.db", 0
    with closing(ViewStore(url)) as store:
        store.prepare([everything], GENERATION, PARTITIONS)
        with closing(ViewStore(url, read_only=True)) as reader:
            for position in range(400):
                store.commit([change(position, position + 1, Everything("one", count=position))])
                store.wrote(1)
                assert reader.get(everything, "one") == Everything("one", count=position)
                longest = max(longest, (tmp_path / "views.db-wal").stat().st_size)
    assert longest < 12 * 40 * 4_096, "all that is written are four times as many pages"
