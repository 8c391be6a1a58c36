"""An export is whole or says that it is not; it is what was kept, and what was altered in it is found."""

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from engage import bootstrap
from engage.cli.export import _left_out
from engage.cli.main import app
from engage.services import plaintext
from engage.services.moving.files import DamagedError, lines
from engage.services.moving.manifest import (
    JOURNAL,
    NAME,
    ExportedView,
    NotEmptyError,
    UnfinishedError,
    read_manifest,
)
from engage.services.views import Views
from engage.settings import Settings
from tests.cli.given import lines as json_lines
from tests.cli.given import order
from tests.moving.given import exported, faults, log_in, log_of, settled

RUNNER = CliRunner()


async def test_an_export_is_the_log_record_by_record_and_the_rows_that_readers_see(old: Settings, tmp_path: Path):
    folder = tmp_path / "export"
    manifest = await exported(old, folder, parquet=True)
    assert manifest == read_manifest(folder)
    assert not faults(folder, manifest)
    assert log_of(folder, manifest) == await log_in(old)
    assert len(manifest.segments(0)) > 1
    with bootstrap.reading_views(old) as store:
        views = Views(store, bootstrap.read_models(old))
        for view in manifest.views:
            assert (view.left_out, set(view.positions)) == ("", set(range(4)))
            assert all(view.positions[cut.partition] <= cut.end for cut in manifest.cuts)
            with views.table(view.name, []) as (names, rows):
                stored = {values[0]: values for values in rows}
            told = [json.loads(line) for line in lines(folder / f"views/{view.name}.ndjson.zst")]
            assert len(told) == view.rows == len(stored)
            table = parquet.read_table(folder / f"views/{view.name}.parquet")
            assert table.num_rows == view.rows
            assert table.column_names == [*names] == list(told[0] if told else names)


async def test_parquet_has_the_types_of_the_columns_and_the_values_of_the_rows(old: Settings, tmp_path: Path):
    await exported(old, tmp_path / "export", parquet=True)
    table = parquet.read_table(tmp_path / "export/views/account_health.parquet")
    kinds = {field.name: str(field.type) for field in table.schema}
    assert (kinds["account"], kinds["score"], kinds["as_of"]) == ("string", "double", "timestamp[us, tz=UTC]")
    told = [json.loads(line) for line in lines(tmp_path / "export/views/account_health.ndjson.zst")]
    for row, line in zip(table.to_pylist(), told, strict=True):
        assert (row["account"], row["score"], row["band"]) == (line["account"], line["score"], line["band"])
        assert row["as_of"] == datetime.fromisoformat(line["as_of"])


@pytest.mark.parametrize("damage", ["flipped", "cut short", "gone", "a row less"])
def test_whatever_was_altered_is_found(export: Path, tmp_path: Path, damage: str):
    folder = tmp_path / "export"
    shutil.copytree(export, folder)
    manifest = read_manifest(folder)
    chance = random.Random(7)
    file = chance.choice([one for one in manifest.files if one.bytes > 100])
    path = folder / file.path
    told = bytearray(path.read_bytes())
    if damage == "flipped":
        told[chance.randrange(len(told))] ^= 1 << chance.randrange(8)
        path.write_bytes(told)
    elif damage == "cut short":
        path.write_bytes(told[:-1])
    elif damage == "gone":
        path.unlink()
    else:
        whole = json.loads((folder / NAME).read_bytes())
        next(one for one in whole["files"] if one["path"] == file.path)["rows"] -= 1
        (folder / NAME).write_text(json.dumps(whole))
    found = faults(folder, read_manifest(folder))
    assert file.path in [place for place, _ in found]
    checked = RUNNER.invoke(app, ["export", "--check", str(folder)])
    assert checked.exit_code == 1
    assert file.path in checked.stdout


class StruckError(Exception):
    pass


async def test_cut_off_at_any_step_it_goes_on_and_is_what_it_would_have_been(old: Settings, tmp_path: Path):
    whole = await exported(old, tmp_path / "whole")
    folder, left = tmp_path / "struck", 0

    def strike(what: str, done: int, total: int, rate: float) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise StruckError

    for steps in (5, 20, 31, 1, 2, 3):
        left = steps
        with pytest.raises(StruckError):
            await exported(old, folder, strike)
        with pytest.raises(UnfinishedError, match="goes on with it"):
            read_manifest(folder)
        # What a crash in the midst of writing leaves behind.
        with (folder / JOURNAL).open("ab") as file:
            file.write(b'{"type":"done","part":"log:0:')
        (folder / "log/0000").mkdir(parents=True, exist_ok=True)
        (folder / "log/0000/000000.ndjson.zst.part").write_bytes(b"half")
    manifest = await exported(old, folder, strike)
    assert not faults(folder, manifest)
    assert log_of(folder, manifest) == log_of(tmp_path / "whole", whole)
    assert [(one.path, one.sha256) for one in manifest.files] == [(one.path, one.sha256) for one in whole.files]
    assert sorted(path.name for path in folder.iterdir()) == ["log", NAME, "stores", "views"]


@pytest.mark.fault
def test_killed_at_random_moments_it_goes_on(old: Settings, tmp_path: Path, rounds: int):
    folder = tmp_path / "export"
    command = [sys.executable, "-m", "engage", "export", "--no-parquet", str(folder)]
    environment = os.environ | {"ENGAGE_HOME": old.home}
    began = time.monotonic()
    subprocess.run([*command[:-1], str(tmp_path / "first")], env=environment, check=True, capture_output=True)
    usual, chance = time.monotonic() - began, random.Random(13)
    for _ in range(rounds):
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                process.wait(usual * chance.uniform(0.3, 1))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
    manifest = read_manifest(folder) if (folder / NAME).exists() else asyncio.run(exported(old, folder))
    assert not faults(folder, manifest)
    assert log_of(folder, manifest) == asyncio.run(log_in(old))


async def test_written_while_events_come_it_ends_where_the_log_was_cut(old: Settings, tmp_path: Path):
    now = datetime(2026, 3, 2, 12, tzinfo=UTC)
    published = 0

    async def publish(platform, stop: asyncio.Event) -> None:
        nonlocal published
        while not stop.is_set():
            one = order(published, f"customer-{published % 50}", time="2026-03-02T11:00:00Z")
            await platform.publish([json.dumps(one).encode()])
            await platform.work(now)
            await platform.project()
            published += 1

    async with bootstrap.platform(old, clock=lambda: now) as platform:
        stop = asyncio.Event()
        publishing = asyncio.create_task(publish(platform, stop))
        manifest = await asyncio.to_thread(lambda: asyncio.run(exported(old, tmp_path / "export")))
        stop.set()
        await publishing
    assert published > 3
    assert not faults(tmp_path / "export", manifest)
    log = await log_in(old)
    ends = {cut.partition: cut.end for cut in manifest.cuts}
    assert sum(ends.values()) < sum(map(len, log.values()))
    exported_log = log_of(tmp_path / "export", manifest)
    assert exported_log == {one: records[: ends[one]] for one, records in log.items()}
    assert all(view.positions[one] <= end for view in manifest.views for one, end in ends.items())
    # Whatever follow-up is there was asked for in the log that goes with it.
    asked = {json.loads(value)["id"] for records in exported_log.values() for _, value in records}
    told = [json.loads(line) for line in lines(tmp_path / "export/stores/relationships.events.ndjson.zst")]
    assert {one["id"] for one in told} <= asked


def test_a_folder_that_is_taken_is_refused_with_what_to_do(old: Settings, tmp_path: Path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("mine")
    with pytest.raises(NotEmptyError, match="no export: name another folder"):
        asyncio.run(exported(old, tmp_path / "other"))
    asyncio.run(exported(old, tmp_path / "export"))
    with pytest.raises(NotEmptyError, match="holds a whole export of 2026-03-02"):
        asyncio.run(exported(old, tmp_path / "export"))
    within = RUNNER.invoke(app, ["export", f"{old.home}/export"], env={"ENGAGE_HOME": old.home})
    assert (within.exit_code, "name a folder elsewhere" in within.stderr) == (2, True)
    nothing = RUNNER.invoke(app, ["export", "--check", str(tmp_path / "nothing")])
    assert (nothing.exit_code, "holds no export" in nothing.stderr) == (2, True)


async def test_what_one_log_began_another_does_not_go_on_with(old: Settings, tmp_path: Path):
    def strike(what: str, done: int, total: int, rate: float) -> None:
        if what == "log":
            raise StruckError

    with pytest.raises(StruckError):
        await exported(old, tmp_path / "export", strike)
    with pytest.raises(NotEmptyError, match="with other contents: give the flags"):
        await exported(old, tmp_path / "export", master_key=True)
    another = Settings(home=str(tmp_path / "another"))
    async with bootstrap.platform(another):
        pass
    with pytest.raises(NotEmptyError, match="of another log"):
        await exported(another, tmp_path / "export")


def test_the_master_key_goes_along_only_when_it_is_asked_for(old: Settings, tmp_path: Path):
    without = asyncio.run(exported(old, tmp_path / "without"))
    assert not list((tmp_path / "without").rglob("master.key"))
    assert not without.master_key
    asyncio.run(exported(old, tmp_path / "within", master_key=True))
    key = tmp_path / "within/master.key"
    assert key.read_bytes() == (Path(old.home) / "master.key").read_bytes()
    assert key.stat().st_mode & 0o077 == 0
    assert (
        "master key is not in it"
        in RUNNER.invoke(app, ["export", "--no-parquet", str(tmp_path / "third")], env={"ENGAGE_HOME": old.home}).stderr
    )


def test_plain_words_are_found_in_an_export_however_it_is_packed(old: Settings, tmp_path: Path):
    name = "Ada Lövelace"
    (tmp_path / "events.ndjson").write_text(
        json_lines(order(subject="customer-18", type="Account Identified", data={"kind": "customer", "name": name}))
    )
    env = {"ENGAGE_HOME": old.home}
    assert RUNNER.invoke(app, ["publish", str(tmp_path / "events.ndjson")], env=env).exit_code == 0
    asyncio.run(settled(old))
    asyncio.run(exported(old, tmp_path / "export", parquet=True))
    found = plaintext.in_files([tmp_path / "export"], ["customer-18", name])
    places = {Path(one.place).relative_to(tmp_path / "export").as_posix() for one in found}
    assert {one.text for one in found} == {0}
    assert {"views/profile.parquet", "stores/keys.account_keys.ndjson.zst"} <= places
    assert any(place.startswith("log/") for place in places)
    broken = tmp_path / "export/broken.ndjson.zst"
    broken.write_bytes((tmp_path / "export/stores/keys.account_keys.ndjson.zst").read_bytes()[:-9])
    with pytest.raises(plaintext.UnsearchableError, match="cannot be unpacked"):
        plaintext.in_files([broken], [name])


def test_nothing_but_zstd_is_unpacked(tmp_path: Path):
    (tmp_path / "one.ndjson.zst").write_bytes(b"no frame")
    with pytest.raises(DamagedError, match="take another copy"):
        list(lines(tmp_path / "one.ndjson.zst"))


def test_read_models_that_nobody_has_folded_are_told_of_in_a_line():
    few = [ExportedView(name=name, version=1, left_out=f"there is no view {name!r} yet") for name in ("a", "b")]
    assert _left_out([*few, ExportedView(name="folded", version=1)]) == [
        "without rows of a: there is no view 'a' yet",
        "without rows of b: there is no view 'b' yet",
    ]
    [line] = _left_out(few * 15)
    assert line.startswith("without rows of 30 read models (a, b, a, …): there is no view 'a' yet")
