"""A store that was lost comes back from what was relayed, byte for byte."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from engage.relationships import restore as restoring
from engage.relationships.application import Relationships
from engage.relationships.commands import Assign, Complete
from engage.relationships.follow_up import FollowUp
from engage.relationships.restore import RestoreError, restore
from engage.services.desk import Desk
from engage.services.relay import Relay, restore_from
from tests.relationships.given import (  # noqa: F401 - fixtures
    ASKED,
    DAY,
    EXPIRES,
    FileLog,
    Keys,
    a_request,
    an_id,
    asked,
    either_backend,
    empty_store,
    file_log,
)

MANY = range(12)


@pytest.fixture
def lost(tmp_path: Path, log: FileLog) -> Iterator[Relationships]:
    """A store whose past is on the log: all were assigned, some completed with a note, the others expired."""
    with closing(Relationships(f"sqlite:///{tmp_path / 'lost.db'}")) as store:
        asyncio.run(live(store, log))
        yield store


async def live(store: Relationships, log: FileLog) -> None:
    await log.publish([asked(number) for number in MANY])
    desk = Desk(store, log, Keys())
    await desk.step(100)
    desk.do([Assign(id=an_id(number), actor="anna", at=ASKED + DAY, assignee="ben") for number in MANY])
    some = [number for number in MANY if number % 3]
    at = ASKED + 2 * DAY
    desk.do([Complete(id=an_id(one), actor="ben", at=at, outcome="reached", note="was at home") for one in some])
    await desk.expire_due(EXPIRES)
    await Relay(store, log).step(1_000)


def test_every_stored_event_comes_back_as_it_was(lost: Relationships, store: Relationships, log: FileLog):
    assert restore(store, log.events) == 3 * len(MANY)
    ids = [an_id(number) for number in MANY]
    by_id = {one: [event for event in lost.store.select_many(ids) if event.originator_id == one] for one in ids}
    assert {
        one: [event for event in store.store.select_many(ids) if event.originator_id == one] for one in ids
    } == by_id
    assert store.load(ids) == lost.load(ids)
    assert store.expired(EXPIRES, 100) == []


async def test_after_it_nothing_is_opened_or_relayed_again(lost: Relationships, store: Relationships, log: FileLog):
    before = len(log.events)
    assert await restore_from(log, store) == 3 * len(MANY)
    assert await Desk(store, log, Keys()).step(100) == before
    assert await Relay(store, log).step(100) == 0
    assert await restore_from(log, store) == 0


async def test_it_is_done_once_and_what_waits_for_the_relay_stops_no_start(store: Relationships, log: FileLog):
    assert await restore_from(log, store) == 0
    store.record([FollowUp.open(an_id(1), "customer-1", a_request(1), "engage/desk", ASKED)])
    assert await restore_from(log, store) == 0


def test_one_that_was_interrupted_goes_on(
    lost: Relationships, store: Relationships, log: FileLog, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(restoring, "_BATCH", 5)

    def torn():
        yield from log.events[:30]
        raise ConnectionError("the log went away")

    with pytest.raises(ConnectionError):
        restore(store, torn())
    already = sum(store.store.versions(an_id(number) for number in MANY).values())
    assert 0 < already < 3 * len(MANY)
    assert restore(store, log.events) == 3 * len(MANY) - already
    assert store.load(map(an_id, MANY)) == lost.load(map(an_id, MANY))


async def test_a_store_that_holds_what_the_log_lacks_is_left_alone(
    lost: Relationships, store: Relationships, log: FileLog
):
    await Desk(store, log, Keys()).step(100)
    with pytest.raises(RestoreError, match="not on the log yet"):
        restore(store, log.events)


def test_what_only_has_our_source_or_our_type_is_passed_over(lost: Relationships, store: Relationships, log: FileLog):
    strangers = []
    changed: list[dict[str, str | None]] = [{"type": "anything"}, {"correlationid": None}, {"correlationid": "no-uuid"}]
    changed.append({"source": "urn:shop"})
    for number, changes in enumerate(changed):
        stranger = next(event for event in log.events if event.type == "follow_up.assigned")
        for name, value in {"id": f"stranger-{number}", **changes}.items():
            setattr(stranger, name, value)
        strangers.append(stranger)
    assert restore(store, strangers + log.events) == 3 * len(MANY)
    assert store.load(map(an_id, MANY)) == lost.load(map(an_id, MANY))


def test_what_was_relayed_twice_is_restored_once(lost: Relationships, store: Relationships, log: FileLog):
    assert restore(store, log.events + log.events) == 3 * len(MANY)
    assert store.load(map(an_id, MANY)) == lost.load(map(an_id, MANY))


def test_one_of_ours_that_cannot_be_read_is_said_and_not_a_traceback(
    lost: Relationships, store: Relationships, log: FileLog
):
    events = log.events
    next(event for event in events if event.type == "follow_up.assigned").dataversion = 9
    with pytest.raises(RestoreError, match=r"'follow_up.assigned', cannot be read .*use the engage that wrote it"):
        restore(store, events)


def test_a_log_with_a_hole_is_refused(lost: Relationships, store: Relationships, log: FileLog):
    lacking = ("follow_up.assigned", "customer-4")
    holed = [event for event in log.events if (event.type, event.subject) != lacking]
    with pytest.raises(RestoreError, match=f"is not version 2 of {an_id(4)}.*restore the log first"):
        restore(store, holed)
