"""A real platform in a home of its own, and a receiver on loopback."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engage import bootstrap
from engage.services.platform import Platform
from engage.settings import Settings
from projections.shared.account_health import account_health
from projections.shared.follow_ups import follow_ups
from projections.shared.profile import profile
from projections.shared.timeline import timeline
from tests.http.given import Clock
from tests.webhooks.given import Receiver, receiving

MODELS = (profile, follow_ups, timeline, account_health)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def platform(tmp_path: Path, clock: Clock) -> AsyncIterator[Platform]:
    async with bootstrap.platform(Settings(home=str(tmp_path)), clock=clock, models=MODELS) as opened:
        yield opened


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as opened:
        yield opened


@pytest.fixture
async def other() -> AsyncIterator[Receiver]:
    async with receiving() as opened:
        yield opened
