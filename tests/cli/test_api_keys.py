"""Keys from the command line: beside a process that serves, through it, and before it may serve others."""

import json
import stat
import time
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from engage import bootstrap
from engage.cli.listening import check_host
from engage.cli.main import app
from engage.cli.output import CommandFailedError
from engage.services.api_keys import ApiKeys
from engage.services.owner import door_secret
from engage.services.platform import utc_now
from engage.settings import Settings
from tests.cli.given import PATIENCE, lines, order, running

RUNNER = CliRunner()


def run(*arguments: str) -> Result:
    return RUNNER.invoke(app, arguments)


def test_the_command_line_works_beside_and_through_a_process_that_asks_for_keys(home: Path, tmp_path: Path) -> None:
    made = json.loads(run("api-keys", "create", "monitor", "--scope", "operate", "--json").stdout)
    bearer = {"authorization": f"Bearer {made['key']}"}
    with running(home, "up", "--port", "0") as (_, url):
        assert httpx.get(f"{url}/v1/status").status_code == 401
        status = httpx.get(f"{url}/v1/status", headers=bearer)
        assert status.status_code == 200
        events = tmp_path / "events.ndjson"
        events.write_text(lines(order()))
        published = run("publish", str(events))
        assert published.exit_code == 0, published.stderr
        assert "1 taken" in published.stdout
        lock = home / "owner.lock"
        secret = door_secret(home)
        assert secret
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600
        assert secret not in status.text + published.stdout + published.stderr + run("status", "--json").stdout
        listed = run("api-keys", "list", "--json").stdout
        assert [key["name"] for key in json.loads(listed)["keys"]] == ["monitor"]
        assert made["key"] not in listed
        assert run("api-keys", "revoke", "monitor").exit_code == 0
        deadline = time.monotonic() + PATIENCE
        while httpx.get(f"{url}/v1/status", headers=bearer).status_code != 401:
            assert time.monotonic() < deadline, "a revoked key still opens"
            time.sleep(0.05)
    assert door_secret(home) is None
    told = json.loads(run("audit", "--json").stdout)["commands"]
    assert [one["command"] for one in told] == ["api-keys revoke", "api-keys create"]


def test_a_key_alone_goes_to_standard_output(home: Path) -> None:
    made = run("api-keys", "create", "shop", "--scope", "publish", "--source", "urn:shop", "--expires", "90d")
    assert made.stdout.startswith("engage_")
    assert len(made.stdout.splitlines()) == 1
    assert "shown this once" in made.stderr
    refused = run("api-keys", "create", "Ada Lovelace", "--scope", "read")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert run("api-keys", "revoke", "nobody").exit_code == 4


def test_who_serves_others_needs_a_key_first(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path), host="0.0.0.0")
    with pytest.raises(CommandFailedError, match="api-keys create") as error:
        check_host(settings)
    assert error.value.code == 2
    check_host(Settings(home=str(tmp_path), host="0.0.0.0", behind_proxy=True))
    store = bootstrap.access_store(settings)
    keys = ApiKeys(store, "ada", utc_now)
    keys.create("monitor", ["operate"])
    check_host(settings)
    keys.revoke("monitor")
    store.close()
    with pytest.raises(CommandFailedError, match="api-keys create"):
        check_host(settings)
