"""The desk: each decision becomes one follow-up, whatever dies or comes twice, and people's commands count once."""

import asyncio
import random
import re
import signal
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from engage.events import codec
from engage.events.envelope import Event, to_micros
from engage.events.sealing import is_sealed, open_text
from engage.events.validation import MAX_BYTES, check_event
from engage.relationships.application import Relationships
from engage.relationships.commands import Assign, Complete, Snooze
from engage.relationships.errors import ClosedError, ConflictError, InvalidError, NotFoundError, SnoozeError
from engage.relationships.follow_up import FollowUp
from engage.relationships.recorder import Beside
from engage.services.desk import Desk
from engage.services.once import FollowUpState
from engage.services.relay import Relay
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
from tests.servers import PROJECT

LATER = ASKED + timedelta(hours=1)
MANY = 40


@pytest.fixture
def desk(store: Relationships, log: FileLog) -> Desk:
    return Desk(store, log, Keys())


def versions(store: Relationships, count: int) -> dict[UUID, int]:
    return store.store.versions(an_id(number) for number in range(count))


async def test_a_decision_becomes_a_follow_up_at_the_moment_it_was_recorded(
    desk: Desk, store: Relationships, log: FileLog
):
    await log.publish([asked(1)])
    assert await desk.step(100) == 1
    follow_up = store.load([an_id(1)])[an_id(1)]
    assert (follow_up.account, follow_up.status, follow_up.created_on) == ("customer-1", "open", ASKED)
    assert follow_up.request.why == "no order for 60 days"
    assert await desk.step(100) == 0


async def test_only_decisions_are_taken_in_from_a_log_of_many_things(desk: Desk, store: Relationships, log: FileLog):
    mention = asked(2)
    mention.type, mention.id = "Note Taken", 'mentions "follow_up.requested"'
    await log.publish([mention, asked(1)])
    assert await desk.step(100) == 2
    assert versions(store, 5) == {an_id(1): 1}


async def test_a_request_that_is_nobody_s_decision_does_not_stop_the_others(
    desk: Desk, store: Relationships, log: FileLog
):
    forged = asked(2)
    forged.id = "not-a-uuid"
    await log.publish([forged, asked(1)])
    assert await desk.step(100) == 2
    assert await desk.step(100) == 0
    assert [event.originator_id for _, event in store.notifications(0, 10)] == [an_id(1)]


async def test_a_desk_that_starts_again_goes_on_where_the_last_one_stopped(
    desk: Desk, store: Relationships, log: FileLog, url: str
):
    await log.publish([asked(number) for number in range(10)])
    assert await desk.step(100) == 10
    await log.publish([asked(number) for number in range(10, 13)])
    with closing(Relationships(url)) as again:
        assert await Desk(again, log, Keys()).step(100) == 3
    assert versions(store, 13) == {an_id(number): 1 for number in range(13)}


async def test_a_log_that_was_restored_as_another_generation_opens_nothing_twice(
    desk: Desk, store: Relationships, log: FileLog, tmp_path: Path
):
    await log.publish([asked(number) for number in range(5)])
    await desk.step(100)
    with closing(FileLog(tmp_path / "log.ndjson", generation="second")) as restored:
        assert await Desk(store, restored, Keys()).step(100) == 5
    assert versions(store, 5) == {an_id(number): 1 for number in range(5)}
    assert len(store.notifications(0, 100)) == 5


@pytest.mark.parametrize(("zombie_reads", "heir_reads"), [(100, 1), (1, 100), (100, 100)])
async def test_a_desk_that_wakes_after_its_heir_took_over_opens_nothing_twice(
    store: Relationships, log: FileLog, url: str, zombie_reads: int, heir_reads: int
):
    await log.publish([asked(number) for number in range(20)])
    with closing(Relationships(url)) as other:
        zombie, heir = Desk(other, log, Keys()), Desk(store, log, Keys())

        async def heir_steps() -> None:
            log.before_answer = None
            await heir.step(heir_reads)

        log.before_answer = heir_steps  # the zombie has read its batch; before it writes, the heir does all of its own
        while await zombie.step(zombie_reads):
            pass
    assert await heir.step(100) in (0, 20 - heir_reads * 4)
    while await heir.step(100):
        pass
    assert versions(store, 20) == {an_id(number): 1 for number in range(20)}
    assert len(store.notifications(0, 100)) == 20


async def test_people_move_a_follow_up_to_its_end(desk: Desk, log: FileLog):
    await log.publish([asked(1), asked(2)])
    await desk.step(100)
    assert desk.assign(an_id(1), "ben", "anna", LATER).assignee == "ben"
    assert desk.snooze(an_id(1), ASKED + DAY, "ben", LATER).until == ASKED + DAY
    assert desk.start(an_id(1), "ben", LATER).status == "started"
    done = desk.complete(an_id(1), "reached", "ben", LATER)
    assert (done.status, done.outcome, done.version, done.account) == ("completed", "reached", 5, "customer-1")
    assert desk.dismiss(an_id(2), "moved-away", "anna", LATER).status == "dismissed"


async def test_a_refusal_says_what_to_do_and_changes_nothing(desk: Desk, store: Relationships, log: FileLog):
    await log.publish([asked(1)])
    await desk.step(100)
    with pytest.raises(NotFoundError, match=f"no follow-up {an_id(9)}: list the open ones"):
        desk.start(an_id(9), "anna", LATER)
    with pytest.raises(ConflictError, match=r"has version 1 and not 3.*read it again"):
        desk.start(an_id(1), "anna", LATER, if_version=3)
    with pytest.raises(SnoozeError):
        desk.snooze(an_id(1), EXPIRES, "anna", LATER)
    assert versions(store, 2) == {an_id(1): 1}
    assert desk.start(an_id(1), "anna", LATER, if_version=1).version == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"outcome": ""}, "length >= 1 - at `$.outcome`"),
        ({"outcome": "x" * 257}, "length <= 256 - at `$.outcome`"),
        ({"outcome": "\ud800"}, "surrogates not allowed"),
        ({"actor": ""}, "length >= 1 - at `$.actor`"),
        ({"note": "x" * 20_001}, "length <= 20000 - at `$.note`"),
        ({"at": LATER.replace(tzinfo=None)}, "timezone component - at `$.at`"),
    ],
)
async def test_what_the_log_would_refuse_is_refused_at_the_desk(
    desk: Desk, store: Relationships, log: FileLog, wrong: dict[str, Any], said: str
):
    await log.publish([asked(1)])
    await desk.step(100)
    fields: dict[str, Any] = {"outcome": "reached", "actor": "anna", "at": LATER, "note": None}
    with pytest.raises(InvalidError, match=f"complete of follow-up {an_id(1)}: .*{re.escape(said)}.*mend it"):
        desk.complete(an_id(1), **(fields | wrong))
    assert versions(store, 2) == {an_id(1): 1}


@pytest.mark.parametrize(
    ("wrong", "field", "said"),
    [
        ({"outcome": "Called John Secret"}, "outcome", "must be a short code: .*say the rest in note"),
        ({"outcome": "x" * 65}, "outcome", "up to 64 small letters"),
        ({"outcome": "a\x00b"}, "outcome", "short code"),
        ({"actor": "anna@example.com"}, "actor", "looks like an e-mail address"),
        ({"actor": "a\x00b"}, "actor", "control character"),
        ({"at": LATER + timedelta(minutes=6)}, "at", "lies ahead of .*: set the clock right"),
    ],
)
async def test_what_would_stop_the_relay_or_name_a_person_is_refused_at_the_desk(
    store: Relationships, log: FileLog, wrong: dict[str, Any], field: str, said: str
):
    desk = Desk(store, log, Keys(), clock=lambda: LATER)
    await log.publish([asked(1)])
    await desk.step(100)
    fields: dict[str, Any] = {"outcome": "reached", "actor": "anna", "at": LATER + timedelta(minutes=4), "note": None}
    with pytest.raises(InvalidError, match=f"complete of follow-up {an_id(1)}: .*{said}") as refused:
        desk.complete(an_id(1), **(fields | wrong))
    assert refused.value.field == field
    assert versions(store, 2) == {an_id(1): 1}
    assert desk.complete(an_id(1), **fields).status == "completed"


@pytest.mark.parametrize("reason", ["Not needed, says Ada", "é", "-x", ""])
async def test_a_dismissal_has_a_short_code_and_an_assignee_no_address(desk: Desk, log: FileLog, reason: str):
    await log.publish([asked(1)])
    await desk.step(100)
    with pytest.raises(InvalidError, match="reason"):
        desk.dismiss(an_id(1), reason, "anna", LATER)
    with pytest.raises(InvalidError, match="assignee looks like an e-mail address"):
        desk.assign(an_id(1), "ben@example.com", "anna", LATER)
    assert desk.dismiss(an_id(1), "not_needed", "anna", LATER).status == "dismissed"


@pytest.mark.parametrize("note", ["", "x" * 20_000, "ü" * 20_000])
async def test_a_note_of_any_allowed_length_can_be_relayed(desk: Desk, store: Relationships, log: FileLog, note: str):
    await log.publish([asked(1)])
    await desk.step(100)
    desk.complete(an_id(1), "reached", "anna", LATER, note=note)
    await Relay(store, log).step(100)
    told = codec.encode(log.events[-1])
    assert len(told) < MAX_BYTES
    assert isinstance(check_event(codec.decode(told), LATER), Event)


async def test_in_a_batch_a_refused_command_sinks_no_other(desk: Desk, log: FileLog):
    await log.publish([asked(number) for number in range(3)])
    await desk.step(100)
    answers = desk.do(
        [
            Assign(id=an_id(0), actor="anna", at=LATER, assignee="ben"),
            Complete(id=an_id(9), actor="anna", at=LATER, outcome="reached", note="nobody's"),
            Snooze(id=an_id(1), actor="anna", at=LATER, until=EXPIRES),
            Complete(id=an_id(0), actor="ben", at=LATER, outcome="reached"),
            Assign(id=an_id(0), actor="anna", at=LATER, assignee="eva"),
            Assign(id=an_id(2), actor="anna", at=LATER, assignee="eva"),
        ]
    )
    expected = (FollowUpState, NotFoundError, SnoozeError, FollowUpState, ClosedError, FollowUpState)
    assert [type(answer) for answer in answers] == list(expected)
    last = answers[-1]
    assert isinstance(last, FollowUpState)
    assert last.assignee == "eva"


async def test_what_people_write_is_kept_sealed_with_the_account_s_key(store: Relationships, log: FileLog):
    keys = Keys()
    desk = Desk(store, log, keys)
    await log.publish([asked(1), asked(2)])
    await desk.step(100)
    desk.complete(an_id(1), "reached", "anna", LATER, note="her mother is ill")
    desk.dismiss(an_id(2), "other", "anna", LATER, note="a second note")
    notes = [str(getattr(event.data, "note", "")) for _, event in store.notifications(0, 10)]
    assert [is_sealed(note) for note in notes[-2:]] == [True, True]
    assert open_text(notes[-2], keys.held["customer-1"], "customer-1") == "her mother is ill"
    assert open_text(notes[-1], keys.held["customer-2"], "customer-2") == "a second note"
    assert b"mother" not in b"".join(event.state for event in store.store.select_many([an_id(1), an_id(2)]))


class Interrupted(Keys):
    """A keyring during whose look-up somebody else acts: between reading the follow-up and saving it."""

    def __init__(self, others: Desk) -> None:
        super().__init__()
        self.others: Desk | None = others

    def current(self, accounts):
        others, self.others = self.others, None
        if others:
            others.complete(an_id(1), "reached", "eva", LATER)
        return super().current(accounts)


async def test_of_two_who_close_it_in_the_same_moment_the_second_is_told(
    desk: Desk, store: Relationships, log: FileLog, url: str
):
    await log.publish([asked(1)])
    await desk.step(100)
    with closing(Relationships(url)) as other, pytest.raises(ClosedError, match="was completed on"):
        Desk(other, log, Interrupted(desk)).dismiss(an_id(1), "moved-away", "anna", LATER, note="too late")
    assert versions(store, 2) == {an_id(1): 2}


async def test_what_nobody_came_to_expires_at_its_own_moment_also_after_a_restart(
    desk: Desk, store: Relationships, log: FileLog, url: str
):
    await log.publish([asked(1), asked(2, expires=EXPIRES + DAY), asked(3)])
    await desk.step(100)
    desk.complete(an_id(3), "reached", "anna", LATER)
    assert await desk.expire_due(EXPIRES - DAY) == 0
    with closing(Relationships(url)) as again:
        assert await Desk(again, log, Keys()).expire_due(EXPIRES + timedelta(hours=5)) == 1
        assert await Desk(again, log, Keys()).expire_due(EXPIRES + timedelta(hours=5)) == 0
    _, event = store.notifications(0, 100)[-1]
    assert isinstance(event, FollowUp.Expired)
    assert (event.originator_id, event.timestamp) == (an_id(1), EXPIRES)
    statuses = {one: follow_up.status for one, follow_up in store.load(map(an_id, (1, 2, 3))).items()}
    assert statuses == {an_id(1): "expired", an_id(2): "open", an_id(3): "completed"}


async def test_what_is_listed_as_open_and_is_not_holds_nobody_up(desk: Desk, store: Relationships, log: FileLog):
    await log.publish([asked(1), asked(2)])
    await desk.step(100)
    desk.complete(an_id(2), "reached", "anna", LATER)
    strays = Beside(opened=[(an_id(2), to_micros(EXPIRES)), (an_id(9), to_micros(EXPIRES))])
    store.recorder.insert_events([], beside=strays)
    async with asyncio.timeout(10):
        assert await desk.expire_due(EXPIRES) == 1
    assert store.expired(EXPIRES, 10) == []
    assert store.load([an_id(2)])[an_id(2)].status == "completed"


async def test_an_old_decision_that_was_taken_in_late_expires_and_time_does_not_go_back(
    desk: Desk, store: Relationships, log: FileLog
):
    late = asked(1)
    late.time = EXPIRES + DAY
    await log.publish([late])
    await desk.step(100)
    assert await desk.expire_due(EXPIRES + 2 * DAY) == 1
    assert [event.timestamp for _, event in store.notifications(0, 10)] == [EXPIRES + DAY, EXPIRES + DAY]


@pytest.mark.fault
def test_killed_at_any_moment_each_is_opened_closed_and_relayed_once(url: str, tmp_path: Path, rounds: int):
    log_file = log_of_decisions(tmp_path)
    chance = random.Random(4)
    for _ in range(rounds):
        with subprocess.Popen(worker(log_file, url), cwd=PROJECT, stdout=subprocess.PIPE) as killed:
            assert killed.stdout
            for _ in range(chance.randint(1, 20)):
                killed.stdout.readline()
            killed.kill()
    each_was_opened_closed_and_relayed_once(log_file, url)


@pytest.mark.fault
def test_killed_at_a_commit_each_is_opened_closed_and_relayed_once(tmp_path: Path, rounds: int):
    log_file, url = log_of_decisions(tmp_path), f"sqlite:///{tmp_path / 'relationships.db'}"
    for commit in range(1, 3 * rounds + 1):
        died = subprocess.run([*worker(log_file, url), str(commit)], cwd=PROJECT, stdout=subprocess.DEVNULL, timeout=60)
        assert died.returncode in (-signal.SIGKILL, 0)
    each_was_opened_closed_and_relayed_once(log_file, url)


def log_of_decisions(folder: Path) -> Path:
    with closing(FileLog(folder / "log.ndjson")) as log:
        asyncio.run(log.publish([asked(number) for number in range(MANY)]))
    return folder / "log.ndjson"


def worker(log_file: Path, url: str) -> list[str]:
    return [sys.executable, "-m", "tests.services.desk_worker", str(log_file), url, str(MANY)]


def each_was_opened_closed_and_relayed_once(log_file: Path, url: str) -> None:
    subprocess.run(worker(log_file, url), cwd=PROJECT, stdout=subprocess.DEVNULL, timeout=60, check=True)
    with closing(FileLog(log_file)) as log, closing(Relationships(url)) as store:
        ends = {an_id(number): "completed" if number % 2 else "expired" for number in range(MANY)}
        assert {one: follow_up.status for one, follow_up in store.load(ends).items()} == ends
        told: dict[str, list[str]] = {}
        for event in log.events:
            told.setdefault(event.subject, []).append(event.type)
        assert told == {
            f"customer-{number}": ["follow_up.requested", "follow_up.opened", f"follow_up.{end}"]
            for number, end in enumerate(ends.values())
        }


def test_the_catalogue_holds_every_field_that_a_request_hands_on():
    opened = FollowUp.open(an_id(1), "customer-1", a_request(), "engage/desk", ASKED).request
    handed = {name: getattr(a_request(), name) for name in opened.__struct_fields__ if name != "follow_up_id"}
    assert {name: getattr(opened, name) for name in handed} == handed
    assert codec.encode(opened)
