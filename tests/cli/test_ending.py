"""SIGTERM under load: first not ready, then nothing new, and all that was answered `taken` is on the log."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import httpx
import pytest

from engage.events import codec
from engage.log.sqlite import SqliteLog
from tests.cli.given import PATIENCE, order, running

PUBLISHERS = 4


class Publisher(threading.Thread):
    """Publishes one event after the other over a connection of its own, until the service is gone."""

    def __init__(self, url: str, number: int) -> None:
        super().__init__()
        self.url, self.number = url, number
        self.taken: list[str] = []
        self.refusals: list[httpx.Response] = []

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False) as http:
            for at in range(1_000_000):
                event = order(subject=f"customer-{self.number}", id=f"{self.number}:{at}")
                try:
                    answer = http.post("/v1/events", json=event)
                except httpx.TransportError:
                    return
                if answer.status_code == 200:
                    self.taken.append(event["id"])
                else:
                    self.refusals.append(answer)


def ready(url: str) -> int | None:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code
    except httpx.TransportError:
        return None


def on_log(home: Path) -> list[str]:
    log = SqliteLog(home / "log.db", read_only=True)
    try:
        records = [record for partition in range(log.partitions) for record in log.scan(partition)]
        return [event.id for record in records if (event := codec.decode(record.value)).type == "Order Completed"]
    finally:
        log.close()


@pytest.mark.fault
def test_what_was_taken_survives_a_sigterm_under_load(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGAGE_DRAIN_SECONDS", "1")
    with running(home, "up", "--port", "0") as (process, url):
        publishers = [Publisher(url, number) for number in range(PUBLISHERS)]
        for publisher in publishers:
            publisher.start()
        deadline = time.monotonic() + PATIENCE
        while sum(len(publisher.taken) for publisher in publishers) < 40:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        while ready(url) == 200:
            assert time.monotonic() < deadline
        at_warning = [len(publisher.taken) for publisher in publishers]
        assert process.wait(PATIENCE) == 0
        for publisher in publishers:
            publisher.join(PATIENCE)
    assert all(len(one.taken) > before for one, before in zip(publishers, at_warning, strict=True)), "it drained"
    for refused in (one for publisher in publishers for one in publisher.refusals):
        assert (refused.status_code, refused.headers["connection"]) == (503, "close")
    kept = on_log(home)
    assert len(kept) == len(set(kept))
    assert set(kept) >= {event for publisher in publishers for event in publisher.taken}


def test_who_asks_again_is_not_kept_waiting(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGAGE_DRAIN_SECONDS", "300")
    with running(home, "up", "--port", "0") as (process, url):
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while ready(url) != 503:
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
