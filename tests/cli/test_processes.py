"""The command line as processes: what it says, how it exits, and how one goes through another."""

import fcntl
import gzip
import json
import signal
import socket
import sqlite3
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest

from engage.services.owner import find_owner
from tests.cli.given import ENGAGE, PATIENCE, engage, lines, order, running

HEAVY = ("sqlalchemy", "aiokafka", "eventsourcing", "fastapi", "uvicorn", "httpx", "structlog", "engage.bootstrap")


def test_help_loads_nothing_heavy():
    code = f"import sys, engage.cli.main; print([name for name in {HEAVY} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "[]"


def test_good_lines_are_taken_beside_bad_ones_which_are_named(home: Path, tmp_path: Path):
    without_subject = {name: value for name, value in order(3).items() if name != "subject"}
    content = lines(order(1), "not json", order(2), without_subject, order(4, time="30000-01-01T00:00:00Z"), order(1))
    (tmp_path / "events.ndjson").write_text(content)
    told = engage("publish", str(tmp_path / "events.ndjson"), "--json")
    assert told.returncode == 3, told.stderr
    summary = json.loads(told.stdout)
    assert (summary["taken"], summary["duplicates"], summary["refused"]) == (2, 1, 3)
    assert {fault["line"] for fault in summary["faults"]} == {2, 4, 5}
    for said in ("line 2: not json", "line 4: /subject", "line 5: /time"):
        assert said in told.stderr.lower()
    assert "Traceback" not in told.stderr


def test_what_is_published_can_be_read(home: Path):
    assert engage("publish", "-", stdin=lines(order(), order(2))).returncode == 0
    told = engage("account", "customer-17", "--json")
    found = json.loads(told.stdout)
    assert {event["event_id"] for event in found["health"]["components"][0]["events"]} == {"order-1", "order-2"}
    theirs = [entry["event_id"] for entry in found["timeline"] if entry["source"] == "urn:shop"]
    assert theirs == ["order-2", "order-1"]


def wait_until(process: subprocess.Popen[bytes], what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_one_interrupt_ends_a_publish_that_waits_for_its_input_and_keeps_what_came(home: Path):
    with subprocess.Popen(
        [ENGAGE, "publish", "-", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.write(lines(order(), order(2)).encode())
        process.stdin.flush()
        pipe = process.stdin.fileno()

        def read_by_it() -> bool:
            waiting = bytearray(4)
            fcntl.ioctl(pipe, termios.FIONREAD, waiting)
            return find_owner(home) is not None and int.from_bytes(waiting, sys.byteorder) == 0

        wait_until(process, "it does not read", read_by_it)
        process.send_signal(signal.SIGINT)
        told, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert b"Traceback" not in said
    assert b"interrupted" in said
    assert json.loads(told)["taken"] == 2
    assert b"behind" in said


def test_an_interrupt_ends_a_long_import_and_the_same_command_finishes_it(home: Path, tmp_path: Path):
    file = tmp_path / "events.ndjson"
    file.write_text(lines(*[order(number, f"c-{number}") for number in range(30_000)]))
    with subprocess.Popen(
        [ENGAGE, "publish", str(file), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:

        def begun() -> bool:
            if not (home / "log.db").exists():
                return False
            with suppress(sqlite3.Error), closing(sqlite3.connect(home / "log.db")) as log:
                return bool(log.execute("SELECT COUNT(*) FROM (SELECT 1 FROM log LIMIT 1)").fetchone()[0])
            return False

        wait_until(process, "it takes nothing", begun)
        process.send_signal(signal.SIGINT)
        told, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    taken = json.loads(told)["taken"]
    assert 0 < taken < 30_000
    again = json.loads(engage("publish", str(file), "--json").stdout)
    assert (again["duplicates"], again["taken"]) == (taken, 30_000 - taken)


def test_a_gzip_file_that_breaks_off_gives_what_it_has_and_is_finished_by_the_whole_one(home: Path, tmp_path: Path):
    whole = gzip.compress(lines(*[order(number, f"c-{number * 7919}") for number in range(3_000)]).encode())
    broken, complete = tmp_path / "broken.gz", tmp_path / "complete.gz"
    broken.write_bytes(whole[: len(whole) // 2])
    complete.write_bytes(whole)
    first = engage("publish", str(broken), "--json")
    assert first.returncode == 3
    assert "gzip breaks off after line" in next(said for said in first.stderr.splitlines() if "broken, line" in said)
    taken = json.loads(first.stdout)["taken"]
    second = engage("publish", str(complete), "--json")
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["taken"] == 3_000 - taken
    assert json.loads(second.stdout)["duplicates"] == taken


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(home: Path, ending: signal.Signals):
    with running(home, "up", "--port", "0") as (process, url):
        assert httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
        process.send_signal(ending)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0, told
    assert "Traceback" not in told


def test_other_commands_go_through_the_process_that_owns_the_folder(home: Path):
    with running(home, "up", "--port", "0") as (process, url):
        published = engage("publish", "-", "--json", stdin=lines(order(), "bad", order(2, "a/b")))
        assert published.returncode == 3, published.stderr
        assert json.loads(published.stdout)["taken"] == 2
        assert f"through process {process.pid}" in published.stderr
        status = json.loads(engage("status", "--json").stdout)
        assert status["owner"] == {"pid": process.pid, "url": url}
        assert sum(one["end"] for one in status["log"]) >= 2
        second = engage("up", "--port", "0")
        assert (second.returncode, len(second.stderr.splitlines())) == (1, 1)
        assert url in second.stderr
        unknown = engage("follow-ups", "start", "7f6b1a0e-2c53-5d0a-9f0e-3b1f6a2f9c11")
        assert unknown.returncode == 4, unknown.stderr


def test_history_needs_the_folder_for_itself(home: Path, tmp_path: Path):
    (tmp_path / "purchases.txt").write_text("customer_id date number_of_cds dollar_value\n00001 19970101 1 11.77\n")
    with running(home, "up", "--port", "0") as (process, _):
        told = engage("import", "cdnow", str(tmp_path / "purchases.txt"), "--history")
    assert (told.returncode, len(told.stderr.splitlines())) == (1, 1)
    assert f"stop process {process.pid} first" in told.stderr


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_history_of_a_damaged_file_is_not_begun_so_that_the_whole_one_is_recorded_at_its_time(
    home: Path, tmp_path: Path, damage: str
):
    rows = [f"{number:05} 1997{1 + number % 12:02}{1 + number % 28:02} 1 11.77" for number in range(1, 2_001)]
    text = "customer_id date number_of_cds dollar_value\n" + "\n".join(rows) + "\n"
    file, whole = tmp_path / "purchases.txt.gz", gzip.compress(text.encode(), mtime=0)
    broken = bytearray(whole[: len(whole) // 2] if damage == "cut" else whole)
    broken[len(broken) // 2] ^= 0xFF if damage == "changed" else 0
    file.write_bytes(broken)
    first = engage("import", "cdnow", str(file), "--history")
    assert first.returncode == 1, first.stderr
    assert "nothing was taken" in first.stderr
    file.write_bytes(whole)
    assert engage("import", "cdnow", str(file), "--history").returncode == 0
    entries = json.loads(engage("account", "cdnow-00007", "--json").stdout)["timeline"]
    assert all(entry["recorded"] == entry["time"] for entry in entries if entry["type"] == "Order Completed")


def test_what_is_only_read_needs_no_right_to_write(home: Path, tmp_path: Path):
    engage("publish", "-", stdin=lines(order()))
    (home / "owner.lock").unlink()
    before = {path.name: path.read_bytes() for path in home.iterdir() if path.suffix != ".db-shm"}
    home.chmod(0o555)
    try:
        for command in (["status"], ["follow-ups"], ["account", "customer-17"]):
            told = engage(*command)
            assert told.returncode == 0, told.stderr
    finally:
        home.chmod(0o755)
    assert {name: (home / name).read_bytes() for name in before} == before


def test_a_port_that_was_asked_for_and_is_taken_is_named(home: Path):
    home.rmdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = engage("up", "--port", str(port))
    assert told.returncode == 1
    assert not home.exists()
    assert f"port {port} is taken" in told.stderr


def test_the_demo_is_loaded_once_and_then_served_from_what_is_there(home: Path):
    first = engage("demo", "--once", "--json", "--scale", "0.001", "--today", "2026-03-01")
    assert first.returncode == 0, first.stderr
    assert "100 %" in first.stderr
    told = json.loads(first.stdout)
    assert set(told) == {"events", "accounts", "follow_ups", "health", "seconds"}
    assert told["accounts"] == sum(told["health"].values()) > 0
    with running(home, "demo", "--json", "--port", "0") as (process, url):
        assert httpx.get(f"{url}/v1/follow-ups", trust_env=False).status_code == 200
        process.send_signal(signal.SIGINT)
        again, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert "loaded already" in said
    assert "nothing that was acknowledged is lost" in said
    [command] = [line.strip() for line in said.splitlines() if line.strip().endswith("status")]
    asked = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=PATIENCE)
    assert asked.returncode == 0, asked.stderr
    assert json.loads(again)["accounts"] == told["accounts"]
