"""``engage benchmark`` shows tables to people and JSON to programs, and names a line that cannot be read."""

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engage.cli.main import app
from engage.services import health_learners

CDNOW = Path(__file__).parents[2] / "examples" / "cdnow" / "cdnow_master.txt.gz"
RUNNER = CliRunner()


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The purchases of every tenth of CDNOW's customers."""
    file = tmp_path_factory.mktemp("cdnow") / "some.txt"
    with gzip.open(CDNOW, "rt") as lines:
        file.write_text("".join(line for line in lines if line.split()[0].endswith("0")))
    return str(file)


def test_health_shows_how_to_read_a_score_as_a_chance(some: str) -> None:
    shown = RUNNER.invoke(app, ["benchmark", "health", some])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("Read as the chance of that: a score of 10 as") == 2
    assert "score from" in shown.stdout
    assert ("engage-platform[benchmark]" in shown.stdout) != health_learners.are_there()


def test_win_back_shows_what_came_of_the_calls(some: str) -> None:
    shown = RUNNER.invoke(app, ["benchmark", "win-back", some])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("win-back, as shipped") == 2
    told = json.loads(RUNNER.invoke(app, ["benchmark", "win-back", some, "--json"]).stdout)
    assert told["purchases"] == len(Path(some).read_text().splitlines())
    ways = told["periods"][0]["ways"]
    assert ways["win-back, as shipped"]["calls"] == ways["60 days, as many calls on the same days"]["calls"] > 0


def test_win_back_names_a_line_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "purchases.txt").write_text("00001 19970101 1 11.77\n00001 someday 1 11.77\n")
    refused = RUNNER.invoke(app, ["benchmark", "win-back", str(tmp_path / "purchases.txt")])
    assert refused.exit_code == 1
    assert "line 2" in refused.stderr
