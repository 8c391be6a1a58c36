"""The compose file's engage services, run natively: the same commands and environment, but for the addresses."""

import json
import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from streams import RULES

PROJECT = Path(__file__).parents[2]
TEXT = (PROJECT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(TEXT)
OURS = {name: service for name, service in COMPOSE["services"].items() if service.get("image") == "engage"}
DEADLINE = 60.0


@contextmanager
def running(command, environment, log):
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "engage", *command], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


def until(found, what):
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        try:
            answer = found()
        except httpx.TransportError:
            answer = None
        if answer:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"after {DEADLINE:.0f} s still not: {what}")


@pytest.fixture
def environment(kafka, postgres_url, tmp_path, free_port):
    """The compose file's environment for each service, with the addresses of this machine."""
    here = {
        "kafka://kafka:9092": f"kafka://{kafka}",
        "postgresql+psycopg://engage:engage@postgres/engage": postgres_url,
        "/data": str(tmp_path / "data"),
        "0.0.0.0": "127.0.0.1",
    }
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ENGAGE_")}

    def of(name):
        told = {key: here.get(value, value) for key, value in OURS[name]["environment"].items()}
        # The broker is shared with other tests, and the usual port may be taken.
        return {**plain, **told, "ENGAGE_TOPICS": f"compose-{tmp_path.name}", "ENGAGE_PORT": str(free_port)}

    return of


def engage(environment, *command, codes=(0,)):
    done = subprocess.run(
        [sys.executable, "-m", "engage", *command], env=environment, capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.returncode in codes, done.stderr
    return done.stdout


def first_key():
    """The command that makes the first key, as the file's head gives it."""
    [command] = re.findall(r"^#\s+docker compose run --rm http (api-keys create .*)$", TEXT, re.MULTILINE)
    return command.split()


def test_what_is_published_to_the_compose_services_comes_out_in_the_read_models(environment, tmp_path, free_port):
    once = [name for name, service in OURS.items() if service.get("restart") == "no"]
    for name in once:
        engage(environment(name), *OURS[name]["command"])
    key = engage(environment("http"), *first_key()).strip()
    services = [name for name in OURS if name not in once]
    assert {"streams", "projections", "desk", "http"} == set(services)
    url = f"http://127.0.0.1:{free_port}"
    event = {
        "specversion": "1.0",
        "id": "order-1",
        "source": "urn:shop",
        "type": "Order Completed",
        "subject": "customer-7",
        "time": "2026-11-01T12:00:00Z",
        "data": {"order_id": "1", "total": 25.0},
    }
    with ExitStack() as stack:
        started = {
            name: stack.enter_context(running(OURS[name]["command"], environment(name), tmp_path / f"{name}.log"))
            for name in services
        }
        until(lambda: httpx.get(f"{url}/livez").status_code == 200, "HTTP answers")
        assert httpx.get(f"{url}/v1/status").status_code == 401
        http = stack.enter_context(httpx.Client(headers={"authorization": f"Bearer {key}"}))

        def activated():
            # A rule asks for something only from its activation on, which is on every partition soon after the start.
            shown = http.get(f"{url}/v1/status")
            return shown.status_code == 200 and all(one["end"] > len(RULES) for one in shown.json()["log"])

        until(activated, "the rules are activated")
        event["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        answer = http.post(f"{url}/v1/events", json=[event, event, {**event, "subject": 5}])
        assert [each["status"] for each in answer.json()["results"]] == ["taken", "taken", "refused"]

        def entries():
            shown = http.get(f"{url}/v1/accounts/customer-7/timeline")
            return shown.status_code == 200 and shown.json()["entries"]

        assert [each["type"] for each in until(entries, "the order is on the timeline")].count("Order Completed") == 1

        def welcomed():
            shown = http.get(f"{url}/v1/accounts/customer-7/timeline")
            return {"follow_up.requested", "follow_up.skipped"} & {each["type"] for each in shown.json()["entries"]}

        until(welcomed, "the rules have decided on it")
        account = http.get(f"{url}/v1/accounts/customer-7").json()
        assert account["health"]["score"] > 0
        find = "log", "find", "--type", "command.given", "--json"
        told = until(lambda: engage(environment("http"), *find, codes=(0, 4)), "the log tells of the key")
        assert '"api-keys create"' in told
        assert {name: process.poll() for name, process in started.items()} == dict.fromkeys(services), json.dumps(
            {name: (tmp_path / f"{name}.log").read_text()[-2000:] for name in services}, indent=1
        )
    assert {name: process.returncode for name, process in started.items()} == dict.fromkeys(services, 0)
