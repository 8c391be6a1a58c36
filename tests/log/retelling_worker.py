"""An intake worker that dies by kill -9 in the middle of telling a visitor's past once more, its transaction open.

python -m tests.log.retelling_worker BOOTSTRAP PREFIX
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from aiokafka import AIOKafkaProducer

from engage.log.topics import Topics
from engage.services import kafka_links
from engage.services.kafka_intake import run_intake
from engage.services.kafka_partition import PartitionIntake
from engage.testing.keyring import MemoryKeyring

PAGES = 3


def die_on_the_way() -> None:
    """Let a page of the past be written and not committed: it is the last that happens here."""
    retell = PartitionIntake.retell
    pages = 0

    async def die(producer: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async def counted(self: PartitionIntake) -> None:
        nonlocal pages
        pages += 1
        if pages == PAGES:
            AIOKafkaProducer.commit_transaction = die
        await retell(self)

    PartitionIntake.retell = counted  # type: ignore[method-assign]


def main() -> None:
    bootstrap, prefix = sys.argv[1:]
    kafka_links._PAGE = 50
    die_on_the_way()
    asyncio.run(run_intake(bootstrap, MemoryKeyring(), asyncio.Event(), topics=Topics(prefix)))


if __name__ == "__main__":
    main()
