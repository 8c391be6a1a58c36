"""Read models from the command line: they are listed, proven, folded anew and put back."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.given import PATIENCE, engage, lines, order, running


@pytest.fixture
def kept(home: Path) -> Path:
    """A home that has taken two orders."""
    assert engage("publish", "-", stdin=lines(order(), order(2))).returncode == 0
    return home


def listed() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(engage("projections", "list", "--json").stdout)["projections"]
    return found


def spoil(home: Path) -> None:
    """Write a word that no fold has made."""
    with closing(sqlite3.connect(home / "views.db")) as views, views:
        assert views.execute("UPDATE timeline SET event_id = 'wrong' WHERE event_id = 'order-1'").rowcount == 1


def test_a_spoilt_row_is_shown_and_a_rebuild_mends_it(kept: Path):
    proven = engage("projections", "verify", "timeline")
    assert (proven.returncode, "the fold of the log" in proven.stdout) == (0, True), proven.stderr
    spoil(kept)
    found = engage("projections", "verify", "timeline", "--json")
    [one] = json.loads(found.stdout)["projections"]
    assert (found.returncode, one["difference"]["column"], one["difference"]["stored"]) == (1, "event_id", "wrong")
    rebuilt = engage("projections", "rebuild", "timeline", "--json")
    assert json.loads(rebuilt.stdout)["swapped"], rebuilt.stderr
    assert '"level": "info"' not in rebuilt.stderr
    assert engage("projections", "verify", "timeline").returncode == 0
    assert [one["previous"] for one in listed() if one["name"] == "timeline"] == [True]
    assert engage("projections", "rollback", "timeline").returncode == 0
    assert engage("projections", "verify", "timeline").returncode == 1


def test_what_is_not_there_is_not_found(kept: Path):
    assert engage("projections", "verify", "nothing").returncode == 4
    assert engage("projections", "rollback", "timeline").returncode == 4


def test_beside_the_owner_it_reads_and_does_not_rebuild(kept: Path):
    with running(kept, "up", "--port", "0") as (_, url):
        assert engage("projections", "list").returncode == 0
        assert engage("projections", "verify", "timeline").returncode == 0
        refused = engage("projections", "rebuild", "timeline")
        told = engage("projections", "pause", "timeline", "--actor", "ada")
        assert "timeline: paused since" in told.stdout, told.stderr
        assert engage("publish", "-", stdin=lines(order(3))).returncode == 0
        [behind] = [one for one in listed() if one["behind"]]
        assert (behind["name"], behind["paused"]["by"]) == ("timeline", "ada")
        assert "by ada" in engage("status").stdout
        assert "goes on, was paused since" in engage("projections", "resume", "timeline").stdout
        deadline = time.monotonic() + PATIENCE
        while any(one["behind"] for one in listed()):
            assert time.monotonic() < deadline, listed()
    assert refused.returncode == 1
    assert "stop process" in refused.stderr
    assert f"or ask it: POST {url}/v1/projections/timeline/rebuild" in refused.stderr
