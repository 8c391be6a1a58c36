"""A platform in a home of its own and the clock that it goes by, for the conftest.py of those who test with one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engage import bootstrap
from engage.services.platform import Platform
from engage.settings import Settings
from tests.http.given import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def platform(tmp_path: Path, clock: Clock) -> AsyncIterator[Platform]:
    async with bootstrap.platform(Settings(home=str(tmp_path)), clock=clock) as opened:
        yield opened
