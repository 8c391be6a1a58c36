"""Rows of any read model from the command line."""

import asyncio
import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engage import bootstrap
from engage.cli.main import app
from engage.settings import Settings
from tests.cli.given import order


@pytest.fixture
def kept(home: Path) -> Path:
    """A home that has taken three accounts' orders."""
    events = [order(), order(2, "customer-18"), order(3, "customer-18"), order(4, "a, ع 😀")]

    async def publish() -> None:
        async with bootstrap.platform(Settings(home=str(home))) as platform:
            await platform.publish([json.dumps(event).encode() for event in events])
            await platform.settle()

    asyncio.run(publish())
    return home


def engage(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["views", *arguments])


def test_rows_are_shown_listed_and_written(kept: Path):
    assert "account_health" in engage().stdout
    shown = engage("loyalty", "orders__ge=2", "--fields", "account,orders")
    assert [line.split() for line in shown.stdout.splitlines()] == [["account", "orders"], ["customer-18", "2"]]
    page = json.loads(engage("loyalty", "--sort", "-orders,account", "--limit", "1", "--json").stdout)
    assert (page["rows"][0]["account"], page["next"] is not None) == ("customer-18", True)
    rows = list(csv.DictReader(io.StringIO(engage("profile", "--csv").stdout)))
    assert {row["account"] for row in rows} == {"customer-17", "customer-18", "a, ع 😀"}
    [line] = engage("profile", "account=a, ع 😀", "--fields", "account", "--ndjson").stdout.splitlines()
    assert json.loads(line) == {"account": "a, ع 😀"}
    for wrong, code, words in (
        (("nothing",), 4, "no view 'nothing'"),
        (("profile", "odd=1"), 2, "no column 'odd'"),
        (("profile", "odd"), 2, "COLUMN=VALUE"),
        (("profile", "--csv", "--json"), 2, "one of them"),
    ):
        told = engage(*wrong)
        assert (told.exit_code, words in told.stderr) == (code, True), told.stderr
