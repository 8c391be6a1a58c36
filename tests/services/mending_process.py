"""A process that retries every dead letter of a folder, and is killed right before or after that is committed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from engage import bootstrap
from engage.log.sqlite import SqliteLog, Writes
from engage.rules.policy import PolicySettings
from engage.services.configuration import Configured
from engage.services.letters.acting import Command, act
from engage.services.letters.letter import Chosen
from engage.settings import Settings
from tests.rules.test_mending import choosy

ANY_HOUR = PolicySettings(quiet_hours=None)


async def main(home: str, when: str) -> None:
    commit = SqliteLog.commit

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def deadly(self: SqliteLog, *several: Writes) -> None:
        records = [record for writes in several for record in writes.records]
        word = any(b"dead_letter.retried" in record.value for record in records)
        if word and when == "before":
            die()
        commit(self, *several)
        if word:
            die()

    SqliteLog.commit = deadly  # type: ignore[method-assign]
    bootstrap.rules = lambda settings: Configured((choosy(),), ANY_HOUR)
    async with bootstrap.platform(Settings(home=home), models=()) as platform:
        command = Command("retry", "ada", platform.clock())
        await act(platform.letters, Chosen(), command, platform.publish, platform.readers)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
