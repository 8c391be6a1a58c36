"""A role that may read the views reads those that are live and nothing else, whatever takes their place."""

import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs
from sqlalchemy import Engine, NullPool, create_engine, make_url, text
from sqlalchemy.exc import ProgrammingError

from engage.store.keys import KeyStore, load_master_key
from engage.store.reader_roles import RoleError, grant, revoke
from engage.store.views import ViewStore
from engage.testing.store_rows import GENERATION, PARTITIONS, Everything, change, everything, other


@pytest.fixture
def store(postgres_url: str) -> Iterator[ViewStore]:
    with closing(ViewStore(postgres_url)) as opened:
        opened.prepare([everything], GENERATION, PARTITIONS)
        opened.commit([change(0, 1, Everything("a", name="Ada"))])
        yield opened


@pytest.fixture
def tool(postgres_url: str, store: ViewStore) -> Iterator[Engine]:
    """The connection of a BI tool, as a role of its own, whose name has to be quoted."""
    name = f"BI {uuid.uuid4().hex[:8]}"
    admin = create_engine(postgres_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as connection:
        connection.execute(text(f"CREATE ROLE \"{name}\" LOGIN PASSWORD 'hers alone'"))
    engine = create_engine(make_url(postgres_url).set(username=name, password="hers alone"), poolclass=NullPool)
    yield engine
    with admin.connect() as connection:
        connection.execute(text(f'DROP OWNED BY "{name}"'))
        connection.execute(text(f'DROP ROLE "{name}"'))


def role_of(tool: Engine) -> str:
    assert tool.url.username is not None
    return tool.url.username


def names(tool: Engine, table: str = "everything") -> list[str]:
    with tool.connect() as connection:
        return list(connection.scalars(text(f"SELECT name FROM {table}")))


def refused(tool: Engine, statement: str) -> bool:
    with tool.connect() as connection:
        try:
            connection.execute(text(statement))
        except ProgrammingError as error:
            return "permission denied" in str(error)
    return False


def test_it_reads_live_views_and_neither_keys_nor_anything_of_engages_own(
    store: ViewStore, tool: Engine, postgres_url: str, tmp_path: Path
) -> None:
    with closing(KeyStore(postgres_url, load_master_key(tmp_path / "master.key"))) as keys:
        keys.current(["acc-1"])
        assert refused(tool, "SELECT name FROM everything")
        assert grant(store.database, role_of(tool)) == ["everything"]
        assert names(tool) == ["Ada"]
        for table in ("account_keys", "master_keys", "positions", "view_readers", "announcements"):
            assert refused(tool, f"SELECT * FROM {table}")
        for change_of in ("DELETE FROM everything", "UPDATE everything SET name = 'x'", "DROP TABLE everything"):
            with (
                pytest.raises(ProgrammingError, match=r"permission|must be owner"),
                tool.connect() as connection,
            ):
                connection.execute(text(change_of))


def test_it_reads_what_takes_a_views_place_and_not_what_was_there_before(store: ViewStore, tool: Engine) -> None:
    grant(store.database, role_of(tool))
    store.build_beside((everything,), GENERATION, PARTITIONS)
    assert refused(tool, "SELECT * FROM everything__next")
    new = change(0, 1, Everything("a", name="Zoë"))
    store.commit([structs.replace(new, old=structs.replace(new.old, projection="everything__next"), slot="next")])
    assert store.swap((everything,)) == 1
    assert names(tool) == ["Zoë"]
    assert refused(tool, "SELECT * FROM everything__previous")
    store.roll_back((everything,))
    assert names(tool) == ["Ada"]
    assert refused(tool, "SELECT * FROM everything__previous")


def test_it_reads_a_view_that_is_new_and_none_once_that_is_taken_back(store: ViewStore, tool: Engine) -> None:
    grant(store.database, role_of(tool))
    store.prepare([everything, other], GENERATION, PARTITIONS)
    assert names(tool, "other") == []
    assert revoke(store.database, role_of(tool))
    assert refused(tool, "SELECT * FROM other")
    assert refused(tool, "SELECT * FROM everything")
    assert not revoke(store.database, role_of(tool))


def test_who_may_do_more_than_that_is_no_reader(store: ViewStore, tool: Engine, postgres_url: str) -> None:
    user = make_url(postgres_url).username
    assert user is not None
    with pytest.raises(RoleError, match="it may do more with announcements"):
        grant(store.database, user)
    with pytest.raises(RoleError, match="PostgreSQL has no role 'nobody'"):
        grant(store.database, "nobody")
    with store.database.write() as connection:
        connection.execute(text(f'GRANT SELECT ON positions TO "{role_of(tool)}"'))
    with pytest.raises(RoleError, match="it may do more with positions: "):
        grant(store.database, role_of(tool))


def test_a_role_that_is_gone_stops_nobody(store: ViewStore, postgres_url: str) -> None:
    with store.database.write() as connection:
        connection.execute(text("CREATE ROLE briefly"))
    grant(store.database, "briefly")
    with store.database.write() as connection:
        connection.execute(text("DROP OWNED BY briefly"))
        connection.execute(text("DROP ROLE briefly"))
    assert store.prepare([everything, other], GENERATION, PARTITIONS) == []
    assert revoke(store.database, "briefly")


def test_sqlite_has_no_roles(tmp_path: Path) -> None:
    with closing(ViewStore(f"sqlite:///{tmp_path}/views.db")) as store, pytest.raises(RoleError, match="has no roles"):
        grant(store.database, "tool")
