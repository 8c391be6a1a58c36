"""The store of relationships, on both backends: what stands in one transaction, and what it refuses to open."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from eventsourcing.persistence import IntegrityError, MapperDeserialisationError, StoredEvent

from engage.relationships.application import Relationships, StoreVersionError, environment
from engage.relationships.follow_up import FollowUp
from engage.relationships.recorder import Move, PositionMovedError
from tests.relationships.given import (  # noqa: F401 - fixtures
    ASKED,
    DAY,
    EXPIRES,
    a_request,
    an_id,
    either_backend,
    empty_store,
)


def opened(number: int, **changes: object) -> FollowUp:
    return FollowUp.open(an_id(number), f"customer-{number}", a_request(number, **changes), "engage/desk", ASKED)


def test_what_was_saved_is_loaded_the_same_by_another_process(store: Relationships, url: str):
    first, second = opened(1), opened(2)
    second.assign("ben", "anna", ASKED)
    store.record([first, second])
    with closing(Relationships(url)) as other:
        assert other.load([an_id(1), an_id(2), an_id(3)]) == {an_id(1): first, an_id(2): second}
        assert other.store.versions([an_id(1), an_id(2), an_id(3)]) == {an_id(1): 1, an_id(2): 2}


def test_a_position_moves_only_from_where_the_mover_believes_it_is(store: Relationships):
    store.record((), Move("desk", None, 5))
    for wrong in (Move("desk", None, 9), Move("desk", 4, 9), Move("other", 5, 9)):
        with pytest.raises(PositionMovedError, match="another desk or relay works on it"):
            store.record((), wrong)
    store.record((), Move("desk", 5, 9))
    assert (store.position("desk"), store.position("other")) == (9, None)


def test_what_comes_with_a_position_that_has_moved_is_not_recorded(store: Relationships):
    store.record((), Move("desk", None, 5))
    with pytest.raises(PositionMovedError):
        store.record([opened(1)], Move("desk", None, 5))
    assert (store.load([an_id(1)]), store.expired(EXPIRES, 10)) == ({}, [])


def test_a_position_does_not_move_when_what_comes_with_it_is_refused(store: Relationships):
    store.record([opened(1)])
    with pytest.raises(IntegrityError):
        store.record([opened(2), opened(1)], Move("desk", None, 5))
    assert store.position("desk") is None
    assert list(store.load([an_id(1), an_id(2)])) == [an_id(1)]


def test_those_that_expire_are_found_in_order_and_only_while_they_are_open(store: Relationships):
    closed = opened(4)
    closed.dismiss("moved-away", None, "anna", ASKED)
    store.record([opened(1), opened(2, expires=EXPIRES - DAY), opened(3, expires=EXPIRES + DAY), closed])
    assert store.expired(EXPIRES - 2 * DAY, 10) == []
    assert store.expired(EXPIRES, 10) == [an_id(2), an_id(1)]
    assert store.expired(EXPIRES, 1) == [an_id(2)]


def test_notifications_come_in_the_order_of_recording_from_after_a_position(store: Relationships):
    store.record([opened(2)])
    store.record([opened(1)])
    (first, event), (second, _) = store.notifications(0, 10)
    assert first < second
    assert (event.originator_id, event.account, event.timestamp) == (an_id(2), "customer-2", ASKED)
    assert [one.originator_id for _, one in store.notifications(first, 10)] == [an_id(1)]


def test_a_store_of_a_newer_engage_is_refused_with_what_to_do(store: Relationships, url: str):
    Relationships(url).close()
    store.record((), Move("engage-schema", 1, 2))
    with pytest.raises(StoreVersionError, match=r"schema version 2.*use the engage that wrote it"):
        Relationships(url)


def test_processes_may_open_a_new_store_in_the_same_moment(url: str):
    together = threading.Barrier(4)

    def open_and_close(_: int) -> bool:
        together.wait(timeout=10)
        with closing(Relationships(url)) as opened:
            return opened.position("desk") is None

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(open_and_close, range(4))) == [True] * 4


def test_who_opens_a_new_store_waits_for_another_process_that_writes_its_first_tables(tmp_path: Path):
    file = tmp_path / "new.db"
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        leaving = threading.Timer(0.2, other.execute, ["COMMIT"])
        leaving.start()
        with closing(Relationships(f"sqlite:///{file}")) as opened:
            assert opened.position("desk") is None
        leaving.join()


def test_a_stored_event_that_cannot_be_read_is_named(store: Relationships):
    store.recorder.insert_events([StoredEvent(an_id(1), 1, "follow_up.opened", b"{}")])
    with pytest.raises(MapperDeserialisationError, match=f"'follow_up.opened', version 1 of {an_id(1)}"):
        store.load([an_id(1)])


def test_the_process_environment_has_no_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SQLITE_DBNAME", str(tmp_path / "elsewhere.db"))
    monkeypatch.setenv("RELATIONSHIPS_SQLITE_DBNAME", str(tmp_path / "elsewhere.db"))
    monkeypatch.setenv("POSTGRES_DBNAME", "elsewhere")
    Relationships(f"sqlite:///{tmp_path / 'here.db'}").close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.db"]


def test_commits_on_sqlite_reach_the_disk(tmp_path: Path):
    with closing(Relationships(f"sqlite:///{tmp_path / 'here.db'}")) as app:
        datastore = app.recorder.datastore  # type: ignore[attr-defined]
        with datastore.transaction(commit=False) as cursor:
            cursor.execute("PRAGMA synchronous")
            assert cursor.fetchone()[0] == 2


@pytest.mark.parametrize("url", ["mysql://root:secret@127.0.0.1/crm", "sqlite://", "postgresql://127.0.0.1"])
def test_a_url_that_names_no_store_is_refused_without_its_password(url: str):
    with pytest.raises(ValueError, match="is no place for relationships: give sqlite") as refused:
        environment(url)
    assert "secret" not in str(refused.value)


def test_what_is_not_open_is_struck_from_the_list_without_any_event(store: Relationships):
    store.record([opened(1)])
    store.strike([an_id(1)])
    assert store.expired(EXPIRES, 10) == []


def test_a_key_is_one_request_s_until_it_is_let_go_and_keeps_its_answer_for_a_day(store: Relationships):
    assert store.claim("k", "request", ASKED) is None
    taken = store.claim("k", "another", ASKED)
    assert taken is not None
    assert (taken.request, taken.answer) == ("request", b"")
    store.settle("k", b"done")
    kept = store.claim("k", "request", ASKED)
    assert kept is not None
    assert kept.answer == b"done"
    assert store.claim("k", "request", ASKED + DAY) is None
    store.settle("k", None)
    assert store.claim("k", "request", ASKED + DAY) is None
