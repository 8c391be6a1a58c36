"""A command starts quickly: what only others need is not imported by it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.given import engage, lines, order

SERVERS = {"fastapi", "uvicorn", "faust", "prometheus_client", "engage.http.app", "engage.services.platform"}
"""What serves, or works on."""
ELSEWHERE = {"aiokafka", "psycopg", "httpx", "jwt", "engage.log.kafka", "engage.relationships.postgres"}
"""What speaks to other machines, and to those who own the folder."""
HEAVY = {"numpy", "pyarrow", "scipy", "sklearn", "matplotlib"}
STORES = {"sqlalchemy", "eventsourcing", "cryptography", "engage.bootstrap"}
COMPLETING = {"_ENGAGE_COMPLETE": "complete_bash", "COMP_WORDS": "engage views account_h", "COMP_CWORD": "2"}


def imported(*words: str, **environment: str) -> set[str]:
    """The modules that are there when a command ends, which must end well."""
    code = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); import engage.__main__"
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.split())


@pytest.mark.parametrize(
    ("environment", "needed"), [({}, "engage.cli.main"), (COMPLETING, "projections")], ids=["help", "completion"]
)
def test_help_and_completion_wait_for_no_store_and_no_server(environment: dict[str, str], needed: str):
    found = imported("--help", **environment)
    assert needed in found
    assert found & (SERVERS | ELSEWHERE | HEAVY | STORES) == set()


def test_status_of_a_folder_waits_for_no_server_and_nothing_elsewhere(home: Path):
    assert engage("publish", "-", stdin=lines(order())).returncode == 0
    found = imported("status")
    assert "engage.bootstrap" in found
    assert found & (SERVERS | ELSEWHERE | HEAVY) == set()


def test_a_demo_that_loads_holds_no_server_and_nothing_elsewhere(home: Path):
    found = imported("demo", "--once", "--scale", "0.001")
    assert "engage.demo.load" in found
    works_on = {"engage.services.platform", "prometheus_client", "aiokafka"}  # the last for its hash of an account
    assert found & ((SERVERS | ELSEWHERE | HEAVY) - works_on) == set()
