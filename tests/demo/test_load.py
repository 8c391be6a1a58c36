"""A load that was killed ends in exactly what an uninterrupted one gives: every record, every decision, every view."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from random import Random

import msgspec
import pytest

from engage.demo.load import Plan, is_loaded, load
from engage.demo.people import MANAGERS
from tests.demo.given import NOW, PLAN, TODAY, a_platform, counted, told

SOAK = bool(os.environ.get("ENGAGE_SOAK"))
TINY = msgspec.structs.replace(PLAN, scale=0.001)


class Crash(BaseException):
    """The process is gone, as far as what is stored can tell."""


async def finish(home, plan=TINY, *, crash_after=None, relay_only=False, progress=None):
    """Load, or crash before call number ``crash_after`` to whatever stores something; the views when it is through."""
    async with a_platform(home) as (platform, clock):
        if crash_after is not None:
            crash_in(platform, crash_after, relay_only)
        await load(platform, clock, plan, progress)
        assert is_loaded(platform.embedded.log)
        assert await platform.projector.verify(counted) is None
        with platform.store.snapshot(counted) as (_, rows):
            return sorted((row.account, row.events, row.last) for row in rows)


def crash_in(platform, calls, relay_only=False):
    left = calls

    def counts(function):
        def call(*args, **kwargs):
            nonlocal left
            left -= 1
            if left < 0:
                raise Crash
            return function(*args, **kwargs)

        return call

    for part, names in (
        (platform.embedded, ("publish", "tick")),
        (platform.desk, ("step", "do", "expire_due")),
        (platform.relay, ("step", "_advance")),
        (platform.projector, ("catch_up",)),
    ):
        if relay_only and part is not platform.relay:
            continue
        for name in names:
            setattr(part, name, counts(getattr(part, name)))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    home = tmp_path_factory.mktemp("undisturbed")
    views = asyncio.run(finish(home))
    return told(home), views


def test_the_demo_is_loaded_as_it_was_lived(undisturbed):
    log, _ = undisturbed
    kinds = Counter(kind for *_, kind, _ in log)
    assert kinds["follow_up.requested"] > 20
    assert kinds["follow_up.requested"] == kinds["follow_up.opened"] == kinds["follow_up.assigned"]
    assert kinds["follow_up.completed"] > kinds["follow_up.dismissed"] > 0
    assert kinds["follow_up.expired"] > 0
    for _, _, recorded, time, _, kind, data in log:
        assert recorded <= NOW
        assert recorded - time < timedelta(days=2) or kind in ("rule.activated", "clock.ticked")
        assert kind != "follow_up.assigned" or data["assignee"] in MANAGERS


def test_a_second_load_finds_all_done_and_adds_nothing(tmp_path, undisturbed):
    asyncio.run(finish(tmp_path))
    said = []
    views = asyncio.run(finish(tmp_path, progress=lambda done, total: said.append(done)))
    assert said == []
    assert (told(tmp_path), views) == undisturbed


@pytest.mark.parametrize("seed", range(40 if SOAK else 3))
@pytest.mark.parametrize(("crashes", "at_most", "relay_only"), [(8, 2_000, False), (20, 60, True)])
def test_a_load_that_crashes_between_any_two_steps_ends_as_if_it_had_not(
    tmp_path, undisturbed, seed, crashes, at_most, relay_only
):
    random = Random(seed)
    for _ in range(crashes):
        with suppress(Crash):
            asyncio.run(finish(tmp_path, crash_after=random.randrange(3, at_most), relay_only=relay_only))
    views = asyncio.run(finish(tmp_path))
    assert (told(tmp_path), views) == undisturbed


@pytest.mark.fault
def test_a_load_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    expected = asyncio.run(finish(whole, PLAN))
    random = Random(11)
    for _ in range(20 if SOAK else 4):
        process = subprocess.Popen([sys.executable, "-m", "tests.demo.load_worker", broken], stdout=subprocess.PIPE)
        for _ in range(random.randrange(150)):
            if not process.stdout.readline():
                break
        process.send_signal(signal.SIGKILL)
        process.communicate()
    views = asyncio.run(finish(broken, PLAN))
    assert told(broken) == told(whole)
    assert views == expected


def test_a_load_goes_on_with_the_plan_it_began_with(tmp_path):
    async def twice():
        async with a_platform(tmp_path) as (platform, clock):
            crash_in(platform, 100)
            with suppress(Crash):
                await load(platform, clock, TINY)
            assert not is_loaded(platform.embedded.log)
        async with a_platform(tmp_path) as (platform, clock):
            return await load(platform, clock, Plan(TODAY + timedelta(days=1), NOW + timedelta(days=1), 1.0))

    assert asyncio.run(twice()) == TINY


def test_progress_counts_every_event_and_goes_on_where_it_was(tmp_path, undisturbed):
    said = []
    with suppress(Crash):
        asyncio.run(finish(tmp_path, crash_after=1_500, progress=lambda *told: said.append(told)))
    stopped = len(said)
    asyncio.run(finish(tmp_path, progress=lambda *told: said.append(told)))
    assert said[:stopped][-1] <= said[stopped] or stopped == 0
    assert [done for done, _ in said] == sorted(done for done, _ in said)
    assert said[-1][0] == said[-1][1]


def test_the_clock_runs_again_when_the_load_is_over(tmp_path):
    async def loaded():
        async with a_platform(tmp_path) as (platform, clock):
            await load(platform, clock, TINY)
            return clock.stands_at

    assert asyncio.run(loaded()) is None
