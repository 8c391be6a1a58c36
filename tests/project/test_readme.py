"""What the README shows of the clients is run as it stands there, against a service that really listens."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cli.given import PATIENCE, running

README = (Path(__file__).parents[2] / "README.md").read_text()
SERVED = "http://127.0.0.1:8080"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGAGE_HOME", str(home))
        with running(home, "up", "--port", "0") as (_, served):
            yield served


def snippet(language: str, holding: str) -> str:
    """The one block of code in a language that holds a text."""
    [found] = [code for code in re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S) if holding in code]
    assert SERVED in found
    return str(found)


def taken(url: str) -> list[str]:
    entries = httpx.get(f"{url}/v1/accounts/customer-7/timeline").json().get("entries", [])
    return sorted(one["event_id"] for one in entries if one["event_id"].startswith("order-"))


def run(program: list[str], code: str, url: str, folder: Path) -> str:
    done = subprocess.run(
        program, input=code.replace(SERVED, url), capture_output=True, text=True, cwd=folder, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl_publishes(url: str, tmp_path: Path) -> None:
    assert '"status":"taken"' in run(["sh", "-e"], snippet("sh", "curl -s"), url, tmp_path)


def test_python_publishes_and_reads_its_own_write(url: str, tmp_path: Path) -> None:
    assert float(run([sys.executable], snippet("python", "engage.Client"), url, tmp_path)) > 0
    assert taken(url).count("order-2") == 1
    assert (tmp_path / "spool" / "sent").read_text() != "0" * 20


def test_javascript_publishes_and_reads_its_own_write(url: str, tmp_path: Path) -> None:
    if not (node := shutil.which("node")):
        reason = "NOT TESTED IN JAVASCRIPT: there is no `node` on the PATH"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    assert float(run([node, "--input-type=module"], snippet("js", "fetch"), url, tmp_path)) > 0
    assert taken(url).count("order-3") == 1
