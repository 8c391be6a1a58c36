"""Linking from the command line, also through the process that owns the folder, and what it refuses in a line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engage.cli.identities import _must_be_answered
from engage.cli.main import app
from engage.cli.output import FAILED, CommandFailedError
from engage.services.linking import Linked, Unlinked
from tests.cli.given import engage, lines, order, running

RUNNER = CliRunner()
VISITOR, ACCOUNT = "anonymous:7f3c", "customer-17"


def run(*arguments: str) -> Result:
    return RUNNER.invoke(app, list(arguments))


@pytest.fixture
def kept(home: Path) -> Path:
    file = home.parent / "events.ndjson"
    file.write_text(lines(order(1, VISITOR), order(2, ACCOUNT)))
    assert run("publish", str(file)).exit_code == 0
    return home


def test_a_visitor_is_linked_and_parted_by_the_owner_of_the_folder(kept: Path):
    with running(kept, "up", "--port", "0"):
        done = engage("link", VISITOR, ACCOUNT, "--json")
        assert (done.returncode, json.loads(done.stdout)["linked"]["changed"]) == (0, True), done.stderr
        again = engage("link", VISITOR, ACCOUNT)
        assert again.stdout == f"{VISITOR} was already linked to {ACCOUNT}\n"
        ring = engage("link", ACCOUNT, VISITOR)
        assert (ring.returncode, "both would belong to nobody" in ring.stderr) == (1, True), ring.stderr
        parted = engage("unlink", VISITOR, "--json", "--actor", "ada")
        assert json.loads(parted.stdout) == {"unlinked": {"visitor": VISITOR, "account": ACCOUNT}}
        nothing = engage("unlink", VISITOR)
        assert (nothing.returncode, "linked to no account" in nothing.stderr) == (4, True), nothing.stderr
    [said] = engage("log", "find", "--type", "identity.unlinked", "--json").stdout.splitlines()
    assert json.loads(said)["actor"] == "ada", "the owner is told who asks"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("link", VISITOR, "nobody"), 4, "there is no account 'nobody'"),
        (("link", VISITOR, VISITOR), 1, "cannot be linked to itself"),
        (("unlink", VISITOR), 4, "is linked to no account"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(kept: Path, arguments: tuple[str, ...], code: int, words: str):
    result = run(*arguments)
    assert (result.exit_code, words in result.stderr.strip().splitlines()[-1]) == (code, True), result.output


def test_what_is_asked_for_and_not_answered_yet_is_no_success_and_says_where_to_look():
    _must_be_answered(Linked(VISITOR, ACCOUNT, ACCOUNT, changed=True))
    for done in (Linked(VISITOR, ACCOUNT, ACCOUNT, changed=True, pending="3:9"), Unlinked(VISITOR, ACCOUNT, "3:9")):
        with pytest.raises(CommandFailedError, match=f"engage views identities visitor={VISITOR}") as told:
            _must_be_answered(done)
        assert told.value.code == FAILED
