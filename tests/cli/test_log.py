"""Looking into the log from the command line: records are listed, counted and shown with what led to them."""

import json
import signal
import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engage.cli.main import app
from tests.cli.given import ENGAGE, engage, lines, order, running

RUNNER = CliRunner()


@pytest.fixture
def kept(home: Path) -> Path:
    """A home that has taken three orders of two accounts."""
    today = datetime.now(UTC).isoformat()
    orders = order(time=today), order(2), order(3, "ع/😀%")
    file = home.parent / "events.ndjson"
    file.write_text(lines(*orders))
    assert RUNNER.invoke(app, ["publish", str(file)]).exit_code == 0
    return home


def log(*arguments: str):
    return RUNNER.invoke(app, ["log", *arguments])


def records(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log(*arguments, "--json").stdout.splitlines()]


def test_records_are_found_by_what_they_are(kept: Path):
    assert [one["id"] for one in records("find", "--type", "Order Completed", "--account", "customer-17")] == [
        "order-1",
        "order-2",
    ]
    assert [one["subject"] for one in records("find", "--account", "ع/😀%", "--type", "Order Completed")] == ["ع/😀%"]
    assert [one["id"] for one in records("find", "--id", "order-2")] == ["order-2"]
    cut = log("find", "--type", "Order Completed", "--limit", "1", "--json")
    assert (len(cut.stdout.splitlines()), "there may be more" in cut.stderr) == (1, True)
    assert records("find", "--type", "Order Completed", "--until", "2026-03-01") == []
    assert len(records("find", "--type", "Order Completed", "--since", "1h")) == 3


def test_people_read_when_where_who_and_what(kept: Path):
    [line] = log("tail", "-n", "1", "--account", "customer-17", "--type", "Order Completed").stdout.splitlines()
    assert "customer-17" in line and "Order order-2 completed: 59.90 EUR" in line


def test_records_are_counted(kept: Path):
    counted = json.loads(log("count", "--type", "Order Completed", "--by", "account", "--json").stdout)
    assert counted == {"by": "account", "counts": {"customer-17": 2, "ع/😀%": 1}, "total": 3}
    assert "Order Completed" in log("count").stdout


def test_a_record_is_shown_with_what_it_led_to(kept: Path):
    decided = "--type", "follow_up.requested", "--type", "follow_up.skipped"  # at night it is put off
    asked = records("find", *decided, "--account", "customer-17")[0]
    shown = json.loads(log("show", "order-1", "--json").stdout)
    assert shown["record"]["data"]["total"] == 59.9
    assert asked["id"] in [one["id"] for one in shown["chain"]["led_to"]]
    page = log("show", "order-1").stdout
    assert asked["type"] in page and "◀" in page
    assert log("show", f"{asked['partition']}:{asked['offset']}").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("find", "--account", "nobody"), 4, "nothing on the log"),
        (("find", "--since", "soon"), 2, "--since 'soon' is no moment"),
        (("count", "--by", "colour"), 2, "type, account, source, day, partition"),
        (("show", "nothing"), 4, "no event on the log has the id"),
        (("show", "0:999999"), 4, "there is no record 0:999999"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(kept: Path, arguments: tuple[str, ...], code: int, words: str):
    result = log(*arguments)
    assert result.exit_code == code
    [line] = result.stderr.strip().splitlines()
    assert words in line


def test_an_id_that_several_have_is_asked_for_by_place(kept: Path):
    file = kept.parent / "more.ndjson"
    file.write_text(lines(order(2, "ع/😀%")))
    assert RUNNER.invoke(app, ["publish", str(file)]).exit_code == 0
    assert "several events have the id" in log("show", "order-2").stderr
    assert log("show", "order-2", "--account", "customer-17").exit_code == 0


def test_what_comes_is_followed_until_it_is_interrupted(kept: Path):
    following = [str(ENGAGE), "log", "tail", "-n", "0", "--follow", "--account", "new", "--json"]
    with running(kept, "up", "--port", "0"), subprocess.Popen(following, stdout=subprocess.PIPE, text=True) as process:
        try:
            told = process.stdout
            assert told is not None
            reading = threading.Thread(target=lambda: seen.append(told.readline()))
            seen: list[str] = []
            reading.start()
            number = 0
            while reading.is_alive():  # it does not say when it has begun to follow
                number += 1
                assert engage("publish", "-", stdin=lines(order(number, "new"))).returncode == 0
                reading.join(0.5)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()
    assert json.loads(seen[0])["subject"] == "new"


def test_an_account_is_shown_as_it_stood(kept: Path):
    def shown(*arguments: str):
        return RUNNER.invoke(app, ["account", "customer-17", *arguments])

    now, then = (json.loads(shown("--json", *more).stdout) for more in ((), ("--as-of", "0h")))
    assert then["account"] == now["account"]
    assert [one["event_id"] for one in then["timeline"]] == [one["event_id"] for one in now["timeline"]]
    assert "at that time" in shown("--as-of", "2026-02-01").stderr
    assert "lies ahead" in shown("--as-of", "2126-02-01").stderr
