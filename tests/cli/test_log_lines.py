"""What a process says of itself: JSON where a program reads it, and nothing that tells of a person."""

from __future__ import annotations

import errno
import json
import os
import pty
import subprocess
from pathlib import Path

import httpx
import pytest
import structlog
import typer
from typer.testing import CliRunner

from engage import bootstrap
from engage.cli.errors import errors_told
from engage.cli.main import app
from engage.settings import SettingsError
from tests.cli.given import ENGAGE, order, running

PERSON = "Ada Lovelace-Secret"
MAIL = "ada@lovelace.example"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_no_line_of_a_run_tells_of_a_person(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ENGAGE_LOG_LEVEL", "debug")
    identified = {"name": PERSON, "email": MAIL}
    with running(home, "up", "--port", "0") as (process, url), httpx.Client(base_url=url) as http:
        events = [
            order(1, type="Account Identified", data=identified),
            order(2, type="Account Identified", data=identified | {"country": PERSON}),
            order(3, type=f"Unknown Of {PERSON}", data=identified),
            order(4, subject=MAIL),
            order(5, actor=MAIL),
        ]
        told = http.post("/v1/events", json=events).json()
        assert (told["taken"], told["refused"]) == (2, 3)
        for way in (f"/v1/accounts/{MAIL}", f"/v1/follow-ups?account={MAIL}", f"/{PERSON}", f"/livez?{MAIL}"):
            http.get(way, headers={"x-request-id": MAIL, "user-agent": PERSON, "authorization": f"Bearer {PERSON}"})
        http.post("/v1/events", content=f"not JSON, says {PERSON}", headers={"content-type": "application/json"})
        http.get("/livez", headers={"x-request-id": "asked-1", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
        process.terminate()
        _, said = process.communicate()
    for secret in (PERSON, PERSON.split()[0], MAIL, "lovelace"):
        assert secret not in said
    found = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    access = [line for line in found if line["level"] == "access"]
    assert {line["route"] for line in access} >= {"/v1/events", "/v1/accounts/{account:path}", "/livez", "none"}
    [asked] = [line for line in access if line["request_id"] == "asked-1"]
    assert asked["trace_id"] == TRACE
    assert asked.keys() == {"event", "level", "method", "route", "status", "ms", "request_id", "trace_id", "timestamp"}


def test_on_a_terminal_a_line_is_for_people(home: Path):
    reader, terminal = pty.openpty()
    program = "import structlog; from engage.cli.log_lines import log_to_stderr; from engage.settings import Settings\n"
    program += "log_to_stderr(Settings()); structlog.get_logger().warning('it fails', part='desk', number=7)"
    subprocess.run([ENGAGE.parent / "python", "-c", program], stderr=terminal, check=True, timeout=60)
    os.close(terminal)
    said = os.read(reader, 10_000).decode()
    os.close(reader)
    assert "it fails" in said
    assert "\x1b[" in said
    assert "number" in said
    assert not said.startswith("{")


def test_standard_output_holds_data_alone_whatever_is_logged(capsys: pytest.CaptureFixture[str]):
    CliRunner().invoke(app, ["snapshots", "list"])
    structlog.get_logger().info("account erased")
    structlog.get_logger().warning("it fails")
    told = capsys.readouterr()
    assert (told.out, "it fails" in told.err, "account erased" in told.err) == ("", True, False)


def test_a_room_that_is_full_is_said_to_be_full(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(typer.Exit), errors_told():
        raise OSError(errno.ENOSPC, "No space left on device", "/backup/x")
    assert capsys.readouterr().err == (
        "engage: /backup/x: No space left on device: make room there, then give the same command again\n"
    )


def test_a_level_that_nobody_knows_is_refused():
    with pytest.raises(SettingsError, match="ENGAGE_LOG_LEVEL is 'loud'"):
        bootstrap.settings({"ENGAGE_LOG_LEVEL": "loud"})
