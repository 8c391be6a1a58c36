"""A projecting process with the tests' read models, for tests that kill it.

python -m tests.projections_worker.process HOME BOOTSTRAP PREFIX DATABASE
"""

import asyncio
import signal
import sys

from engage import bootstrap
from engage.log.topics import Topics
from engage.services.projection_worker import ProjectionWorker
from engage.settings import Settings
from tests.services.shop_views import orders, spend
from tests.services.town_views import regulars, warmths

MODELS = (spend, orders, regulars, warmths)
SESSION_SECONDS = 6.0


async def main() -> None:
    home, kafka, prefix, database = sys.argv[1:]
    settings = Settings(home=home, log=f"kafka://{kafka}", topics=prefix, views=database)
    topics = Topics(prefix, tuple(model.name for model in MODELS))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with bootstrap.platform(settings, models=MODELS) as platform:
        await ProjectionWorker(platform, kafka, topics, platform.clock, session_seconds=SESSION_SECONDS).run(stop)


if __name__ == "__main__":
    asyncio.run(main())
