"""A house moves to Kafka and PostgreSQL, lives there, and moves back: the same rows, and nothing is asked twice."""

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition
from msgspec.structs import replace
from typer.testing import CliRunner

from engage import bootstrap
from engage.cli.main import app
from engage.log.contract import Taken
from engage.log.partitioning import partition_of
from engage.log.topics import create_topics
from engage.rules.cell import Parked
from engage.services.letters.source import Refused, Stopped
from engage.services.linking import link
from engage.services.moving.exporting import REFUSED, STOPPED
from engage.services.moving.files import PACKED
from engage.services.moving.kafka_target import AtWorkError
from engage.services.moving.manifest import NotEmptyError, read_manifest
from engage.services.moving.reading import records
from engage.services.moving.restoring import ChainedError
from engage.services.rules_changelog import committed
from engage.settings import Settings, load
from tests.cli.given import order
from tests.log.kafka_platform import fresh_topics
from tests.moving.given import NOW, exported, log_in, new_house, put_in, restored, rows_in, stories
from tests.servers import PROJECT

RUNNER = CliRunner()
PATIENCE = 90.0
PARTITIONS = 8


def told_badly(number: int) -> bytes:
    """A customer says just now that they would not recommend us: somebody is asked to call them."""
    data = {"survey_id": f"s-{number}", "kind": "nps", "score": 1}
    now = datetime.now(UTC).isoformat()
    return json.dumps(order(number, "customer-7", type="Survey Answered", time=now, data=data)).encode()


async def on_kafka(folder: Path, old: Settings, kafka: str, postgres_url: str) -> Settings:
    """The settings of an empty house on Kafka and PostgreSQL, its topics made."""
    settings = replace(new_house(folder, old), log=f"kafka://{kafka}", views=postgres_url, topics=fresh_topics().prefix)
    await create_topics(kafka, PARTITIONS, topics=bootstrap.topics(settings))
    return settings


@contextmanager
def streams(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that takes in and decides."""
    told = {f"ENGAGE_{name.upper()}": getattr(settings, name) for name in ("home", "log", "views", "topics")}
    command = [sys.executable, "-m", "engage", "worker", "streams"]
    with (
        (Path(settings.home) / "streams.log").open("ab") as log,
        subprocess.Popen(command, env=os.environ | told, stderr=log, stdout=log) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


async def killed_at_it(settings: Settings, export: Path) -> None:
    """A restore that is killed with a part of the log on Kafka."""
    command = [sys.executable, "-m", "tests.moving.process", msgspec.json.encode(settings).decode(), str(export)]
    process = await asyncio.create_subprocess_exec(*command, cwd=PROJECT)
    async with asyncio.timeout(PATIENCE), bootstrap.reading_log(settings) as log:
        while not any([await log.end(partition) for partition in range(PARTITIONS)]):
            await asyncio.sleep(0.01)
        process.kill()
        await process.wait()


async def until_asked(settings: Settings, account: str, last: str) -> list[dict[str, Any]]:
    """What the log says of an account as soon as a follow-up is asked for, and the event ``last`` is there."""
    partition = partition_of(account, PARTITIONS)
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE), bootstrap.reading_log(settings) as log:
        position = 0
        while not ({"follow_up.requested", last} <= {word for one in found for word in (one["type"], one["id"])}):
            batch = await log.read(partition, position, 5_000)
            events = (json.loads(record.value) for record in batch.records)
            found += [one for one in events if one["subject"] == account]
            if batch.next_position == position:
                await log.wait({partition: position}, 1.0)
            position = batch.next_position
    return found


def with_dead_letters(export: Path, folder: Path) -> tuple[Path, Stopped]:
    """The export with a rule that stands still on an account, and what intake refused of one that is known."""
    shutil.copytree(export, folder)
    manifest = read_manifest(folder)
    record = next(one for one in records(folder, manifest, 1) if one.type == "Order Completed")
    stopped = Stopped(
        "win-back", record.subject, 1, Parked(record.offset, record.id, "ValueError: no"), "Traceback: no"
    )
    refused = Refused(3, 17, b"customer-3", b"{", [("from", b"shop")], "not_json", "/: is no JSON", NOW, False)
    put_in(folder, f"stores/{STOPPED}{PACKED}", [msgspec.json.encode(stopped)])
    put_in(folder, f"stores/{REFUSED}{PACKED}", [msgspec.json.encode(refused)])
    return folder, stopped


async def dead_letters_are_there(settings: Settings, stopped: Stopped) -> None:
    """They stand on the new topic, and name places of the new log."""
    async with bootstrap.dead_letters(settings) as letters:
        [(letter, refused)] = await letters.refused()
        assert (letter.account, letter.fault.partition(":")[0]) == ("customer-3", "not_json")
        assert (refused.value, refused.headers) == (b"{", [("from", b"shop")])
    topic, partition = f"{settings.topics}.dead-letters", partition_of(stopped.account, PARTITIONS)
    async for batch in committed(settings.kafka or "", TopicPartition(topic, partition)):
        told = [dict(record.headers) for record in batch if record.key == stopped.account.encode()]
    [headers] = told
    assert (headers["engage-consumer"], headers["engage-faults"]) == (b"rule win-back", b"Traceback: no")
    failed_at = dict((await log_in(settings))[partition])[int(headers["engage-offset"])]
    assert json.loads(failed_at)["id"] == stopped.parked.event_id


async def test_a_chain_of_links_is_not_taken_over_by_kafka(tmp_path: Path, kafka: str, postgres_url: str):
    old = Settings(home=str(tmp_path / "old"))
    chained = ["anonymous:1", "customer-1", "customer-2"]
    async with bootstrap.platform(old, clock=lambda: NOW) as platform:
        told = [order(number, account, time="2026-03-02T01:00:00Z") for number, account in enumerate(chained)]
        await platform.publish([json.dumps(one).encode() for one in told])
        for visitor, account in pairwise(chained):
            await link(platform, visitor, account)
        await platform.settle(NOW)
    await exported(old, tmp_path / "export")
    there = await on_kafka(tmp_path / "there", old, kafka, postgres_url)
    with pytest.raises(ChainedError, match=r"unlink anonymous:1` .* link it to 'customer-2'.* Nothing was restored"):
        await restored(there, tmp_path / "export")
    assert not any((await log_in(there)).values())


async def test_there_and_back_again(demo: Settings, export: Path, tmp_path: Path, kafka: str, postgres_url: str):
    there = await on_kafka(tmp_path / "there", demo, kafka, postgres_url)
    export, stopped = with_dead_letters(export, tmp_path / "export")
    await killed_at_it(there, export)
    done = await restored(there, export)
    assert (done.partitions, set(done.differences.values())) == (PARTITIONS, {None})
    assert 0 < done.met < done.records + done.added
    before = stories(await log_in(demo))
    assert stories(await log_in(there)) == before
    assert rows_in(there) == rows_in(demo)
    await dead_letters_are_there(there, stopped)

    with streams(there):
        async with bootstrap.platform(there) as platform:
            said = [told_badly(number) for number in range(3)]
            # The second time they are known, and fall away.
            answers = await platform.publish([*said, *said, told_badly(9)])
            assert {type(answer) for answer in answers} == {Taken}
        told = await until_asked(there, "customer-7", "order-9")
        assert [one["id"] for one in told if one["type"] == "Survey Answered"] == [f"order-{n}" for n in (0, 1, 2, 9)]
        with pytest.raises(AtWorkError, match=r"-streams: workers of these groups are at work .* Stop them"):
            await restored(there, export)
    lived = stories(await log_in(there))
    decided = [one["id"] for told in lived.values() for one in told if one["source"] == "engage/rules"]
    assert len(decided) == len(set(decided))
    with pytest.raises(NotEmptyError):
        await restored(there, export)

    async with bootstrap.platform(there) as platform:
        await platform.projector.catch_up()
    manifest = await exported(there, tmp_path / "again")
    assert (manifest.log, manifest.stores, manifest.partitions) == ("kafka", "postgresql", PARTITIONS)
    back = new_house(tmp_path / "back", demo)
    done = await restored(back, tmp_path / "again")
    assert (done.partitions, set(done.differences.values())) == (PARTITIONS, {None})
    [note] = done.notes
    assert note.startswith("1 events that intake had refused stay in")
    assert stories(await log_in(back)) == lived
    assert rows_in(back) == rows_in(there)


def test_the_text_on_moving_house_is_true(old: Settings, tmp_path: Path, kafka: str, postgres_url: str):
    page = (PROJECT / "docs/moving.md").read_text()
    [block] = re.findall(r"## Moving house\n.*?```sh\n(.*?)```", page, re.DOTALL)
    environment = {"ENGAGE_HOME": old.home}
    here = {
        "kafka://broker:9092": f"kafka://{kafka}",
        "postgresql+psycopg://user:word@host/name": postgres_url,
        "ENGAGE_TOPICS=engage": f"ENGAGE_TOPICS={fresh_topics().prefix}",
        "ENGAGE_PARTITIONS=12": "ENGAGE_PARTITIONS=2",
        "DIR": str(tmp_path / "export"),
    }
    said = []
    for line in block.splitlines():
        for text, real in here.items():
            line = line.replace(text, real)
        words = shlex.split(line, comments=True)
        if words[0] == "export":
            environment |= dict(word.split("=", 1) for word in words[1:])
        elif words[:2] != ["engage", "worker"]:
            done = RUNNER.invoke(app, words[1:], env=environment)
            assert done.exit_code == 0, f"{line}: {done.output}"
            said.append(words[1])
    assert said == ["export", "topics", "restore", "projections"]
    there = load(environment)
    assert stories(asyncio.run(log_in(there))) == stories(asyncio.run(log_in(old)))
