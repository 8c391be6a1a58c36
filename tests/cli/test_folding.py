"""The read models have a process of their own beside the one that serves: it is looked after, and ends with it."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.cli.given import PATIENCE, order, running


def folding(owner: int) -> int | None:
    """The process that folds for ``owner``, None while there is none."""
    children = Path(f"/proc/{owner}/task/{owner}/children").read_text().split()
    return int(children[0]) if children else None


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def seen(http: httpx.Client, number: int) -> str:
    """Publish an order; the account's last event once the read models include it."""
    published = http.post("/v1/events", json=order(number)).json()
    token = published["results"][0]["token"]
    told = http.get(
        "/v1/accounts/customer-17/timeline", params={"wait_for": token, "wait_seconds": 30, "type": "Order Completed"}
    ).json()
    event: str = told["entries"][0]["event_id"]
    return event


def test_the_read_models_are_folded_beside_by_a_process_that_is_started_again_and_ends_with_its_owner(home: Path):
    with running(home, "up", "--port", "0") as (process, url), httpx.Client(base_url=url, trust_env=False) as http:
        http.timeout = PATIENCE
        assert seen(http, 1) == "order-1"
        assert "engage_event_to_view_seconds_count 0" not in http.get("/metrics").text
        first = folding(process.pid)
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: http.get("/readyz").status_code == 503, "nobody was told that it is gone")
        assert "the process that folds the read models ended with -9" in http.get("/readyz").json()["detail"]
        assert seen(http, 2) == "order-2"
        until(lambda: http.get("/readyz").status_code == 200, "it is still said to be gone")
        second = folding(process.pid)
        assert second not in (None, first)
        process.kill()
        until(lambda: not Path(f"/proc/{second}").exists(), "it outlived its owner")
