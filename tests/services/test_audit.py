"""What operators do is on the log, once, with who did it; and nobody else can say it."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest
from msgspec import Raw

from engage import bootstrap
from engage.events import codec
from engage.events.catalogue.command import CommandGiven
from engage.events.envelope import OPERATIONS, Event
from engage.events.validation import Fault, Refusal, check
from engage.log.contract import Answer
from engage.log.partitioning import partition_of
from engage.services import telling
from engage.services.audit import DeedRefusedError, TrailRelay
from engage.services.platform import Platform
from engage.settings import Settings
from engage.store.audit import Deed
from tests.http.given import START, Clock, order
from tests.services.ledger import Ledger


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


async def test_however_many_deeds_the_log_refuses_the_others_are_told_and_those_once_it_takes_them(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    for actor in ("mallory", "mallory", "mallory", "ada", "mallory", "grace"):
        with platform.trail.of(actor, "api-keys create", "shop"):
            pass

    class Strict(Ledger):
        refuses = "mallory"

        async def publish(self, events: Sequence[bytes | Event[Raw]]) -> list[Answer]:
            assert all(isinstance(event, Event) for event in events)
            taken = await super().publish(events)
            refusal = Refusal("data", (Fault("/actor", "no"),))
            return [refusal if event.actor == self.refuses else one for event, one in zip(events, taken, strict=True)]  # type: ignore[union-attr]

    strict = Strict()
    relay = TrailRelay(platform.access.store, strict)
    for done in (1, 1, 0, 0):
        with pytest.raises(
            DeedRefusedError, match="that 'mallory' gave the command 'api-keys create': /actor: no"
        ) as it:
            await relay.step(2)
        assert it.value.done == done
    assert {deed.actor for deed in platform.access.store.untold(10)} == {"mallory"}
    asked = sum(strict.calls)
    with pytest.raises(DeedRefusedError):
        await relay.step(2)
    assert sum(strict.calls) == asked, "what was refused is not asked for again and again"
    monkeypatch.setattr(telling, "_AGAIN_SECONDS", 0.0)
    relay = TrailRelay(platform.access.store, strict)
    with pytest.raises(DeedRefusedError):
        await relay.step(10)
    strict.refuses = ""
    assert await relay.step(10) == 4
    assert platform.access.store.untold(10) == []


async def test_who_waits_until_nothing_is_left_to_do_gets_there_though_the_log_refuses_a_deed(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    unspeakable = Deed(time=START, actor="mal\x01lory", command="api-keys create", thing="shop", outcome="done")
    platform.access.store.keep(unspeakable)
    with platform.trail.of("ada", "api-keys create", "shop"):
        pass
    await platform.settle()
    assert [actor for actor, _ in await told(platform)] == ["ada"]
    assert not any(one.behind for one in await platform.projector.lag())
    assert "the log refused to hold that" in "".join(capsys.readouterr())


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
