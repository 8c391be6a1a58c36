"""The distributed way: each part a process of its own, on a real broker and a real database."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.cli.given import ENGAGE, PATIENCE, engage, lines, order


def fresh_order(number: int = 1) -> dict[str, Any]:
    """An order of now: intake refuses what is older than its window."""
    return order(number, time=datetime.now(UTC).isoformat())


@pytest.fixture
def distributed(home: Path, kafka: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of a log of its own on Kafka, and of an empty database."""
    monkeypatch.setenv("ENGAGE_LOG", f"kafka://{kafka}")
    monkeypatch.setenv("ENGAGE_VIEWS", postgres_url)
    monkeypatch.setenv("ENGAGE_TOPICS", f"cli-{uuid4().hex[:8]}")
    monkeypatch.setenv("ENGAGE_PARTITIONS", "2")


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is asked to end when the block does, and must do so cleanly."""
    with subprocess.Popen([ENGAGE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.send_signal(signal.SIGTERM)
            _, told = started.communicate(timeout=PATIENCE)
        assert started.returncode == 0, told
        assert "Traceback" not in told


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)


@pytest.mark.usefixtures("distributed")
def test_an_event_goes_from_the_inbox_to_the_read_models_through_the_workers(
    free_port: int, monkeypatch: pytest.MonkeyPatch
):
    missing = engage("topics", "check")
    assert missing.returncode == 1
    assert missing.stderr.count("are missing: run `engage topics create`") == 1
    assert engage("topics", "create", "--json").returncode == 0
    assert json.loads(engage("topics", "check", "--json").stdout)["partitions"] == 2
    with ExitStack() as stack, process("worker", "intake"), process("worker", "desk"), monkeypatch.context() as watched:
        watched.setenv("ENGAGE_METRICS_PORT", str(free_port))
        stack.enter_context(process("worker", "projections"))
        published = engage("publish", "-", "--json", stdin=lines(fresh_order(), fresh_order(2), "bad", order(3)))
        assert (published.returncode, json.loads(published.stdout)["taken"]) == (3, 2), published.stderr
        assert "set ENGAGE_WINDOW_DAYS to more" in published.stderr, "who publishes what is too old hears it"
        wait_for(lambda: engage("account", "customer-17").returncode == 0)
        told = httpx.get(f"http://127.0.0.1:{free_port}/metrics", trust_env=False).text
        for figure in ('engage_view_lag_records{view="timeline"} 0.0', "engage_stores_readable 1.0"):
            assert figure in told
        assert "engage_database_bytes" in told
        assert "engage_event_to_view_seconds_count" in told
    status = json.loads(engage("status", "--json").stdout)
    assert sum(one["end"] for one in status["log"]) >= 2
    assert status["owner"] is None


@pytest.mark.usefixtures("distributed")
def test_http_serves_what_the_workers_keep_going():
    engage("topics", "create")
    with process("worker", "intake"), process("worker", "projections"), process("up", "--port", "0") as http:
        assert http.stderr is not None
        url = http.stderr.readline().split()[3]
        assert "`engage worker streams|projections|desk`" in [http.stderr.readline() for _ in range(4)][-1]
        with httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE) as client:
            assert client.post("/v1/events", json=fresh_order()).json()["taken"] == 1
            wait_for(lambda: client.get("/v1/accounts/customer-17").status_code == 200)
            assert client.get("/readyz").status_code == 200
            assert client.get("/v1/status").json()["dead_letters"] is None
