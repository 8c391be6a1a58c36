"""An intake worker as a process of its own, for tests that kill it.

python -m tests.log.intake_worker BOOTSTRAP PREFIX
"""

import asyncio
import signal
import sys

from engage.log.topics import Topics
from engage.services.kafka_intake import run_intake
from engage.testing.keyring import MemoryKeyring

SESSION_SECONDS = 6.0


async def main() -> None:
    bootstrap, prefix = sys.argv[1:]
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await run_intake(bootstrap, MemoryKeyring(), stop, topics=Topics(prefix), session_seconds=SESSION_SECONDS)


if __name__ == "__main__":
    asyncio.run(main())
