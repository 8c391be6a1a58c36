"""A store's own tables are made, migrated or refused, whatever version is found."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, text

from engage.store.database import Database
from engage.store.schema_version import Migration, SchemaVersionError, settle

TABLES = MetaData()
Table("things", TABLES, Column("id", BigInteger), Column("size", BigInteger))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/store.db", synchronous="normal")
    yield opened
    opened.close()


def open_as(database: Database, version: int, migrations: dict[int, Migration] | None = None) -> None:
    with database.change_tables() as connection:
        settle(connection, "things", TABLES, version=version, migrations=migrations or {}, remedy="do this instead")


def stored(database: Database) -> int | None:
    with database.read() as connection:
        found: int | None = connection.scalar(text("SELECT version FROM schema_versions WHERE store = 'things'"))
    return found


def test_a_new_store_gets_its_tables_and_keeps_them(database: Database) -> None:
    open_as(database, 1)
    with database.write() as connection:
        connection.execute(text("INSERT INTO things VALUES (1, 2)"))
    open_as(database, 1)
    with database.read() as connection:
        assert connection.scalar(text("SELECT size FROM things")) == 2


def test_an_older_store_is_migrated_step_by_step(database: Database) -> None:
    def rename(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE things RENAME COLUMN size TO width"))

    def double(connection: Connection) -> None:
        connection.execute(text("UPDATE things SET width = width * 2"))

    open_as(database, 1)
    with database.write() as connection:
        connection.execute(text("INSERT INTO things VALUES (1, 2)"))
    open_as(database, 3, {1: rename, 2: double})
    assert stored(database) == 3
    with database.read() as connection:
        assert connection.scalar(text("SELECT width FROM things")) == 4


def test_a_migration_that_fails_leaves_the_store_as_it_was(database: Database) -> None:
    def half(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE things RENAME COLUMN size TO width"))
        raise OSError("disk full")

    open_as(database, 1)
    with pytest.raises(OSError, match="disk full"):
        open_as(database, 2, {1: half})
    assert stored(database) == 1
    with database.read() as connection:
        assert connection.execute(text("SELECT size FROM things")).all() == []


def test_an_older_store_without_a_way_is_refused_with_the_remedy(database: Database) -> None:
    open_as(database, 1)
    with pytest.raises(SchemaVersionError, match=r"schema 1, this engage needs 2 .*: do this instead"):
        open_as(database, 2)


def test_a_store_of_a_newer_engage_is_refused(database: Database) -> None:
    open_as(database, 2)
    with pytest.raises(SchemaVersionError, match=r"newer engage \(schema 2, this one knows 1\): update engage"):
        open_as(database, 1)
