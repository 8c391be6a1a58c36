"""The embedded log keeps what every log promises."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from engage.log.sqlite import SqliteLog
from engage.rules.policy import PolicySettings
from engage.services.edge import Edge
from engage.services.embedded import EmbeddedLog
from engage.testing.keyring import MemoryKeyring
from engage.testing.log_contract import LogContract
from streams import RULES


def now() -> datetime:
    return datetime.now(UTC)


class EmbeddedPlatform:
    """Appending is intake: there is nothing to settle."""

    def __init__(self, log: SqliteLog) -> None:
        self.log = log
        self._embedded = EmbeddedLog(log, Edge(MemoryKeyring(), now), RULES, PolicySettings(), now)
        self.publish = self._embedded.publish

    async def start(self) -> None:
        await self._embedded.start()

    async def settle(self) -> None:
        return


class TestEmbeddedLog(LogContract):
    @pytest.fixture
    async def platform(self, tmp_path) -> AsyncIterator[EmbeddedPlatform]:
        made = EmbeddedPlatform(SqliteLog(tmp_path / "log.db"))
        await made.start()
        yield made
        made.log.close()
