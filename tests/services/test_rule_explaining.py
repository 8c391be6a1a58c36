"""What is explained of an account, from its records alone, is what the engine that heard all accounts remembers."""

import random
from datetime import timedelta
from pathlib import Path

import pytest

from engage import bootstrap
from engage.events import codec
from engage.rules.policy import PolicySettings
from engage.services.configuration import Configured
from engage.services.ruling.explaining import explain_rules
from engage.settings import Settings
from engage.testing.events import moment
from tests.rules.probes import asking, forbidden, ordered, reminder, ticket
from tests.rules.test_mending import choosy

WHO = [f"acc-{number}" for number in range(6)]
RULES = (choosy(), reminder(), asking(channels=("email",)))


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(3))
async def test_the_state_and_the_wakes_are_those_of_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    house = Configured(RULES, PolicySettings(quiet_hours=None))
    monkeypatch.setattr(bootstrap, "rules", lambda settings: house)
    happening = []
    for number in range(150):
        at, who = moment("2026-01-01") + timedelta(hours=5 * number), chance.choice(WHO)
        about, more = f"x-{chance.randrange(9)}", {"subject": who, "id": f"e-{number}"}
        happened = chance.choice(
            [ticket(at, about, **more), ordered(at, about, **more), forbidden("email", at=at, **more)]
        )
        happening.append(codec.encode(happened))
    async with bootstrap.platform(Settings(home=str(tmp_path))) as platform:
        await platform.publish(happening, as_lived=True)
        await platform.projector.catch_up()
        assert platform.embedded is not None
        engines = [runner.engine for runner in platform.embedded._runners]
        for account in WHO:
            for store in (platform.store, None):  # with the timeline's help, and without
                told = await explain_rules(platform.log, store, house, platform.letters.source, account)
                for rule in told.rules:
                    [cell] = [
                        found
                        for engine in engines
                        if (found := engine.cells.get((rule.name, account))).wakes or found.state != type(found.state)()
                    ] or [engines[0].cells.get((rule.name, "nobody"))]
                    kept = {about: (one.due, one.fires) for about, one in cell.wakes.items()}
                    assert {one.about: (one.due, one.fires) for one in rule.waits} == kept
                    assert rule.state == {name: getattr(cell.state, name) for name in cell.state.__struct_fields__}
