"""On Kafka and PostgreSQL two desks share the sending: what a rule asks for arrives once, and the log hears of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from engage import bootstrap
from engage.log.topics import Topics, create_topics
from engage.services.edge import EdgeKeyring
from engage.services.kafka_intake import run_intake
from engage.services.platform import Platform
from engage.settings import Settings
from tests.log.kafka_platform import fresh_topics
from tests.relationships.given import asked
from tests.webhooks.conftest import MODELS
from tests.webhooks.given import Receiver, endpoint, ids, said

COUNT = 12


async def test_two_desks_send_each_follow_up_once(kafka: str, postgres_url: str, tmp_path: Path, receiver: Receiver):
    topics = fresh_topics()
    await create_topics(kafka, 3, topics=topics)
    settings = Settings(home=str(tmp_path), log=f"kafka://{kafka}", views=postgres_url, topics=topics.prefix)
    now = datetime.now(UTC)
    async with AsyncExitStack() as stack:
        desks = [await stack.enter_async_context(bootstrap.platform(settings, models=MODELS)) for _ in range(2)]
        first = desks[0]
        made = await endpoint(first, receiver.url, channels=("email",), rules=("win-back",))
        requests = [
            asked(number, purpose="service", due=now, expires=now + timedelta(days=1)) for number in range(COUNT)
        ]
        await first.publish(requests)
        async with asyncio.timeout(60), _intake(settings, topics, first.keyring):
            while len(await said(first, "follow_up.delivered")) < COUNT:
                await first.project()
                await asyncio.gather(*(_turn(desk) for desk in desks))
                await asyncio.sleep(0.02)
        assert sorted(one.body["id"] for one in receiver.messages) == sorted(one.id for one in requests)
        assert len(set(ids(receiver.messages))) == COUNT
        assert {one.state for one in first.webhooks.deliveries(made.id, 100)} == {"delivered"}
        assert {one["attempt"] for one in await said(first, "follow_up.delivered")} == {1}


async def _turn(desk: Platform) -> None:
    await desk.work()
    await desk.tell()


@asynccontextmanager
async def _intake(settings: Settings, topics: Topics, keys: EdgeKeyring) -> AsyncIterator[None]:
    """Takes what is in the inbox onto the log, as long as the block lasts."""
    stop = asyncio.Event()
    work = asyncio.create_task(run_intake(settings.kafka or "", keys, stop, topics=topics))
    try:
        yield
    finally:
        stop.set()
        await work
