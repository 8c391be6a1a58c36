"""The streams worker as its two commands start it, and the check that follows an account through it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from engage.cli.main import app
from tests.cli.given import ENGAGE, PATIENCE, engage

FAUST = str(Path(sys.executable).with_name("faust"))


@pytest.fixture
def log(home: Path, kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of a log of its own on Kafka."""
    monkeypatch.setenv("ENGAGE_LOG", f"kafka://{kafka}")
    monkeypatch.setenv("ENGAGE_TOPICS", f"streams-{uuid4().hex[:8]}")
    monkeypatch.setenv("ENGAGE_PARTITIONS", "2")


@contextmanager
def running(home: Path, *command: str) -> Iterator[None]:
    """A worker that is asked to end when the block does, and must do so cleanly."""
    with (home / "told").open("wb") as told, subprocess.Popen(command, stdout=told, stderr=told) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
        assert process.returncode == 0, (home / "told").read_text()


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize(
    "command", [(ENGAGE, "worker", "streams"), (FAUST, "-A", "streams.worker", "worker")], ids=["engage", "faust"]
)
def test_an_account_goes_through_the_worker(home: Path, command: tuple[str, ...]):
    assert engage("topics", "create").returncode == 0
    with running(home, *command):
        checked = engage("worker", "streams", "--check", "--json")
        assert checked.returncode == 0, checked.stderr
        told = json.loads(checked.stdout)
        assert told["account"].startswith("engage-check-")
        assert 0 < told["event_on_log"] <= told["decision_in_inbox"] <= told["decision_on_log"]
    assert_told_without_read_models(home)


def assert_told_without_read_models(home: Path) -> None:
    """Where nothing but this worker ever ran operators are told what there is, and what cannot be known here."""
    page = asked("status")
    assert "on Kafka" in page and "read models       not known here: there is no views.db" in page
    assert "desk and relay    not known here" in page and "next wake         not known here" in page
    assert json.loads(asked("status", "--json"))["missing"] == ["views", "relationships"]
    findings = {one["about"]: one for one in json.loads(asked("doctor", "--json"))["findings"]}
    assert {name: findings[name]["state"] for name in ("log", "desk", "read models")} == {
        "log": "well",
        "desk": "warning",
        "read models": "warning",
    }
    assert "ENGAGE_VIEWS as it is for `engage worker projections`" in findings["read models"]["remedy"]
    assert "every consumer goes on" in asked("dead-letters", "list")
    assert not list(home.glob("views.db")) and not list(home.glob("relationships.db")), "asking made nothing"


def asked(*words: str) -> str:
    """Standard output of a command that ends well."""
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.usefixtures("log", "home")
def test_without_a_worker_the_check_says_where_it_stopped():
    engage("topics", "create")
    checked = engage("worker", "streams", "--check", "--seconds", "2")
    assert checked.returncode == 1
    assert "see that intake runs" in checked.stderr


@pytest.mark.usefixtures("log", "home")
def test_without_topics_the_worker_says_how_to_make_them():
    refused = engage("worker", "streams")
    assert refused.returncode == 1
    assert "engage topics create" in refused.stderr
    assert "Traceback" not in refused.stderr
