"""What holds of every command: it can be asked for help, teaches by an example, has JSON, variables and exit codes."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from engage.cli import completing, tree
from engage.cli.examples import EXAMPLES
from engage.cli.main import app
from engage.settings import Settings, load
from tests.cli.given import lines, order

RUNNER = CliRunner()
ROOT = get_command(app)
COMMANDS = {" ".join(path): (path, command) for path, command in tree.commands(ROOT)}
ENDLESS = {"worker intake", "worker projections", "worker desk"}
"""They work until they are told to end, and have no result."""


def run(*arguments: str, **environment: str) -> Result:
    return RUNNER.invoke(app, list(arguments), env=environment, prog_name="engage")


@pytest.fixture(autouse=True)
def one_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tree as it is: typer's runner would make it anew for each command, which takes most of the time."""
    monkeypatch.setattr("typer.testing._get_command", lambda _: ROOT)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house with two orders."""
    folder = tmp_path_factory.mktemp("tree")
    (folder / "events.ndjson").write_text(lines(order(), order(2)))
    assert run("publish", str(folder / "events.ndjson"), ENGAGE_HOME=str(folder / "home")).exit_code == 0
    return folder / "home"


def test_every_command_teaches_by_an_example_that_it_takes():
    assert set(EXAMPLES) == set(COMMANDS), "give it one in engage.cli.examples, then run scripts/render-docs"
    for name, (path, command) in COMMANDS.items():
        words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', EXAMPLES[name])]
        assert tuple(words[: len(path)]) == path
        command.make_context(name, words[len(path) :])  # it says so where it does not fit


def test_help_flows_in_a_terminal_of_any_width():
    for name, (_, command) in COMMANDS.items():
        assert all("\n" not in paragraph for paragraph in command.help.split("\n\n")), name


def test_every_command_that_has_a_result_gives_it_as_json():
    without = {name for name, (_, command) in COMMANDS.items() if "--json" not in str(_flags(command))}
    assert without == ENDLESS


def _flags(command: Any) -> list[str]:
    return [tree.flag(option) for option in tree.options(command)]


def test_no_variable_of_an_option_is_a_setting_or_another_option_s():
    found = [tree.variable(path, option) for path, command in COMMANDS.values() for option in tree.options(command)]
    assert len(found) == len(set(found))
    assert all(tree.APART in name for name in found)
    assert not any(tree.APART in f"ENGAGE_{name.upper()}" for name in Settings.__struct_fields__)
    assert load(dict.fromkeys(found, "1")) == Settings()


def test_an_option_is_taken_from_its_variable_and_the_command_line_goes_first(home: Path):
    asked = {"ENGAGE_HOME": str(home), "ENGAGE_LOG_COUNT__JSON": "1", "ENGAGE_LOG_COUNT__BY": "account"}
    assert json.loads(run("log", "count", **asked).stdout)["by"] == "account"
    both = {**asked, "ENGAGE_LOG_COUNT__TYPE": "Order Completed,rule.activated"}
    assert set(json.loads(run("log", "count", "--by", "type", **both).stdout)["counts"]) == {
        "Order Completed",
        "rule.activated",
    }


def test_a_variable_that_no_option_has_is_refused(home: Path):
    told = run("log", "count", ENGAGE_HOME=str(home), ENGAGE_LOG_COUNT__BYE="type")
    assert told.exit_code == 2
    assert "did you mean ENGAGE_LOG_COUNT__BY?" in told.stderr


def test_a_value_that_does_not_fit_is_told_with_its_variables_as_people_write_them():
    told = run("up", "--port", "99999", COLUMNS="200", TERMINAL_WIDTH="200")
    assert (told.exit_code, "(env var: 'ENGAGE_UP__PORT or ENGAGE_PORT')" in told.stderr) == (2, True), told.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_0_and_an_option_that_is_not_there_2(name: str):
    path, _ = COMMANDS[name]
    told = run(*path, "--help", COLUMNS="200")
    assert (told.exit_code, EXAMPLES[name] in told.stdout) == (0, True)
    assert run(*path, "--no-such-option").exit_code == 2


NOTHING = "no-such-thing"
LEFT_OUT = {"doctor", "sealing-keys rotate"}
"""How it is with this machine decides on the code of one; the other has nothing to refuse, and a test of its own."""
CASES = """
0 status
0 views
0 log tail
0 log find
0 log count
0 follow-ups list
0 api-keys list
0 sealing-keys list
0 projections list
0 snapshots list
0 hooks list
0 webhooks list
0 audit
0 snapshots drop
0 dead-letters list
0 erase customer-17 --check
0 access customer-17
0 account customer-17
0 log show order-1
0 as-of 0h timeline
0 rules list
2 as-of 2126-01-01 timeline
2 as-of 0h portfolio --account customer-17
1 export FOLDER
2 restore FOLDER
1 links read nonsense
1 projections grant analysts
1 projections revoke analysts
2 up --host 203.0.113.1
2 publish no-such-file
2 import csv no-such-file --map no-such-map
2 import cdnow no-such-file
2 what-if
2 as-of soon timeline
2 demo --today someday
2 replay timeline --into x.db --since soon
2 worker intake
2 worker projections
2 worker desk
2 worker streams
2 topics create
2 topics check
2 links make unsubscribe
2 links make withdraw
2 links make survey
2 links make pixel
2 links make click
2 webhooks add nowhere --on x
2 benchmark health no-such-file
2 benchmark win-back no-such-file
2 dead-letters retry
2 dead-letters skip
2 api-keys create shop --scope nothing
3 publish REFUSED
4 account NOTHING
4 views NOTHING
4 as-of 0h NOTHING
4 as-of 0h timeline --account NOTHING
4 replay NOTHING --into x.db
4 replay timeline --into x.db --account NOTHING
4 sealing-keys show NOTHING
4 access NOTHING
4 dead-letters show NOTHING
4 erase NOTHING --yes
4 follow-ups assign 0000abcd --to ada
4 follow-ups snooze 0000abcd --until 2126-01-01
4 follow-ups start 0000abcd
4 follow-ups complete 0000abcd --outcome reached
4 follow-ups dismiss 0000abcd --reason wrong
4 log show NOTHING
4 link NOTHING customer-17
4 unlink NOTHING
4 rules disable NOTHING --reason none
4 rules enable NOTHING
4 rules explain NOTHING
4 api-keys rotate NOTHING
4 api-keys revoke NOTHING
4 projections verify NOTHING
4 projections verify timeline NOTHING
0 projections verify timeline profile
4 projections rebuild NOTHING
4 projections rebuild timeline --account NOTHING
4 projections rollback NOTHING
4 projections pause NOTHING
4 projections resume NOTHING
4 snapshots make NOTHING
4 snapshots drop NOTHING
4 hooks check NOTHING --sample x
4 hooks take NOTHING x --dry-run
4 webhooks show NOTHING
4 webhooks remove NOTHING
4 webhooks enable NOTHING
4 webhooks disable NOTHING
4 webhooks rotate NOTHING
4 webhooks test NOTHING
4 webhooks deliveries NOTHING
"""
"""The code and the command; NOTHING, REFUSED and FOLDER stand for what has that name below."""


@pytest.mark.parametrize("case", CASES.strip().splitlines())
def test_every_command_ends_with_the_code_that_its_outcome_has(case: str, home: Path, tmp_path: Path):
    code, line = int(case[0]), case[2:]
    (tmp_path / "refused.ndjson").write_text(lines(order(3), {"id": "no event"}))
    stands_for = {"NOTHING": NOTHING, "REFUSED": str(tmp_path / "refused.ndjson"), "FOLDER": str(tmp_path)}
    words = [stands_for.get(word, word) for word in line.split()]
    told = run(*words, ENGAGE_HOME=str(home), ENGAGE_ACTOR="ada")
    assert told.exit_code == code, told.output
    assert "Traceback" not in told.output
    if code:
        assert told.stderr.strip(), "it says why"


@pytest.mark.parametrize("line", [case[2:] for case in CASES.strip().splitlines() if case[0] == "0"])
def test_who_only_looks_makes_no_house_where_there_is_none(line: str, tmp_path: Path):
    told = run(*line.split(), ENGAGE_HOME=str(tmp_path / "none"))
    assert told.exit_code in (0, 4), told.output
    assert told.output.strip(), "it says that there is nothing yet"
    assert not (tmp_path / "none").exists()


def test_no_command_is_left_out_of_these():
    tried = {name for name in COMMANDS for case in CASES.strip().splitlines() if f"{case[2:]} ".startswith(f"{name} ")}
    assert COMMANDS.keys() - tried == LEFT_OUT, "give it a line in CASES"


def test_names_are_completed_from_what_the_code_knows():
    assert completing.read_models("account_h") == ["account_health"]
    assert completing.rules("win") == ["win-back"]
    assert completing.event_types("Order C") == ["Order Cancelled", "Order Completed"]
    assert "rules.win-back.at_least=" in completing.settings("rules.win-back.")
    assert completing.settings("health.supp") == ["health.support.weight="]
    asked = {"_ENGAGE_COMPLETE": "complete_bash", "COMP_CWORD": "3"}
    for line, expected in {
        "engage views account_health ban": ["band=", "band_since="],
        "engage views account_health band=a": ["band=at_risk"],
        "engage projections verify loy": ["loyalty"],
        "engage what-if --set rules.win-back.at_l": ["rules.win-back.at_least="],
    }.items():
        assert run(COMP_WORDS=line, **asked).stdout.split() == expected, line


def test_how_a_shell_completes_is_shown():
    shown = subprocess.run(
        [Path(sys.executable).parent / "engage", "--show-completion"],
        env={"SHELL": "/bin/bash", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_ENGAGE_COMPLETE" in shown.stdout


def test_a_terminal_without_colours_gets_none(home: Path):
    told = _on_a_terminal(home, NO_COLOR="1")
    assert "\x1b[1m" in told, "it is a terminal"
    assert not re.search(r"\x1b\[[0-9;]*(?:3|4|9)[0-9]m", told)


def _on_a_terminal(home: Path, **more: str) -> str:
    """What the account's page looks like there."""
    ours, theirs = pty.openpty()
    environment = {"ENGAGE_HOME": str(home), "TERM": "xterm-256color", "PATH": os.environ["PATH"], **more}
    command = [str(Path(sys.executable).parent / "engage"), "account", "customer-17"]
    with subprocess.Popen(command, env=environment, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        told = b""
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            while True:
                try:
                    piece = terminal.read(65_536)
                except OSError:  # Linux says so when the last writer is gone
                    break
                if not piece:
                    break
                told += piece
    assert process.returncode == 0, told
    return told.decode()
