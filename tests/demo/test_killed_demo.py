"""`engage demo`, killed at random moments with all its rules and read models: in the end nothing tells that it was."""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from engage.events import codec
from engage.log.sqlite import SqliteLog
from engage.services.projector import Projector
from engage.store.views import ViewStore
from projections import PROJECTIONS

DEMO = [sys.executable, "-m", "engage", "demo", "--once", "--json", "--today", "2026-03-01", "--scale", "0.003"]


def environment(home):
    return {**os.environ, "ENGAGE_HOME": str(home)}


def finished(home):
    done = subprocess.run(DEMO, env=environment(home), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    del told["seconds"]
    return told


def killed(home, after):
    process = subprocess.Popen(DEMO, env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(after)
    process.kill()
    process.wait()


def log_of(home):
    """The whole log, without what is sealed, for a sealed text is never the same twice."""
    with closing(SqliteLog(home / "log.db", read_only=True)) as log:
        return [
            (
                partition,
                record.offset,
                record.recorded,
                event.type,
                event.id,
                event.subject,
                event.time,
                plain(event.data),
            )
            for partition in range(log.partitions)
            for record in log.scan(partition)
            for event in [codec.decode(record.value)]
        ]


def plain(data):
    shape = msgspec.json.decode(data)
    return {name: value for name, value in shape.items() if not str(value).startswith("sealed:")}


def views_of(home):
    """Every row of every read model, which must be the fold of the log as well."""
    with (
        closing(SqliteLog(home / "log.db", read_only=True)) as log,
        closing(ViewStore(f"sqlite:///{home}/views.db")) as store,
    ):
        projector = Projector(log, store, PROJECTIONS)
        assert [asyncio.run(projector.verify(model)) for model in PROJECTIONS] == [None] * len(PROJECTIONS)
        return {model.name: store.select(model) for model in PROJECTIONS}


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a demo that nobody interrupted."""
    home = tmp_path_factory.mktemp("lived")
    finished(home)
    return home


@pytest.mark.fault
def test_a_demo_killed_at_random_moments_ends_as_one_that_was_not(lived, tmp_path, rounds):
    expected = finished(lived), log_of(lived), views_of(lived)
    assert {event[3] for event in expected[1]} >= {"follow_up.requested", "follow_up.skipped", "follow_up.completed"}
    for number in range(rounds):
        chance = random.Random(number)
        home = tmp_path / f"home-{number}"
        home.mkdir()
        for _ in range(3):
            killed(home, chance.uniform(0.5, 3.0))
        assert (finished(home), log_of(home), views_of(home)) == expected, f"seed {number}"
