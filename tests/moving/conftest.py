"""The house that moves in these tests: a small demo, loaded once a session, copied for each test that changes it."""

import asyncio
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engage.cli.main import app
from engage.settings import Settings
from tests.moving.given import exported

DEMO = ("demo", "--once", "--json", "--today", "2026-03-01", "--scale", "0.003")


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings of a house with the demo in it, that nobody changes."""
    folder = tmp_path_factory.mktemp("moving") / "demo"
    loaded = CliRunner().invoke(app, list(DEMO), env={"ENGAGE_HOME": str(folder)})
    assert loaded.exit_code == 0, loaded.output
    return Settings(home=str(folder))


@pytest.fixture(scope="session")
def export(demo: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of the demo that nobody changes."""
    folder = tmp_path_factory.mktemp("exported") / "export"
    asyncio.run(exported(demo, folder))
    return folder


@pytest.fixture
def old(demo: Settings, tmp_path: Path) -> Settings:
    """The settings of a house of this test's own, with the demo in it."""
    shutil.copytree(demo.home, tmp_path / "old")
    return Settings(home=str(tmp_path / "old"))
