"""A command that comes with a key is done once, however often and by how many it is asked, in either database."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import datetime, timedelta

import pytest
from eventsourcing.persistence import IntegrityError

from engage.relationships.application import Relationships
from engage.relationships.commands import Assign, Complete
from engage.relationships.errors import ClosedError, KeyReusedError
from engage.services.desk import Desk
from engage.services.once import FollowUpState, once
from tests.relationships.given import (  # noqa: F401 - fixtures
    ASKED,
    FileLog,
    Keys,
    an_id,
    asked,
    either_backend,
    empty_store,
    file_log,
)

KEY = once("console", "k-1", ["follow-up", "assign", "anna"])


class Clock:
    now = ASKED + timedelta(minutes=1)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def desk(store: Relationships, log: FileLog, clock: Clock) -> Desk:
    await log.publish([asked(1), asked(2)])
    desk = Desk(store, log, Keys(), clock=clock)
    await desk.step(100)
    return desk


def assign(assignee: str = "anna") -> Assign:
    return Assign(id=an_id(1), assignee=assignee, actor="ada", at=ASKED + timedelta(minutes=1))


def complete() -> Complete:
    return Complete(id=an_id(1), outcome="reached", actor="ada", at=ASKED + timedelta(minutes=1))


async def test_what_is_asked_again_is_answered_the_same_and_done_once(desk: Desk, store: Relationships) -> None:
    [first] = desk.do([assign()], once=KEY)
    assert isinstance(first, FollowUpState)
    assert isinstance(desk.do([assign("ben")])[0], FollowUpState)  # somebody else went on meanwhile
    told = len(store.notifications(0, 100))
    assert desk.do([assign()], once=KEY) == [first]
    assert len(store.notifications(0, 100)) == told


async def test_another_request_with_the_same_key_is_refused(desk: Desk) -> None:
    desk.do([assign()], once=KEY)
    with pytest.raises(KeyReusedError, match="take a new key"):
        desk.do([assign("ben")], once=once("console", "k-1", ["follow-up", "assign", "ben"]))
    assert desk.do([assign("ben")], once=once("somebody else", "k-1", ["follow-up", "assign", "ben"]))


async def test_a_key_is_kept_for_a_day(desk: Desk, clock: Clock) -> None:
    other = once("console", "k-1", ["another"])
    desk.do([assign()], once=KEY)
    clock.now += timedelta(hours=24, microseconds=-1)
    with pytest.raises(KeyReusedError):
        desk.do([assign("ben")], once=other)
    clock.now += timedelta(microseconds=1)
    assert isinstance(desk.do([assign("ben")], once=other)[0], FollowUpState)


async def test_what_was_refused_has_changed_nothing_and_is_decided_anew(desk: Desk) -> None:
    desk.do([complete()])
    for _ in range(2):
        assert isinstance(desk.do([assign()], once=KEY)[0], ClosedError)
    assert isinstance(desk.do([Assign(id=an_id(2), assignee="ben", actor="ada", at=ASKED)], once=KEY)[0], FollowUpState)


async def test_of_many_who_ask_at_a_time_one_does_it(desk: Desk, store: Relationships, log: FileLog, url: str) -> None:
    with ExitStack() as opened, ThreadPoolExecutor(6) as threads:
        desks = [
            Desk(opened.enter_context(closing(Relationships(url))), log, Keys(), clock=desk._clock) for _ in range(6)
        ]
        answers = list(threads.map(lambda one: one.do([complete()], once=KEY), desks))
    assert all(answer == answers[0] for answer in answers)
    assert isinstance(answers[0][0], FollowUpState)
    assert answers[0][0].status == "completed"
    assert store.store.versions([an_id(1)]) == {an_id(1): 2}


async def test_what_was_done_and_its_answer_are_written_together_or_not_at_all(
    desk: Desk, store: Relationships, clock: Clock
) -> None:
    desk.do([assign()], once=KEY)
    kept = store.answered(KEY.key, clock())
    assert kept is not None
    second = store.load([an_id(2)])[an_id(2)]
    second.assign("ben", "ada", clock())
    with pytest.raises(IntegrityError):
        store.record([second], answered=kept)
    assert store.load([an_id(2)])[an_id(2)].assignee is None
