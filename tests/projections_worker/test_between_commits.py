"""Projecting processes that die between two commits, or lose their database, partitions or log: all counts once."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from engage.log.kafka import KafkaLog
from engage.log.topics import create_topics
from engage.services.projection_shares import ProjectionShares
from engage.store.views import ViewStore
from tests.log.kafka_platform import PARTITIONS, KafkaPlatform, intake, kafka_platform
from tests.projections_worker.given import PATIENCE, compacted, fed, projected, publish, town, worker
from tests.projections_worker.process import BLOWS, RENEWED
from tests.servers import ServerUnavailableError, StoppablePostgres, stoppable_postgres
from tests.services.shop_views import spend

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(180)]


@pytest.fixture
async def platform(kafka: str) -> AsyncIterator[KafkaPlatform]:
    async with town(kafka) as platform:
        yield platform


@pytest.fixture
def server() -> Iterator[StoppablePostgres]:
    try:
        with tempfile.TemporaryDirectory(prefix="pg") as folder, stoppable_postgres(Path(folder)) as running:
            yield running
    except ServerUnavailableError as error:
        pytest.skip(f"NOT TESTED AGAINST POSTGRESQL: {error}")


def counted(database: str) -> int:
    """How many orders the read models have counted."""
    with closing(ViewStore(database)) as store:
        return sum(row.orders for row in store.select(spend))


async def test_killed_between_the_commit_of_the_database_and_what_kafka_hears(
    platform: KafkaPlatform, home: Path, postgres_url: str
) -> None:
    for number, blow in enumerate(BLOWS):
        await publish(platform, 60 * number, 60 * number + 60)
        await platform.settle()
        with worker(platform, home, postgres_url, blow) as doomed:
            assert await asyncio.to_thread(doomed.wait, PATIENCE) == -signal.SIGKILL
        assert counted(postgres_url) > 60 * number
        topic = (await compacted(platform))["spend"]
        assert bool(topic) == (blow != "before-feed")
    with worker(platform, home, postgres_url):
        await projected(platform, postgres_url)
    assert counted(postgres_url) == 60 * len(BLOWS)


async def test_a_storm_of_rebalances_while_postgresql_goes_and_comes_back(
    platform: KafkaPlatform, home: Path, server: StoppablePostgres
) -> None:
    with worker(platform, home, server.url), worker(platform, home, server.url):
        await publish(platform, 0, 100)
        await projected(platform, server.url)
        orders = asyncio.create_task(publish(platform, 100, 500))
        for number in range(4):
            async with (
                ProjectionShares(platform.bootstrap, platform.topics, 6.0) as newcomer,
                asyncio.timeout(PATIENCE),
            ):
                while not newcomer.partitions:
                    await asyncio.sleep(0.01)
                if number == 1:
                    await asyncio.to_thread(server.stop)
                if number == 2:
                    await asyncio.to_thread(server.start)
        await orders
        await projected(platform, server.url)
    assert counted(server.url) == 500


async def test_a_changed_version_feeds_what_is_different_in_it(
    platform: KafkaPlatform, home: Path, postgres_url: str
) -> None:
    with worker(platform, home, postgres_url) as before:
        await publish(platform, 0, 100)
        await projected(platform, postgres_url)
        old = await compacted(platform)
        before.terminate()
        assert await asyncio.to_thread(before.wait, PATIENCE) == 0
    with worker(platform, home, postgres_url, "renewed"):
        await projected(platform, postgres_url, RENEWED)
    new = await compacted(platform)
    assert new["spend"] == old["spend"]
    assert new["regulars"].keys() == old["regulars"].keys()
    assert new["regulars"] != old["regulars"]


async def test_a_log_that_was_deleted_and_made_anew_is_refused_and_not_skipped_over(
    kafka: str, home: Path, postgres_url: str
) -> None:
    async with kafka_platform(kafka) as platform:
        await create_topics(kafka, PARTITIONS, topics=fed(platform))
        with worker(platform, home, postgres_url):
            async with intake(platform):
                await publish(platform, 0, 60)
                await projected(platform, postgres_url)
            await _make_anew(platform)
            async with intake(platform), KafkaLog(kafka, platform.topics) as log:
                anew = KafkaPlatform(kafka, platform.topics, log, platform.publisher)
                await publish(anew, 60, 120)  # it reaches beyond where the views stand
                await anew.settle()
                await _told(home, "was made anew while it was read")
                with worker(platform, home, postgres_url) as refused:
                    assert await asyncio.to_thread(refused.wait, PATIENCE) == 1
        await _told(home, "point engage at the log that the views belong to")
        assert counted(postgres_url) == 60


async def _make_anew(platform: KafkaPlatform) -> None:
    """Delete the log's topic, and make one of its name."""
    log = platform.topics.interactions
    admin = AIOKafkaAdminClient(bootstrap_servers=platform.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([log])
        async with asyncio.timeout(PATIENCE):
            while log in await admin.list_topics():
                await asyncio.sleep(0.05)
    finally:
        await admin.close()
    await create_topics(platform.bootstrap, PARTITIONS, topics=platform.topics)


async def _told(home: Path, words: str) -> None:
    """Wait until a process has said this."""
    async with asyncio.timeout(PATIENCE):
        while words not in " ".join((await asyncio.to_thread((home / "worker.log").read_text)).split()):
            await asyncio.sleep(0.05)
