"""What operators do is on the log, once, with who did it; and nobody else can say it."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from engage import bootstrap
from engage.events import codec
from engage.events.catalogue.command import CommandGiven
from engage.events.envelope import OPERATIONS
from engage.events.validation import Refusal, check
from engage.log.partitioning import partition_of
from engage.services.platform import Platform
from engage.settings import Settings
from tests.http.given import START, Clock, order


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with bootstrap.platform(Settings(home=str(tmp_path)), clock=Clock()) as opened:
        yield opened


async def told(platform: Platform) -> list[tuple[str | None, CommandGiven]]:
    partition = partition_of(OPERATIONS, platform.log.partitions)
    records = (await platform.log.read(partition, 0, 1_000)).records
    events = [codec.decode(record.value) for record in records]
    return [(event.actor, codec.open_data(event).data) for event in events if event.type == "command.given"]


async def test_a_command_is_on_the_log_with_who_gave_it_and_what_came_of_it(platform: Platform) -> None:
    with platform.trail.of("ada", "projections rollback", "portfolio"):
        pass
    with pytest.raises(LookupError), platform.trail.of("grace", "projections rollback", "segments"):
        raise LookupError("nothing is kept of before")
    with pytest.raises(KeyboardInterrupt), platform.trail.of("ada", "projections rebuild", "segments"):
        raise KeyboardInterrupt
    await platform.settle()
    assert await told(platform) == [
        ("ada", CommandGiven(command="projections rollback", thing="portfolio", outcome="done")),
        ("grace", CommandGiven(command="projections rollback", thing="segments", outcome="failed")),
        ("ada", CommandGiven(command="projections rebuild", thing="segments", outcome="interrupted")),
    ]


async def test_after_a_crash_between_log_and_note_it_is_told_once(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    with platform.trail.of("ada", "api-keys create", "shop"):
        pass
    with monkeypatch.context() as crash:
        crash.setattr("engage.store.access.AccessStore.told", lambda *_: (_ for _ in ()).throw(OSError("crashed")))
        with pytest.raises(OSError, match="crashed"):
            await platform.trail_relay.step(10)
    assert await platform.trail_relay.step(10) == 1
    assert await platform.trail_relay.step(10) == 0
    assert len(await told(platform)) == 1


async def test_it_makes_no_account(platform: Platform) -> None:
    with platform.trail.of("ada", "api-keys create", "shop"):
        pass
    await platform.settle()
    from projections.shared.profile import profile
    from projections.shared.timeline import timeline

    assert platform.store.count(timeline) == platform.store.count(profile) == 0


@pytest.mark.parametrize("text", ["", "a\x00b", "x" * 1_000, "\udcff", "ada@example.com", "حساب"])
async def test_whatever_it_is_called_the_log_takes_it(platform: Platform, text: str) -> None:
    with platform.trail.of(text, text, text):
        pass
    assert await platform.trail_relay.step(10) == 1
    [(actor, _)] = await told(platform)
    assert actor


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "command.given", "subject": OPERATIONS, "source": "engage/audit"},
        {"type": "command.given", "subject": OPERATIONS},
        {"type": "command.given"},
        {"subject": OPERATIONS},
        {"subject": "engage:anything"},
    ],
)
def test_nobody_else_can_say_it(changes: dict[str, str]) -> None:
    data = {"command": "api-keys create", "thing": "shop", "outcome": "done"}
    assert isinstance(check(msgspec.json.encode(order(data=data, **changes)), START), Refusal)
