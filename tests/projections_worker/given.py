"""What the tests of projecting processes share: the processes, a town that orders, and what must be right after all."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from engage.events import codec
from engage.events.catalogue.commerce import OrderCompleted, OrderRefunded
from engage.log.topics import Topics, create_topics
from engage.services.projector import Projector
from engage.store.views import ViewStore
from engage.views.projection import ReadModel
from tests.log.inbox import records_in
from tests.log.kafka_platform import PARTITIONS, KafkaPlatform, intake, kafka_platform
from tests.projections_worker.process import MODELS
from tests.servers import PROJECT
from tests.services.town_views import assert_right

PATIENCE = 60.0
POISON = 13
_MANY = 100_000
Models = tuple[ReadModel[Any], ...]


@asynccontextmanager
async def town(bootstrap: str) -> AsyncIterator[KafkaPlatform]:
    """A log with its intake at work, and the topics of the read models."""
    async with kafka_platform(bootstrap) as platform:
        topics = fed(platform)
        await create_topics(bootstrap, PARTITIONS, topics=topics)
        async with intake(platform):
            yield platform


def fed(platform: KafkaPlatform) -> Topics:
    return Topics(platform.topics.prefix, tuple(model.name for model in MODELS))


@contextmanager
def worker(platform: KafkaPlatform, home: Path, database: str, what: str = "run") -> Iterator[subprocess.Popen[bytes]]:
    """A projecting process (``what``: see there), ended when the block is left."""
    place = [str(home), platform.bootstrap, platform.topics.prefix, database, what]
    command = [sys.executable, "-m", "tests.projections_worker.process", *place]
    with (
        (home / "worker.log").open("ab") as told,
        subprocess.Popen(command, cwd=PROJECT, stdout=told, stderr=told) as it,
    ):
        try:
            yield it
        finally:
            it.kill()


async def publish(platform: KafkaPlatform, first: int, last: int, poison: str = "") -> None:
    """Orders of forty accounts, one in ten refunded; each order of ``poison`` is one that a fold breaks at."""
    events = []
    for number in range(first, last):
        account = f"acc-{number % 40}"
        total = float(POISON if account == poison else 1 + number % 7)
        what: list[Any] = [OrderCompleted(order_id=f"o-{number}", total=total, currency="EUR")]
        if number % 10 == 9:
            what.append(OrderRefunded(order_id=f"o-{number}", total=total))
        for data in what:
            name = f"{type(data).__name__}-{number}"
            events.append(codec.new_event(data, id=name, source="shop", subject=account, time=datetime.now(UTC)))
    await platform.publish([codec.encode(event) for event in events])


async def projected(platform: KafkaPlatform, database: str, models: Models = MODELS) -> None:
    """Wait until the processes have projected and fed all that is on the log; then everything must be right."""
    await platform.settle()
    with closing(await asyncio.to_thread(ViewStore, database)) as store:
        projector = await Projector.opened(platform.log, store, models)
        async with asyncio.timeout(PATIENCE):
            while any(one.behind for one in await projector.lag()) or not _in_version(projector):
                await asyncio.sleep(0.1)
            while await compacted(platform) != _stored(store, models):
                await asyncio.sleep(0.2)
        await assert_right(projector)


async def compacted(platform: KafkaPlatform) -> dict[str, dict[str, Any]]:
    """What the views' topics hold once they are compacted; the records of a key never go back."""
    found: dict[str, dict[str, Any]] = {}
    for model in MODELS:
        rows = found.setdefault(model.name, {})
        newest: dict[str, int] = {}
        for partition in range(PARTITIONS):
            for record in await records_in(platform.bootstrap, fed(platform).view(model.name), partition):
                key = record.key.decode()
                told = msgspec.json.decode(record.value) if record.value else None
                if told is not None:
                    assert told["change"] >= newest.get(key, 0), f"{model.name} {key} went back"
                    newest[key] = told["change"]
                rows[key] = told and (told["change"], told["row"])
    return found


def _in_version(projector: Projector) -> bool:
    wanted = {model.name: model.version for model in projector.projections}
    return all(one.version == wanted[one.projection] for one in projector.positions())


def _stored(store: ViewStore, models: Models) -> dict[str, dict[str, Any]]:
    """The rows, and None for those that are gone, as their topics should hold them."""
    return {
        model.name: {
            key: None if row is None else (change, msgspec.to_builtins(row))
            for partition in range(PARTITIONS)
            for key, row, change, _ in store.changes(model, partition, 0, _MANY)
        }
        for model in models
    }
