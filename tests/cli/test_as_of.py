"""Read models of the past, and of a part of the log, from the command line."""

import csv
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engage.cli.main import app
from tests.cli.given import lines, order

RUNNER = CliRunner()


def run(*arguments: str) -> Result:
    return RUNNER.invoke(app, list(arguments))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with orders of two accounts, all of them of today."""
    folder = tmp_path_factory.mktemp("as-of")
    file = folder / "events.ndjson"
    file.write_text(lines(order(), order(2), order(3, "ع/😀%")))
    told = RUNNER.invoke(app, ["publish", str(file)], env={"ENGAGE_HOME": str(folder / "home")})
    assert told.exit_code == 0
    return folder / "home"


@pytest.fixture(autouse=True)
def at_home(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGAGE_HOME", str(kept))


def test_rows_as_they_stand_now_and_as_they_stood_yesterday():
    now = run("as-of", "0h", "timeline", "type=Order Completed", "sort=event_id", "fields=event_id,account", "--json")
    assert [json.loads(line)["event_id"] for line in now.stdout.splitlines()] == ["order-1", "order-2", "order-3"]
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    assert run("as-of", yesterday, "timeline", "--json").stdout == ""


def test_snapshots_are_made_listed_used_and_dropped(kept: Path):
    made = json.loads(run("snapshots", "make", "account_health", "--json").stdout)
    assert [one["model"] for one in made] == ["account_health"]
    [listed] = json.loads(run("snapshots", "list", "--json").stdout)
    assert listed == made[0]
    asked = ("as-of", "0h", "account_health", "fields=account", "--json")
    assert len(run(*asked).stdout.splitlines()) == 2
    assert "account_health" in run("snapshots", "list").stdout
    assert json.loads(run("snapshots", "drop", "loyalty", "--json").stdout) == {"dropped": 0}
    assert json.loads(run("snapshots", "drop", "--json").stdout)["dropped"] >= 2
    assert not any((kept / "snapshots").iterdir())
    assert "no snapshots" in run("snapshots", "list").stderr


def test_one_account_alone_as_csv_and_for_people():
    asked = ("as-of", "0h", "account_health", "--account", "ع/😀%", "fields=account,band")
    assert list(csv.reader(run(*asked, "--csv").stdout.splitlines())) == [["account", "band"], ["ع/😀%", "at_risk"]]
    assert "ع/😀%" in run(*asked).stdout


def test_a_part_of_the_log_becomes_tables_of_its_own(tmp_path: Path):
    file = tmp_path / "part.db"
    told = run(
        "replay", "timeline", "--into", str(file), "--account", "customer-17", "--type", "Order Completed", "--json"
    )
    assert json.loads(told.stdout)["records"] == 2
    with closing(sqlite3.connect(file)) as made:
        assert made.execute("SELECT DISTINCT account FROM timeline").fetchall() == [("customer-17",)]


def test_a_file_holds_one_part_of_the_log(tmp_path: Path):
    file = str(tmp_path / "part.db")
    assert run("replay", "timeline", "--into", file, "--account", "customer-17").exit_code == 0
    again = run("replay", "loyalty", "--into", file, "--account", "customer-17", "--json")
    assert json.loads(again.stdout)["records"] > 0
    other = run("replay", "timeline", "--into", file, "--account", "ع/😀%")
    assert (other.exit_code, "holds another part of the log" in other.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("as-of", "soon", "timeline"), 2, "TIME 'soon' is no moment"),
        (("as-of", "2126-01-01", "timeline"), 2, "lies ahead"),
        (("as-of", "0h", "nothing"), 4, "there is no read model 'nothing'"),
        (("as-of", "0h", "timelines"), 4, "there is no read model 'timelines': did you mean timeline?"),
        (("as-of", "0h", "timeline", "acount=x"), 2, "no column 'acount': did you mean account?"),
        (("as-of", "0h", "timeline", "sort=-Time"), 2, "did you mean time?"),
        *(
            (("log", verb, "--type", "Order Complete"), 4, "no events of type 'Order Complete' (did you mean 'Order C")
            for verb in ("find", "count", "tail")
        ),
        (
            ("replay", "timeline", "--into", "x.db", "--type", "folow_up.requested"),
            4,
            "no events of type 'folow_up.requested' (did you mean 'follow_up.requested'?)",
        ),
        (("rules", "explain", "customer-17", "--rule", "winback"), 4, "no rule 'winback': did you mean win-back?"),
        (("as-of", "0h", "timeline", "colour=red"), 2, "no column 'colour'"),
        (("as-of", "0h", "timeline", "red"), 2, "COLUMN=VALUE"),
        (("as-of", "0h", "portfolio", "--account", "customer-17"), 2, "adds up what all accounts did"),
        (("replay", "nothing", "--into", "x.db"), 4, "there is no read model 'nothing'"),
        (("replay", "timeline", "--into", "mysql://x/y"), 2, "--into mysql://x/y: no store for 'mysql'"),
        (("replay", "timeline", "--into", "/"), 1, "--into / cannot be used"),
        (("replay", "timeline", "--into", "x.db", "--partition", "99"), 4, "there is no partition 99"),
        (("replay", "timeline", "--into", "x.db", "--since", "1d", "--until", "2d"), 2, "--since 1d is not before"),
        (("snapshots", "make", "nothing"), 4, "there is no read model 'nothing'"),
        (("snapshots", "drop", "nothing"), 4, "there is no read model 'nothing'"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(arguments: tuple[str, ...], code: int, words: str):
    result = run(*arguments)
    assert result.exit_code == code, result.output
    [line] = result.stderr.strip().splitlines()
    assert words in line


def test_engage_s_own_tables_are_not_replayed_into(kept: Path):
    assert "engage's own" in run("replay", "timeline", "--into", str(kept / "views.db")).stderr
