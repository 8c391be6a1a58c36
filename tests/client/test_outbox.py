"""The outbox loses nothing that it acknowledged: engage may be away, and its own process may be killed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest

import engage
from engage.client import SpoolFullError
from engage.events.validation import Refusal
from tests.cli.given import PATIENCE, running
from tests.http.given import order

ROOT = Path(__file__).parents[2]


def story(url: str) -> list[str]:
    """The ids of the account's orders, oldest first, once the timeline has come to the log's end."""
    with engage.Client(url) as client:
        deadline = time.monotonic() + PATIENCE
        while any(view["behind"] for view in client.status()["views"]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        entries = client.timeline("customer-17", limit=1_000)["entries"]
        return [one["event_id"] for one in reversed(entries) if one["type"] == "Order Completed"]


def test_what_a_killed_process_had_acknowledged_arrives_once_and_in_order(
    home: Path, tmp_path: Path, free_port: int
) -> None:
    url, folder = f"http://127.0.0.1:{free_port}", tmp_path / "spool"
    program = [sys.executable, "-m", "tests.client.publishing_process", url, str(folder)]
    acknowledged = []
    for _ in range(2):  # engage is away all the time
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=ROOT) as publisher:
            assert publisher.stdout is not None
            last = [int(publisher.stdout.readline()) for _ in range(40)][-1]
            publisher.kill()
            rest = publisher.stdout.read().split("\n")[:-1]  # what it said before it died
        acknowledged.append(int(rest[-1]) if rest else last)
    with running(home, "up", "--port", str(free_port)), engage.Outbox(url, folder) as outbox:
        assert outbox.flush(PATIENCE), outbox.trouble
        arrived = [int(one.removeprefix("o-")) for one in story(url)]
    assert arrived == list(range(len(arrived)))
    assert len(arrived) > max(acknowledged)


def test_what_is_refused_is_told_or_kept_apart_and_holds_nothing_up(home: Path, tmp_path: Path) -> None:
    told: list[tuple[bytes, str]] = []

    def note(event: bytes, refusal: Refusal) -> None:
        told.append((event, refusal.reason))

    with running(home, "up", "--port", "0") as (_, url):
        with engage.Outbox(url, tmp_path / "spool") as outbox:
            outbox.put(order("o-1"), {"odd": 1}, order("o-2"), {"id": "x" * 17_000_000}, order("o-3"))
            assert outbox.flush(PATIENCE), outbox.trouble
        with engage.Outbox(url, tmp_path / "told", refused=note) as outbox:
            outbox.put({"odd": 2}, order("o-4"))
            assert outbox.flush(PATIENCE), outbox.trouble
        assert story(url) == ["o-1", "o-2", "o-3", "o-4"]
    refused = (tmp_path / "spool" / "refused.ndjson").read_bytes().splitlines()
    assert [msgspec.json.decode(line)["reason"] for line in refused] == ["envelope", "too_large"]
    assert told == [(b'{"odd":2}', "envelope")]


class Narrow(BaseHTTPRequestHandler):
    """A proxy that lets small bodies through alone, and takes what it lets through."""

    taken: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        events = msgspec.json.decode(body)
        wide = len(body) > 400
        results = [{"status": "taken", "token": "0:0"} for _ in events]
        self.taken.extend(() if wide else [one["id"] for one in events])
        self.send_response(413 if wide else 200)
        self.end_headers()
        self.wfile.write(b"{}" if wide else msgspec.json.encode({"results": results}))

    def log_message(self, *_: object) -> None:
        pass


def test_a_batch_that_somebody_on_the_way_finds_too_large_is_halved(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Narrow) as server:
        threading.Thread(target=server.serve_forever).start()
        with engage.Outbox(f"http://127.0.0.1:{server.server_port}", tmp_path / "spool") as outbox:
            outbox.put(*(order(f"o-{number}") for number in range(9)))
            assert outbox.flush(PATIENCE), outbox.trouble
        server.shutdown()
    assert Narrow.taken == [f"o-{number}" for number in range(9)]


def test_while_engage_is_away_it_says_why_and_in_the_end_that_it_is_full(tmp_path: Path, free_port: int) -> None:
    url = f"http://127.0.0.1:{free_port}"
    outbox = engage.Outbox(url, tmp_path / "spool", most_bytes=1_000)
    with pytest.raises(SpoolFullError, match="this event was not kept"):
        for number in range(10):
            outbox.put(order(f"o-{number}"))
    assert not outbox.flush(0.3)
    assert outbox.trouble is not None
    assert "cannot be reached" in outbox.trouble
    outbox.close(seconds=0)


def test_what_is_no_json_is_the_callers_mistake(tmp_path: Path, free_port: int) -> None:
    outbox = engage.Outbox(f"http://127.0.0.1:{free_port}", tmp_path / "spool")
    with pytest.raises(ValueError, match="an event is JSON"):
        outbox.put(b"{")
    outbox.put(b'{\n"id":\r\n"pretty"}')
    outbox.close(seconds=0)
    [file] = (tmp_path / "spool").glob("*.ndjson")
    assert file.read_bytes() == b'{"id":"pretty"}\n'
