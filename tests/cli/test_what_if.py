"""What would have been different, from the command line."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engage.cli.main import app
from tests.cli.given import lines, order

RUNNER = CliRunner()


def what_if(*arguments: str) -> Result:
    return RUNNER.invoke(app, ["what-if", *arguments])


@pytest.fixture
def kept(home: Path) -> Path:
    """A home with an order of today."""
    file = home.parent / "events.ndjson"
    file.write_text(lines(order(time=(datetime.now(UTC) - timedelta(minutes=1)).isoformat())))
    assert RUNNER.invoke(app, ["publish", str(file)]).exit_code == 0
    return home


def test_the_difference_is_told_and_reported(kept: Path, tmp_path: Path):
    report = tmp_path / "report.html"
    # Nobody is asked any more, at whatever hour this runs.
    changed = ("quiet_hours=null", "holdout=1.0", 'holdout_purposes=["service", "research", "marketing"]')
    asked = [text for each in changed for text in ("--set", f"rules.policy.{each}")]
    told = what_if(*asked, "--set", "health.purchasing.prior=0.1", "--html", str(report), "--json")
    found = json.loads(told.stdout)
    [welcome] = [one for one in found["follow_ups"]["rules"] if one["rule"] == "welcome"]
    assert welcome["differences"] in ({"skipped": 1}, {"another_reason": 1})
    assert found["health"]["moved"] == 1
    assert "<h1>What if" in report.read_text(encoding="utf-8")
    assert "welcome" in what_if(*asked).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing is supposed"),
        (("--set", "rules.nothing.at=3"), "there is no rule 'nothing'"),
        (("--set", "health.purchasing.colour=3"), "cannot be changed"),
        (("--rules", "nowhere.py"), "there is no file nowhere.py"),
        (("--set", "rules.welcome.x=3", "--from", "soon"), "--from 'soon' is no moment"),
        (("--set", "rules.welcome.x=3", "--from", "1d", "--to", "2d"), "--from 1d is not before --to 2d"),
        (("--set", "rules.welcome.x=3", "--html", "/"), "--html /: no file can be written there"),
        (("--set", "rules.welcome.x=3", "--html", "nowhere/x.html"), "no file can be written there"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(kept: Path, arguments: tuple[str, ...], words: str):
    result = what_if(*arguments)
    assert result.exit_code == 2
    [line] = result.stderr.strip().splitlines()
    assert words in line
