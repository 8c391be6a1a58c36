"""A process for fault tests: loads the small demo, a line for each day; killed from outside."""

import asyncio
import sys
from pathlib import Path

from engage.demo.load import load
from tests.demo.given import PLAN, a_platform


async def work(home: Path) -> None:
    async with a_platform(home) as (platform, clock):
        await load(platform, clock, PLAN, said)


def said(done: int, total: int) -> None:
    sys.stdout.write(f"{done}/{total}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1])))
