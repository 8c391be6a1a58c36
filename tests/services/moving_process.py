"""A process that links a visitor and dies in the middle of moving its story, by kill -9: ``python … FOLDER``."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from engage import bootstrap
from engage.services.linking import link_known
from engage.settings import Settings
from tests.http.given import Clock
from tests.services.test_linking import ACCOUNT, VISITOR, order


async def main() -> None:
    async with bootstrap.platform(Settings(home=sys.argv[1]), clock=Clock()) as platform:
        await platform.publish([order(number, VISITOR) for number in range(1, 1_200)])
        await platform.publish([order(1_200, ACCOUNT)])
        await link_known(platform, VISITOR, ACCOUNT)
        assert platform.mover is not None
        await platform.mover.step()
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(main())
