"""A retry is done or not done, whenever its process is killed, and the log folded again comes to the same."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engage import bootstrap
from engage.events import codec
from engage.log.sqlite import SqliteLog
from engage.rules.rule import Rule
from engage.services.configuration import Configured
from engage.services.letters.acting import Command, act
from engage.services.letters.letter import Chosen
from engage.services.linking import link
from engage.services.platform import Platform
from engage.settings import Settings
from tests.rules.probes import ticket
from tests.rules.test_mending import choosy
from tests.services import mending_process
from tests.services.mending_process import ANY_HOUR

pytestmark = pytest.mark.anyio
WHO = ("acc-1", "acc-2", "acc-3")
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


def cells(home: Path) -> dict[tuple[str, str], Any]:
    """What the engines left in the file."""
    log = SqliteLog(home / "log.db", read_only=True)
    try:
        stored = (cell for partition in range(log.partitions) for cell in log.engine_state(partition).cells)
        return {(rule, account): msgspec.json.decode(value) for rule, account, value in stored}
    finally:
        log.close()


async def with_rules(home: Path, rules: Sequence[Rule[Any, Any]], monkeypatch: pytest.MonkeyPatch, do: Any) -> Any:
    monkeypatch.setattr(bootstrap, "rules", lambda settings: Configured(tuple(rules), ANY_HOUR))
    async with bootstrap.platform(Settings(home=str(home)), models=()) as platform:
        return await do(platform)


async def publish(platform: Platform) -> None:
    names = ("t-1", "bad", "t-3")
    tickets = [ticket(YESTERDAY, name, subject=who) for who in WHO for name in names]
    await platform.publish([codec.encode(one) for one in tickets])


async def left(platform: Platform) -> list[str]:
    return [one.account for one in await platform.letters.listed(Chosen())]


async def retry(platform: Platform) -> list[str]:
    done = await act(
        platform.letters, Chosen(), Command("retry", "ada", platform.clock()), platform.publish, platform.readers
    )
    return [one.outcome for one in done]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_retry_whose_process_is_killed_is_done_or_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    await with_rules(tmp_path, [choosy(["bad"])], monkeypatch, publish)
    command = [sys.executable, mending_process.__file__, str(tmp_path), when]
    root = Path(__file__).parents[2]
    killed = await asyncio.to_thread(
        subprocess.run, command, cwd=root, env={"PYTHONPATH": str(root)}, capture_output=True, check=False
    )
    assert killed.returncode == -9, killed.stderr.decode()
    expected = list(WHO) if when == "before" else []
    assert sorted(await with_rules(tmp_path, [choosy()], monkeypatch, left)) == expected
    assert await with_rules(tmp_path, [choosy()], monkeypatch, retry) == ["goes_on"] * len(expected)
    stored = cells(tmp_path)
    assert {who: stored["choosy", who]["state"]["count"] for who in WHO} == dict.fromkeys(WHO, 3)
    log = SqliteLog(tmp_path / "log.db")
    for partition in range(log.partitions):
        log.forget_engine(partition)
    log.close()

    async def keep(platform: Platform) -> None:
        assert platform.embedded is not None
        await platform.embedded.keep()

    await with_rules(tmp_path, [choosy()], monkeypatch, keep)
    assert cells(tmp_path) == stored


async def test_what_stood_still_of_a_visitor_is_no_dead_letter_any_more_once_it_is_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def linked(platform: Platform) -> None:
        await publish(platform)
        await link(platform, "acc-1", "acc-2")
        assert await left(platform) == ["acc-2", "acc-3"]
        assert isinstance(platform.log, SqliteLog)
        assert sorted(letter[1] for letter in platform.log.letters()) == ["acc-2", "acc-3"]

    await with_rules(tmp_path, [choosy(["bad"])], monkeypatch, linked)
