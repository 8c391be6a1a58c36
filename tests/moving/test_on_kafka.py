"""A house moves to Kafka and PostgreSQL, lives there, and moves back: the same rows, and nothing is asked twice."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from engage import bootstrap
from engage.log.contract import Taken
from engage.log.topics import create_topics
from engage.services.moving.kafka_target import AtWorkError
from engage.services.moving.manifest import NotEmptyError
from engage.settings import Settings
from tests.cli.given import order
from tests.log.kafka_platform import fresh_topics
from tests.moving.given import exported, log_in, new_house, restored, rows_in, stories

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


async def until(settings: Settings, holds) -> dict[str, list[dict[str, Any]]]:
    """The stories on the log as soon as they are so."""
    async with asyncio.timeout(PATIENCE):
        while not holds(found := stories(await log_in(settings))):
            await asyncio.sleep(0.3)
    return found


async def test_there_and_back_again(demo: Settings, export: Path, tmp_path: Path, kafka: str, postgres_url: str):
    there = await on_kafka(tmp_path / "there", demo, kafka, postgres_url)
    done = await restored(there, export)
    assert (done.partitions, done.met, set(done.differences.values())) == (PARTITIONS, 0, {None})
    before = stories(await log_in(demo))
    assert stories(await log_in(there)) == before
    assert rows_in(there) == rows_in(demo)

    with streams(there):
        async with bootstrap.platform(there) as platform:
            said = [told_badly(number) for number in range(3)]
            for _ in range(2):  # the second time they are known, and fall away
                answers = await platform.publish(said)
                assert {type(answer) for answer in answers} == {Taken}
        lived = await until(
            there,
            lambda told: (
                len(told.get("customer-7", ())) > 3
                and any(one["type"] == "follow_up.requested" for one in told["customer-7"])
            ),
        )
        assert [one["type"] for one in lived["customer-7"]].count("Survey Answered") == 3
        with pytest.raises(AtWorkError, match=r"-streams: workers of these groups are at work .* Stop them"):
            await restored(there, export)
    decided = [one["id"] for told in lived.values() for one in told if one["source"] == "engage/rules"]
    assert (
        len(decided)
        == len(set(decided))
        > sum(one["source"] == "engage/rules" for told in before.values() for one in told)
    )
    with pytest.raises(NotEmptyError):
        await restored(there, export)

    async with bootstrap.platform(there) as platform:
        await platform.projector.catch_up()
    manifest = await exported(there, tmp_path / "again")
    assert (manifest.log, manifest.stores, manifest.partitions) == ("kafka", "postgresql", PARTITIONS)
    back = new_house(tmp_path / "back", demo)
    done = await restored(back, tmp_path / "again")
    assert (done.partitions, set(done.differences.values())) == (PARTITIONS, {None})
    assert stories(await log_in(back)) == stories(await log_in(there))
    assert rows_in(back) == rows_in(there)
