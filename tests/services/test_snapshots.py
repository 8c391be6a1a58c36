"""Snapshots spare folding and change nothing: a read model of the past is the same with them and without."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engage.events.envelope import Event
from engage.log.contract import Batch
from engage.services.as_of import AheadError, as_of
from engage.services.prefix import ends_at
from engage.services.snapshots import SnapshotGoneError, Snapshots, kind_of
from engage.services.whole_as_of import fold_whole, whole_as_of
from engage.testing.memory_log import MemoryLog
from tests.services.test_as_of import FAMILY, MARCH, NOW, STORY, recorded
from tests.services.town_views import make, regulars, stored, town_log, warmths
from tests.services.town_views import told as story

PLENTY = 1 << 30


class Watched(MemoryLog):
    """A log that counts what is read of it."""

    seen = 0

    async def read(self, partition: int, position: int, limit: int) -> Batch:
        batch = await super().read(partition, position, limit)
        self.seen += len(batch.records)
        return batch


@contextmanager
def kept(most: int = PLENTY, erased: int = 0) -> Iterator[Snapshots]:
    with TemporaryDirectory() as folder:
        yield Snapshots(Path(folder) / "snapshots", most, lambda: erased)


def told(log: MemoryLog, snapshots: Snapshots, day: int, every: int = 3) -> dict[str, Any]:
    """The rows of the whole family on a day of March, by way of snapshots, of which many are left on the way."""

    async def run() -> dict[str, Any]:
        moment = MARCH + timedelta(days=day)
        await fold_whole(log, warmths, await ends_at(log, moment), moment, snapshots, every=every)
        async with whole_as_of(log, warmths, moment, NOW, snapshots) as then:
            return stored(then)

    return asyncio.run(run())


@settings(max_examples=8)
@given(story=STORY, days=st.lists(st.integers(0, 60), min_size=1, max_size=3))
def test_with_snapshots_it_is_what_it_is_without(story: list[Event[Any]], days: list[int]):
    log = MemoryLog(partitions=2)
    log.append(*recorded(story))

    async def folded(day: int) -> dict[str, Any]:
        async with as_of(log, FAMILY, MARCH + timedelta(days=day), NOW) as then:
            return stored(then)

    with kept() as snapshots:
        for day in days:
            assert told(log, snapshots, day) == asyncio.run(folded(day))


def test_what_was_folded_is_not_folded_again():
    log = Watched(partitions=2)
    log.append(*story(0, 60))
    with kept() as snapshots:
        told(log, snapshots, 10)
        log.seen = 0
        first = told(log, snapshots, 10)
        assert log.seen == 0
        later = told(log, snapshots, 11)
        assert 0 < log.seen < 10
        assert first != later


def test_other_versions_logs_and_the_erased_have_snapshots_of_their_own():
    log, another = town_log(), town_log(generation="another")
    _, changed = make(version=2)
    assert len({kind_of(log, warmths), kind_of(another, warmths), kind_of(log, changed), kind_of(log, regulars)}) == 4
    with kept() as snapshots:
        told(log, snapshots, 20)
        assert snapshots.all()
        after = Snapshots(snapshots.folder, PLENTY, lambda: 1)
        assert after.all() == []
        assert not any(snapshots.folder.iterdir())


def test_no_more_is_kept_than_there_is_room_for_and_the_latest_used_stay():
    with kept() as snapshots:
        told(town_log(), snapshots, 20, every=PLENTY)
        size = sum(one.bytes for one in snapshots.all()) // len(snapshots.all())
    with kept(most=5 * size) as snapshots:
        for day in range(10, 20):
            told(town_log(), snapshots, day, every=PLENTY)
        found = snapshots.all()
        assert 2 <= len(found) <= 5
        assert MARCH + timedelta(days=19) in {one.moment for one in found}
        assert len(list(snapshots.folder.glob("*.db"))) == len(found)


def test_what_is_open_can_be_read_though_it_is_dropped():
    log = town_log()
    with kept() as snapshots:
        told(log, snapshots, 20)
        [one] = [one for one in snapshots.all() if one.moment is not None]
        with snapshots.opened(one) as store:
            assert snapshots.drop([warmths.name]) > 1
            assert store.select(regulars)
        with pytest.raises(SnapshotGoneError), snapshots.opened(one):
            pass


def test_what_a_killed_process_left_goes(tmp_path: Path):
    snapshots = Snapshots(tmp_path, PLENTY, lambda: 0)
    left = tmp_path / "work-left"
    left.mkdir()
    (left / "views.db").write_bytes(b"half")
    (tmp_path / "torn.json").write_bytes(b"{")
    with snapshots.workplace():
        assert left.exists(), "it may be in use"
    os.utime(left, (0, 0))
    with snapshots.workplace():
        assert not left.exists()
    assert snapshots.all() == []
    assert not (tmp_path / "torn.json").exists()


async def test_what_lies_ahead_is_refused(tmp_path: Path):
    with pytest.raises(AheadError):
        async with whole_as_of(
            town_log(), warmths, datetime(2027, 1, 1, tzinfo=UTC), NOW, Snapshots(tmp_path, PLENTY, lambda: 0)
        ):
            pass


async def test_what_is_announced_of_the_past_is_not_kept_for_anybody():
    log, moment = town_log(), MARCH + timedelta(days=28)
    with kept() as snapshots:
        await fold_whole(log, warmths, await ends_at(log, moment), moment, snapshots, every=20)
        async with whole_as_of(log, warmths, moment, NOW, snapshots) as then:
            assert stored(then)["regulars"]
            assert then.announcements(1) == []
