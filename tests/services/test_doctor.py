"""The usual faults are found, each with what to do about it."""

import asyncio
import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from typer.testing import CliRunner

from engage import bootstrap
from engage.cli.main import app
from engage.services import doctor
from engage.services.doctor import Finding, Place
from engage.services.owner import Holder
from engage.services.status import PartitionStatus, Status, read_status
from engage.settings import Settings
from engage.store.database import Database
from engage.store.pauses import Paused
from engage.store.reader import Standing
from engage.store.views import ViewStore
from projections import PROJECTIONS
from projections.shared.timeline import timeline

NOW = datetime(2026, 3, 1, tzinfo=UTC)
RUNNER = CliRunner()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which everything is well."""
    folder = tmp_path_factory.mktemp("doctor") / "home"

    async def live() -> None:
        async with bootstrap.platform(Settings(home=str(folder)), clock=lambda: NOW) as platform:
            await platform.settle()

    asyncio.run(live())
    return folder


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoilt."""
    return Path(shutil.copytree(made, tmp_path / "home"))


@pytest.fixture
def status(home: Path) -> Status:
    async def read() -> Status:
        async with bootstrap.readers(Settings(home=str(home))) as (log, store, relationships):
            later = NOW + timedelta(days=1)
            return await read_status(
                log, store, relationships, PROJECTIONS, home=home, owner=Holder(1), next_wake=later
            )

    return asyncio.run(read())


def said(findings: Any) -> list[tuple[str, str]]:
    return [(one.about, one.state) for one in findings]


def view_findings(home: Path, status: Status, **changes: Any) -> list[Finding]:
    """What is found when the timeline's status is changed so."""
    views = [structs.replace(one, **changes) if one.name == "timeline" else one for one in status.views]
    with closing(ViewStore(f"sqlite:///{home}/views.db")) as store:
        changed = structs.replace(status, views=views)
        return list(doctor.of_views(changed, store.standing(), PROJECTIONS, store))


def test_where_all_is_well_it_says_so(home: Path, status: Status):
    room = Place(10 << 30, 20 << 30)
    assert said(doctor.of_folder(home, room)) == [("folder", "well"), ("keys", "well")]
    assert said(doctor.of_clock(status, NOW)) == [("clock", "well")]
    assert said(doctor.of_work(status, NOW, embedded=True)) == []
    assert said(view_findings(home, status)) == [("read models", "well")]


@pytest.mark.parametrize(("free", "state"), [(100 << 20, "fault"), (1 << 30, "warning")])
def test_a_disk_that_is_nearly_full_is_told(home: Path, free: int, state: str):
    assert said(doctor.of_folder(home, Place(free, 20 << 30)))[0] == ("folder", state)


def test_a_key_that_others_may_read_and_one_that_is_gone(home: Path):
    key = home / "master.key"
    key.chmod(0o644)
    [_, found] = doctor.of_folder(home, Place(10 << 30, 20 << 30))
    assert (found.state, found.remedy) == ("fault", f"chmod 600 {key}")
    key.unlink()
    [_, found] = doctor.of_folder(home, Place(10 << 30, 20 << 30))
    assert (found.state, "from the backup" in str(found.remedy)) == ("fault", True)


@pytest.mark.parametrize(("ahead", "state"), [(60, "warning"), (3_600, "fault")])
def test_a_log_from_the_future_is_a_clock_that_is_wrong(status: Status, ahead: int, state: str):
    newest = [PartitionStatus(0, 1, NOW + timedelta(seconds=ahead))]
    assert said(doctor.of_clock(structs.replace(status, log=newest), NOW)) == [("clock", state)]


def test_a_database_with_another_clock_is_told(status: Status):
    [found] = doctor.of_clock(status, NOW, NOW - timedelta(minutes=3))
    assert (found.state, found.words) == ("warning", "the database's clock is 3 min behind this machine's")


def test_work_that_nobody_does_is_told(status: Status):
    idle = structs.replace(
        status, owner=None, next_wake=NOW - timedelta(hours=3), desk_behind=20_000, relay_waiting=20_000, dead_letters=2
    )
    found = doctor.of_work(idle, NOW, embedded=True)
    assert said(found) == [(name, "warning") for name in ("work", "work", "desk", "relay", "dead letters")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"behind": 20_000}, "it is 20,000 records behind the log"),
        ({"parked": 3}, "3 of its rows stand still"),
        ({"paused": Paused(NOW, "ada")}, "ada paused it at 2026-03-01 00:00 UTC"),
    ],
)
def test_a_read_model_that_does_not_keep_up_is_told(home: Path, status: Status, changes: dict[str, Any], words: str):
    [found] = view_findings(home, status, **changes)
    assert (found.about, found.state) == ("read model timeline", "warning")
    assert words in found.words


def test_read_models_of_another_engage_and_those_that_are_not_there(home: Path, status: Status):
    with closing(ViewStore(f"sqlite:///{home}/views.db")) as store:
        standing = store.standing()
        of_another = standing.models | {"timeline": structs.replace(standing.models["timeline"], version=99)}
        changed = Standing(standing.positions, standing.stops, of_another)
        [found] = doctor.of_views(status, changed, PROJECTIONS, store)
        assert found.words == f"it is here in version 99, this engage folds version {timeline.version}"
        empty = list(doctor.of_views(status, Standing({}), PROJECTIONS, store))
    assert len(empty) == len(PROJECTIONS)
    assert said(doctor.of_views(status, None, PROJECTIONS, None)) == [("read models", "warning")]


def test_postgresql_tells_the_time(postgres_url: str):
    with closing(Database(postgres_url, synchronous="normal")) as database:
        told = database.now()
    assert told is not None and abs(told - datetime.now(UTC)) < timedelta(minutes=1)


def test_the_command_tells_all_and_fails_where_there_is_a_fault(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ENGAGE_HOME", str(home))
    well = RUNNER.invoke(app, ["doctor"])
    assert well.exit_code == 0, well.output
    assert "no process runs engage on this folder" in well.stdout and "→ start `engage up`" in well.stdout
    (home / "rules.toml").write_text("[nothing]\n")
    wrong = RUNNER.invoke(app, ["doctor", "--json"])
    assert wrong.exit_code == 1
    assert "there is no rule 'nothing'" in wrong.stdout
    (home / "rules.toml").unlink()
    (home / "master.key").chmod(0o644)
    assert RUNNER.invoke(app, ["doctor"]).exit_code == 1
