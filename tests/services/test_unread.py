"""A record that cannot be read hurts nobody else, whoever follows the log: it is a dead letter, to be had again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from engage import bootstrap
from engage.events import codec
from engage.events.catalogue.account import AccountErased
from engage.events.envelope import Event
from engage.log.contract import Taken
from engage.log.sqlite import SqliteLog
from engage.services import doctor, privacy
from engage.services.letters.acting import Command, act
from engage.services.letters.letter import Chosen, DeadLetter, Verb
from engage.services.linking import link
from engage.services.log_search import Wanted, newest
from engage.services.platform import Platform
from engage.services.records import CorruptRecordError
from engage.services.status import read_status
from engage.settings import Settings
from tests.http.given import Clock
from tests.webhooks.conftest import MODELS
from tests.webhooks.conftest import platform as platform
from tests.webhooks.conftest import receiver as receiver
from tests.webhooks.given import Receiver, endpoint, refund, send

Damage = Callable[[bytes], bytes]


def no_json(value: bytes) -> bytes:
    return value[:-1]


def wrong_data(value: bytes) -> bytes:
    return json.dumps(json.loads(value) | {"data": {"why": 7}}, separators=(",", ":")).encode()


DAMAGES = pytest.mark.parametrize("damage", [no_json, wrong_data])


async def said(platform: Platform, account: str, kind: str) -> Event[Any]:
    """What the log says of the account, the newest of its kind."""
    return (await newest(platform.log, Wanted(account=account, types=(kind,)), 1))[0]


def spoil(platform: Platform, event: Event[Any], damage: Damage) -> Callable[[], None]:
    """Damage a record in the file; what is returned brings it back."""
    assert isinstance(platform.log, SqliteLog)
    db, log = platform.log._db, platform.log
    [(position, value)] = db.execute(
        "SELECT position, value FROM log WHERE instr(value, ?)", (b'"id":"' + event.id.encode() + b'"',)
    ).fetchall()

    def put(told: bytes) -> None:
        with log._transaction():
            db.execute("UPDATE log SET value = ? WHERE position = ?", (told, position))

    put(damage(value))
    return lambda: put(value)


async def asked_of_two(platform: Platform, damage: Damage) -> tuple[dict[str, UUID], Callable[[], None]]:
    """Two accounts of one partition are asked about; what is said of the first cannot be read."""
    await platform.publish([json.dumps(refund(one, one)).encode() for one in ("a", "b")])
    found = {one: await said(platform, one, "follow_up.requested") for one in ("a", "b")}
    return {one: UUID(event.id) for one, event in found.items()}, spoil(platform, found["a"], damage)


async def letters(platform: Platform, consumer: str) -> list[DeadLetter]:
    return await platform.letters.listed(Chosen(consumer=consumer))


async def tried(platform: Platform, consumer: str, verb: Verb = "retry") -> list[str]:
    command = Command(verb, "ada", platform.clock(), "damaged")
    done = await act(platform.letters, Chosen(consumer=consumer), command, platform.publish, platform.readers)
    return [one.outcome for one in done]


@DAMAGES
async def test_the_desk_opens_what_others_ask_for_and_the_rest_once_it_can_be_read(platform: Platform, damage: Damage):
    ids, restore = await asked_of_two(platform, damage)
    while await platform.work():
        pass
    assert platform.relationships.load(ids.values()).keys() == {ids["b"]}
    [letter] = await letters(platform, "desk")
    assert (await platform.letters.one(letter.id)).letter == letter
    assert await tried(platform, "desk") == ["failed_again"]
    restore()
    assert await tried(platform, "desk") == ["goes_on"]
    assert platform.relationships.load(ids.values()).keys() == {*ids.values()}
    assert await letters(platform, "desk") == []


async def test_what_the_desk_could_not_read_may_be_skipped(platform: Platform):
    ids, _ = await asked_of_two(platform, wrong_data)
    while await platform.work():
        pass
    [letter] = await letters(platform, "desk")
    assert (letter.account, letter.event_id) == ("a", str(ids["a"]))
    assert await tried(platform, "desk", "skip") == ["goes_on"]
    assert await letters(platform, "desk") == []


@pytest.mark.parametrize("second", ["retry", "skip"])
async def test_of_two_operators_at_once_the_second_hears_that_the_first_has_done_it(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, second: Verb
):
    _, restore = await asked_of_two(platform, no_json)
    while await platform.work():
        pass
    restore()
    seen = await letters(platform, "desk")
    command = Command(second, "grace", platform.clock(), "damaged")

    async def listed(_: Chosen) -> list[DeadLetter]:
        monkeypatch.undo()
        assert await tried(platform, "desk") == ["goes_on"]
        return seen

    monkeypatch.setattr(platform.letters, "listed", listed)
    [done] = await act(platform.letters, Chosen(consumer="desk"), command, platform.publish, platform.readers)
    assert (done.letter, done.outcome) == (seen[0], "goes_on")
    assert done.detail == "somebody else retried or skipped it at the same time"


async def test_doctor_names_what_could_not_be_read(platform: Platform, tmp_path: Path):
    await asked_of_two(platform, wrong_data)
    while await platform.work():
        pass
    status = await read_status(
        platform.log, platform.store, platform.relationships, MODELS, home=tmp_path, owner=None, next_wake=None
    )
    [found] = [one for one in doctor.of_work(status, platform.clock(), embedded=True) if one.about == "dead letters"]
    assert found.words == "1 event could not be taken by a rule, or not be read by who follows the log"
    assert "engage dead-letters list" in (found.remedy or "")


@DAMAGES
async def test_webhooks_hear_of_the_others_and_of_the_rest_once_it_can_be_read(
    platform: Platform, receiver: Receiver, damage: Damage
):
    await endpoint(platform, receiver.url, rules=("refund-repair",))
    _, restore = await asked_of_two(platform, damage)
    while await platform.work():
        pass
    # Read models stop before what is no event at all; whom to tell is asked of them.
    restore()
    await platform.projector.catch_up()
    assert isinstance(platform.log, SqliteLog)
    restore = spoil(platform, await said(platform, "a", "follow_up.requested"), damage)
    await send(platform)
    assert receiver.bodies == [("follow_up.requested", "b")]
    assert len(await letters(platform, "webhooks")) == 1
    restore()
    assert await tried(platform, "webhooks") == ["goes_on"]
    await send(platform)
    assert sorted(receiver.bodies) == [("follow_up.requested", "a"), ("follow_up.requested", "b")]


@DAMAGES
async def test_others_are_forgotten_and_the_rest_once_it_can_be_read(platform: Platform, clock: Clock, damage: Damage):
    platform.keyring.current(["a", "b"])
    erased = [
        codec.new_event(
            AccountErased(generation=1), id=f"erased-{one}", source="engage/erasure", subject=one, time=clock()
        )
        for one in ("a", "b")
    ]
    await platform.publish(erased)
    restore = spoil(platform, await said(platform, "a", "account.erased"), damage)
    while await platform.work():
        pass
    assert [len(platform.keyring.all_of(one)) for one in ("a", "b")] == [1, 0]
    assert len(await letters(platform, "erasures")) == 1
    restore()
    assert await tried(platform, "erasures") == ["goes_on"]
    assert platform.keyring.all_of("a") == {}


@DAMAGES
async def test_who_is_to_be_forgotten_is_when_it_is_asked_again_whatever_befell_the_first_word(
    platform: Platform, clock: Clock, damage: Damage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(privacy, "_WAIT_SECONDS", 0.0)
    platform.keyring.current(["a"])
    erased = codec.new_event(
        AccountErased(generation=1), id="erasure:1", source=privacy.SOURCE, subject="a", time=clock()
    )
    await platform.publish([json.dumps(refund("a", "a")).encode(), erased])
    spoil(platform, await said(platform, "a", "account.erased"), damage)
    while await platform.work():
        pass
    assert await tried(platform, "erasures", "skip") == ["goes_on"]
    assert (await privacy.erase(platform, "a", "ada")).generation == 1
    assert platform.keyring.all_of("a") == {}


async def test_a_letter_that_is_kept_twice_is_one(platform: Platform):
    await asked_of_two(platform, no_json)
    await platform.desk.step(100)
    [(letter, unread)] = await platform.letters.unread()
    await platform.letters.source.keep(unread)
    assert await letters(platform, "desk") == [letter]


@DAMAGES
async def test_whoever_starts_again_decides_for_the_others(tmp_path: Path, clock: Clock, damage: Damage):
    settings = Settings(home=str(tmp_path))
    async with bootstrap.platform(settings, clock=clock, models=MODELS) as platform:
        await asked_of_two(platform, damage)
        assert platform.embedded is not None
        for partition in range(platform.log.partitions):
            platform.embedded.log.forget_engine(partition)
    async with bootstrap.platform(settings, clock=clock, models=MODELS) as platform:
        [answer] = await platform.publish([json.dumps(refund("another", "b")).encode()])
        assert isinstance(answer, Taken)
        before, newer = await newest(platform.log, Wanted(account="b", types=("follow_up.requested",)), 2)
        assert before.offset < answer.token.offset < newer.offset


@DAMAGES
async def test_who_is_linked_brings_along_what_can_be_read(platform: Platform, damage: Damage):
    await asked_of_two(platform, damage)
    await link(platform, "a", "b")
    told = await newest(platform.log, Wanted(account="b", types=("Order Refunded",)), 10)
    assert [event.origin for event in told] == [None, "a"]


async def test_read_models_of_a_partition_stop_before_a_record_that_is_no_event_and_no_others_do(platform: Platform):
    _, restore = await asked_of_two(platform, no_json)
    bad = await platform.log.end(0)
    elsewhere = [json.dumps(refund(one, one)).encode() for one in "cdf"]
    await platform.publish(elsewhere)
    with pytest.raises(CorruptRecordError, match=r"record 0:\d+ of the log is no event .*: restore the log"):
        await platform.projector.catch_up()
    lags = [one for one in await platform.projector.lag() if one.projection == "timeline"]
    assert [one.behind for one in lags[1:]] == [0, 0, 0]
    assert 0 < lags[0].behind < bad
    standing = platform.store.standing()
    status = await read_status(platform.log, platform.store, None, MODELS, home=Path(), owner=None, next_wake=None)
    found = await doctor.of_log(platform.log, standing, status)
    assert found.words.startswith(f"record 0:{lags[0].position} of the log is no event")
    assert found.remedy == "restore the log from its backup"
    restore()
    await platform.projector.catch_up()
    assert (await doctor.of_log(platform.log, platform.store.standing(), status)).state == "well"


async def test_a_turn_of_the_read_models_goes_on_beside_a_partition_that_stopped(platform: Platform):
    await asked_of_two(platform, no_json)
    while await platform.project():
        pass
    await platform.publish([json.dumps(refund("c", "c")).encode()])
    assert await platform.project() > 0
    assert await platform.project() == 0
