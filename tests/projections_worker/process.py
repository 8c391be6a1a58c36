"""A projecting process with the tests' read models, for tests that kill it.

python -m tests.projections_worker.process HOME BOOTSTRAP PREFIX DATABASE WHAT

WHAT is ``run``, ``renewed`` (its read models are those of another version), ``forked`` (a hundred records behind are
far, and it says so when a process of its own folds them), or the moment at which it kills itself:
``before-feed``, when rows are committed and their topics do not have them yet; ``after-feed``, when the topics have
them and that is not noted yet; ``before-lag``, when rows are committed and Kafka does not know the position yet.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Collection
from contextlib import nullcontext
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer

from engage import bootstrap
from engage.log import kafka as kafka_log
from engage.log.topics import Topics
from engage.services import projection_worker
from engage.services.folding_forks import FoldingFork, FoldingForks
from engage.services.kafka_transaction import FencedProducer
from engage.services.projection_worker import LANES, ProjectionWorker
from engage.settings import Settings
from tests.services.shop_views import orders, spend
from tests.services.town_views import make, regulars, warmths

MODELS = (spend, orders, regulars, warmths)
RENEWED = (spend, orders, *make(version=2, weight=2))
BLOWS = ("before-feed", "after-feed", "before-lag")
SESSION_SECONDS = 6.0


def main() -> None:
    home, kafka, prefix, database, what = sys.argv[1:]
    settings = Settings(home=home, log=f"kafka://{kafka}", topics=prefix, views=database)
    forks = None
    if what == "forked":
        vars(projection_worker).update(WORTH=100, BATCH=100)
        forks = FoldingForks(partial(bootstrap.projecting, settings, MODELS), LANES)
    with forks or nullcontext():
        asyncio.run(work(settings, kafka, prefix, what, forks))


async def work(settings: Settings, kafka: str, prefix: str, what: str, forks: FoldingForks | None) -> None:
    kafka_log._CONFIRM_SECONDS = 1.0  # a topic made anew is noticed sooner
    models = RENEWED if what == "renewed" else MODELS
    topics = Topics(prefix, tuple(model.name for model in models))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with bootstrap.platform(settings, models=models) as platform:
        worker = ProjectionWorker(platform, kafka, topics, platform.clock, session_seconds=SESSION_SECONDS, forks=forks)
        if forks is not None:
            _tell_of_forks()
        if what in BLOWS:
            _die_at(what, worker)
        await worker.run(stop)


def _tell_of_forks() -> None:
    step = FoldingFork.step

    async def told(fork: FoldingFork, limit: int, partitions: Collection[int]) -> int:
        done = await step(fork, limit, partitions)
        sys.stdout.write(f"a fork has folded {done}\n")
        sys.stdout.flush()
        return done

    FoldingFork.step = told  # type: ignore[method-assign, assignment]


def _die_at(blow: str, worker: ProjectionWorker) -> None:
    worker._shares._group += f"-{blow}"  # nobody after it waits until its membership has run out
    commit, show, project = FencedProducer.commit, AIOKafkaConsumer.commit, worker._project
    folded = 0

    async def counted(lane: Any) -> int:
        nonlocal folded
        done = await project(lane)
        folded += done
        return done

    async def struck(producer: FencedProducer, records: Any) -> None:
        if blow == "after-feed" or not folded:  # what the one before it left is fed while we fold
            await commit(producer, records)
        if folded:
            os.kill(os.getpid(), signal.SIGKILL)

    async def shown(consumer: Any, *offsets: Any) -> None:
        if folded:  # its partitions may have come when the turn to fold was over
            os.kill(os.getpid(), signal.SIGKILL)
        await show(consumer, *offsets)

    worker._project = counted  # type: ignore[method-assign]
    if blow == "before-lag":
        projection_worker._SHOW_SECONDS = 0.0
        worker._feed = _nothing  # type: ignore[method-assign]  # else it may die within a transaction
        AIOKafkaConsumer.commit = shown
    else:
        FencedProducer.commit = struck  # type: ignore[assignment,method-assign]


async def _nothing() -> int:
    return 0


if __name__ == "__main__":
    main()
