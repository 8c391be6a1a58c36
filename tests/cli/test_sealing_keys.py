"""The master key from the command line: what it says, and what it refuses."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engage.cli.main import app
from tests.cli.given import lines, order

RUNNER = CliRunner()


def run(*arguments: str) -> Result:
    return RUNNER.invoke(app, ["sealing-keys", *arguments])


@pytest.fixture
def kept(home: Path) -> Path:
    file = home.parent / "events.ndjson"
    file.write_text(lines(order(type="Account Identified", data={"kind": "customer", "name": "Ada"})))
    assert RUNNER.invoke(app, ["publish", str(file)]).exit_code == 0
    return home


def test_what_was_prepared_is_rotated_to_and_the_trail_says_who_did_it(kept: Path):
    prepared = json.loads(run("rotate", "--prepare", "--json").stdout)["prepared"]
    assert "`engage sealing-keys rotate` goes on" in run("list").stderr
    done = run("rotate", "--actor", "ada")
    assert f"master key 2 ({prepared['name']}) wraps every key" in done.stdout
    assert "back up" in done.stderr
    [only] = json.loads(run("list", "--json").stdout)["masters"]
    assert (only["generation"], only["keys"], only["wraps_new"]) == (2, 1, True)
    assert json.loads(run("show", "customer-17", "--json").stdout)["keys"] == [
        {"generation": 1, "master": 2, "exists": True}
    ]
    assert "sealing-keys rotate" in RUNNER.invoke(app, ["audit"]).stdout
    assert '"Ada"' in RUNNER.invoke(app, ["access", "customer-17"]).stdout


def test_what_is_not_there_is_said_to_be_missing(home: Path):
    for command in (("list",), ("rotate",), ("show", "customer-17")):
        result = run(*command)
        assert (result.exit_code, "nothing was ever sealed" in result.stderr) == (4, True), result.output


def test_an_account_without_a_key_is_not_found(kept: Path):
    result = run("show", "nobody")
    assert (result.exit_code, "nobody has no key" in result.stderr) == (4, True)


@pytest.mark.postgres
def test_keys_that_other_machines_use_are_rotated_only_once_they_can_know_the_new_one(
    home: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ENGAGE_VIEWS", postgres_url)
    refused = run("rotate")
    assert (refused.exit_code, "--prepare" in refused.stderr) == (2, True), refused.output
    assert run("rotate", "--prepare").exit_code == 0
    assert run("rotate").exit_code == 0
