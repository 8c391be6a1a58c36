"""A person's rights from the command line, also through the process that owns the folder."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engage.cli.main import app
from tests.cli.given import engage, lines, order, running

RUNNER = CliRunner()
NAME = "Ada Lovelace-Byron"


def run(*arguments: str) -> Result:
    return RUNNER.invoke(app, list(arguments))


@pytest.fixture
def kept(home: Path) -> Path:
    file = home.parent / "events.ndjson"
    file.write_text(lines(order(type="Account Identified", data={"kind": "customer", "name": NAME})))
    assert run("publish", str(file)).exit_code == 0
    return home


def test_a_person_is_erased_by_the_owner_and_it_is_proven(kept: Path, tmp_path: Path):
    assert json.loads(run("access", "customer-17").stdout)["events"][0]["data"]["name"] == NAME
    export = tmp_path / "export.csv"
    export.write_text(f"customer-17,{NAME}\n")
    with running(kept, "up", "--port", "0"):
        done = engage("erase", "customer-17", "--yes", "--in", str(export), "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["erased"]["generation"]) == (1, 1), done.stderr
    assert [one["place"] for one in told["found"]] == [str(export)]
    assert NAME not in run("access", "customer-17").stdout
    assert "nothing to look for" in run("erase", "customer-17", "--check").stdout


def test_snapshots_of_the_past_are_looked_into_and_go_with_the_person(kept: Path):
    assert run("snapshots", "make", "profile").exit_code == 0
    assert run("as-of", "0h", "account_health").exit_code == 0
    folder = kept / "snapshots"
    assert "none of 1 personal texts" in run("erase", "customer-17", "--check").stdout
    (folder / "spoiled.db").write_text(f"as no read model is: {NAME}")
    spoiled = run("erase", "customer-17", "--check")
    assert spoiled.exit_code == 1 and str(folder / "spoiled.db") in spoiled.stdout
    assert "none of 1 personal texts" in run("erase", "customer-17", "--yes").stdout
    assert not any(folder.iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("access", "nobody"), 4, "there is no account 'nobody'"),
        (("erase", "nobody", "--yes"), 4, "there is no account 'nobody'"),
        (("erase", "customer-17", "--in", "nowhere", "--yes"), 2, "there is nothing of that name"),
        (("erase", "customer-17"), 2, "say --yes"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(kept: Path, arguments: tuple[str, ...], code: int, words: str):
    result = run(*arguments)
    assert result.exit_code == code
    assert words in result.stderr.strip().splitlines()[-1]
