"""Who is erased is forgotten: by the log's word, in every store of keys and in every look at the past."""

import json
import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from engage import bootstrap
from engage.events.sealing import ERASED
from engage.log.contract import Taken
from engage.log.partitioning import partition_of
from engage.log.sqlite import SqliteLog
from engage.services import erasure, plaintext
from engage.services.as_of import as_of
from engage.services.erasure import Erasures
from engage.services.known_accounts import NoSuchAccountError
from engage.services.platform import Platform
from engage.services.privacy import PersonalCopy, erase, held_on, texts_of
from engage.settings import Settings
from engage.store.database import Database
from projections.shared.timeline import timeline
from tests.http.given import Clock
from tests.log.inbox import STRUCTURED, upstream
from tests.log.kafka_platform import PARTITIONS, intake, kafka_platform

NAME, MAIL, NOTE = "Ada Lovelace-Byron", "ada@example.org", 'loves "quoted" flying machines'


def event(clock: Clock, name: str, number: int, account: str, data: dict[str, Any]) -> bytes:
    shape = {"specversion": "1.0", "id": f"{name}-{number}", "source": "urn:test", "type": name, "subject": account}
    return json.dumps(shape | {"time": clock.now.isoformat(), "data": data}).encode()


def story(clock: Clock, number: int = 1, account: str = "acc-1") -> list[bytes]:
    """A name, and something of a type that nobody knows."""
    person = {"kind": "customer", "name": NAME, "email": MAIL}
    identified = event(clock, "Account Identified", number, account, person)
    return [identified, event(clock, "Weird Thing", number, account, {"note": NOTE})]


async def publish(platform: Platform, *events: bytes) -> None:
    assert all(isinstance(answer, Taken) for answer in await platform.publish(list(events)))
    await platform.settle()


async def copy_of(platform: Platform, account: str = "acc-1") -> PersonalCopy:
    models = platform.projector.projections
    return await held_on(platform.log, platform.keyring, models, account, platform.clock(), platform.store)


async def test_a_copy_has_everything_in_plain_words(platform: Platform, clock: Clock):
    await publish(platform, *story(clock))
    held = await copy_of(platform)
    assert [one["data"].get("name") or one["data"].get("note") for one in held.events[:2]] == [NAME, NOTE]
    assert not held.erased
    assert {"timeline", "account_health", "profile"} <= held.read_models.keys()
    assert set(texts_of(held)) >= {NAME, MAIL, NOTE}


async def test_who_is_erased_can_be_read_by_nobody_and_a_new_key_begins(platform: Platform, clock: Clock):
    await publish(platform, *story(clock), *story(clock, account="acc-2"))
    done = await erase(platform, "acc-1", "ada")
    assert (done.generation, done.gone_by) == (1, None)
    await platform.settle()
    held = await copy_of(platform)
    assert held.erased
    assert [one["data"].get("name") for one in held.events[:1]] == [ERASED]
    assert held.events[-1]["type"] == "account.erased" and held.events[-1]["actor"] == "ada"
    assert texts_of(held) == []
    assert texts_of(await copy_of(platform, "acc-2"))
    clock.now += timedelta(days=1)
    await publish(platform, *story(clock, 2))
    assert NAME in texts_of(await copy_of(platform))
    assert (await erase(platform, "acc-1", "ada")).generation == 2
    assert texts_of(await copy_of(platform)) == []


async def test_to_erase_again_changes_nothing_and_who_is_not_there_is_not_erased(platform: Platform, clock: Clock):
    await publish(platform, *story(clock))
    assert await erase(platform, "acc-1", "ada") == await erase(platform, "acc-1", "ada")
    said = [one for one in (await copy_of(platform)).events if one["type"] == "account.erased"]
    assert len(said) == 1
    for name in ("nobody", "partition:0"):
        with pytest.raises(NoSuchAccountError):
            await erase(platform, name, "ada")


async def test_no_file_holds_a_word_of_it_before_or_after(platform: Platform, clock: Clock, tmp_path: Path):
    await publish(platform, *story(clock))
    texts = texts_of(await copy_of(platform))
    assert plaintext.in_files([tmp_path], texts) == []
    await erase(platform, "acc-1", "ada")
    await platform.settle()
    assert plaintext.in_files([tmp_path], texts) == []
    async with as_of(platform.log, [timeline], clock.now, clock.now) as then:
        assert not any(text in str(row) for row in then.select(timeline) for text in texts)


async def test_keys_from_a_backup_are_forgotten_again(tmp_path: Path, clock: Clock):
    settings, backup = Settings(home=str(tmp_path / "home")), tmp_path / "keys.backup"
    async with bootstrap.platform(settings, clock=clock) as platform:
        await publish(platform, *story(clock))
    shutil.copy(settings.home_path / "keys.db", backup)
    async with bootstrap.platform(settings, clock=clock) as platform:
        await erase(platform, "acc-1", "ada")
    shutil.copy(backup, settings.home_path / "keys.db")
    async with bootstrap.platform(settings, clock=clock) as platform:
        assert platform.keyring.all_of("acc-1")
        await platform.settle()
        assert platform.keyring.all_of("acc-1") == {}


async def test_how_far_it_has_been_read_is_kept_and_never_goes_back(
    platform: Platform, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(erasure, "_NOTED_EVERY", 1)
    await publish(platform, *story(clock))
    ends = [await platform.log.end(partition) for partition in range(platform.log.partitions)]

    def noted() -> list[int]:
        return [platform.keyring.erased_up_to(platform.log.generation, partition) for partition in range(len(ends))]

    assert noted() == ends
    platform.keyring.set_erased_up_to(platform.log.generation, 0, 0)
    assert noted() == ends
    assert await Erasures(platform.log, platform.keyring, platform.past.snapshots).step(100) == 0


async def test_dead_letters_of_the_account_go(platform: Platform, clock: Clock):
    await publish(platform, *story(clock))
    assert isinstance(platform.log, SqliteLog)
    letters = [("rule x", account, 0, 0, "e", "why") for account in ("acc-1", "acc-2")]
    platform.log._db.executemany(
        "INSERT INTO dead_letters (consumer, account, partition, offset, event_id, error) VALUES (?, ?, ?, ?, ?, ?)",
        letters,
    )
    await erase(platform, "acc-1", "ada")
    assert platform.log.dead_letters() == 1


def test_a_text_is_found_in_whatever_way_a_file_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plaintext, "_CHUNK", 64)
    texts = [NAME, NOTE, "Žofie Nováková", "nowhere to be seen"]
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a").write_bytes(b"x" * 60 + NAME.encode() + b"x" * 500)  # over the edge of a piece
    (tmp_path / "b").write_text(json.dumps({"note": NOTE, "name": "Žofie Nováková"}))
    looked: list[str] = []
    found = plaintext.in_files([tmp_path], texts, looked.append)
    assert {(Path(one.place).name, one.text) for one in found} == {("a", 0), ("b", 1), ("b", 2)}
    assert len(looked) == 2


def test_a_text_is_found_in_any_column_of_postgresql(postgres_url: str):
    with closing(Database(postgres_url, synchronous="normal")) as database:
        with database.set_up() as connection:
            for kind in ("text", "jsonb", "bytea"):
                connection.execute(text(f'CREATE TABLE "in {kind}" (it {kind})'))
            connection.execute(text('INSERT INTO "in text" VALUES (:it)'), {"it": f"said {NOTE}"})
            connection.execute(text('INSERT INTO "in jsonb" VALUES (:it)'), {"it": json.dumps({"name": NAME})})
            connection.execute(text('INSERT INTO "in bytea" VALUES (:it)'), {"it": MAIL.encode()})
        found = plaintext.in_tables(database, [NAME, NOTE, MAIL, "nowhere"])
    assert {(one.place, one.text) for one in found} == {
        ("table in text", 1),
        ("table in jsonb", 0),
        ("table in bytea", 2),
    }


async def test_a_text_is_found_in_what_kafka_still_holds(kafka: str, clock: Clock):
    clock.now = datetime.now(UTC)
    async with kafka_platform(kafka) as platform, intake(platform), upstream(platform) as shop:
        for one in story(clock):
            await shop.send(one, partition_of("acc-1", PARTITIONS), STRUCTURED, key=b"acc-1")
        await platform.settle()
        found = await plaintext.in_topics(kafka, platform.topics.all, PARTITIONS, [NAME, "nowhere"])
    # Who writes to the inbox themselves writes in plain words; it is sealed on its way to the log.
    assert [(one.place, one.text) for one in found] == [(f"topic {platform.topics.inbox}", 0)]
