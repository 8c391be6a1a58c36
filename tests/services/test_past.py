"""The past of a log on Kafka with views in PostgreSQL, asked for while engage serves."""

import json
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engage import bootstrap
from engage.services import past
from engage.services.projector import Projector
from engage.settings import Settings
from engage.store.views import ViewStore
from projections.shared.profile import profile
from projections.shared.timeline import timeline
from tests.http.given import order
from tests.log.kafka_platform import intake, kafka_platform


async def test_it_is_folded_beside_whoever_serves_from_kafka(
    kafka: str, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with kafka_platform(kafka) as platform, intake(platform):
        prefix = platform.topics.prefix
        settings = Settings(home=str(tmp_path), log=f"kafka://{kafka}", views=postgres_url, topics=prefix)
        orders = [order(f"o-{n}", f"customer-{n % 4}", time=datetime.now(UTC).isoformat()) for n in range(12)]
        await platform.publish([json.dumps(one).encode() for one in orders])
        await platform.settle()
        moment = datetime.now(UTC)
        with closing(ViewStore(postgres_url)) as store:
            await (await Projector.opened(platform.log, store, [timeline, profile])).catch_up()
            ours = bootstrap.past(settings, platform.log, store, lambda: datetime.now(UTC))
            row = await ours.of_account("customer-1", [profile], moment, lambda then: then.get(profile, "customer-1"))
            assert row is not None and row.interactions == 3
            story = await ours.then(timeline, moment)
            assert await ours.lives(story)
            then = await ours.then(profile, moment)
            assert not await ours.lives(then) and await ours.kept(then) is None
            monkeypatch.setattr(past, "NEAR", -1)  # as on a long log
            far: list[tuple[int, int]] = []
            await ours.fold(then, lambda *told: far.append(told))
            assert far[-1][0] == far[-1][1]
            kept = await ours.kept(then)
            assert kept is not None
            with ours.snapshots.opened(kept) as folded:
                assert folded.select(profile) == store.select(profile)
                monkeypatch.setattr(past, "NEAR", 2_000)
                later = await ours.then(profile, datetime.now(UTC))
                await ours.fold(later, lambda done, of: None)
                assert await ours.kept(later) not in (None, kept)
            await ours.close()
