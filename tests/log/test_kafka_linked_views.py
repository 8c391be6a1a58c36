"""The same said to the embedded log and to Kafka, people linked and parted in between: the same rows and decisions."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from engage import bootstrap
from engage.events import codec
from engage.events.catalogue.surveys import SurveyAnswered
from engage.events.envelope import Event
from engage.log.contract import Log
from engage.services import linking
from engage.services.known_accounts import NoSuchAccountError
from engage.services.linked import linked_to
from engage.services.platform import Platform
from engage.services.privacy import LinkedError, erase
from engage.services.projector import Projector
from engage.services.verifying import Verifier
from engage.settings import Settings
from engage.store.views import ViewStore
from engage.testing.log_contract import SOURCE, order, records_of
from projections import PROJECTIONS
from projections.customers.account_satisfaction import account_satisfaction
from projections.customers.satisfaction import satisfaction
from projections.shared.identities import identities
from projections.shared.profile import profile
from projections.shared.timeline import timeline
from streams import RULES
from tests.log.kafka_platform import KafkaPlatform, kafka_platform
from tests.log.linking import Stepping, link, now, stepping, unlink

pytestmark = pytest.mark.anyio
T = TypeVar("T")

VISITOR, ACCOUNT, OTHER = "anonymous:7f3c", "customer-17", "customer-18"
LATER, MIDDLE, TOP = "anonymous:9", "customer-30", "customer-31"


@pytest.fixture
async def platform(kafka: str) -> AsyncIterator[KafkaPlatform]:
    async with kafka_platform(kafka) as platform:
        yield platform


def badly(number: int, account: str) -> bytes:
    """Somebody would not recommend us: they are to be called."""
    data = SurveyAnswered(survey_id=f"s-{number}", kind="nps", score=1)
    return codec.encode(codec.new_event(data, id=f"survey-{number}", source=SOURCE, subject=account, time=now()))


STORY: list[list[bytes] | tuple[str, str]] = [
    [
        order(1, VISITOR),
        order(2, ACCOUNT),
        order(3, OTHER),
        badly(1, VISITOR),
        badly(6, LATER),
        order(8, MIDDLE),
        order(9, TOP),
    ],
    (VISITOR, ACCOUNT),
    [order(4, VISITOR), badly(2, VISITOR), badly(3, OTHER)],
    (ACCOUNT, OTHER),
    [order(5, VISITOR), order(6, ACCOUNT), badly(4, ACCOUNT)],
    (MIDDLE, TOP),
    (LATER, MIDDLE),
    (VISITOR, ""),
    [order(7, VISITOR), badly(5, VISITOR)],
]


def requested(events: Iterable[Event[Any]]) -> Counter[tuple[str, str]]:
    """Which follow-ups were asked for, by account and rule."""
    asked = (event for event in events if event.type == "follow_up.requested" and not event.is_copy)
    return Counter((event.subject, json.loads(bytes(event.data))["rule"]) for event in asked)


def known(store: ViewStore) -> dict[str, Any]:
    """What read models make of it, as far as it does not hang on a clock or on a place."""
    told = Counter((row.account, row.event_id) for row in store.select(timeline) if row.source == SOURCE)
    return {
        "told": told,
        "links": [(row.visitor, row.account) for row in store.select(identities)],
        "interactions": {row.account: row.interactions for row in store.select(profile)},
        "answers": [repr(row) for row in store.merged(satisfaction)],
        "asked": sorted(row.account for row in store.select(account_satisfaction)),
    }


async def on_log(log: Log) -> list[Event[Any]]:
    return [codec.decode(one.value) for at in range(log.partitions) for one in await records_of(log, at)]


async def lived_embedded(home: Path) -> tuple[dict[str, Any], Counter[tuple[str, str]]]:
    async with bootstrap.platform(Settings(home=str(home))) as platform:
        for turn in STORY:
            if isinstance(turn, list):
                await platform.publish(turn)
            elif turn[1]:
                await linking.link(platform, *turn)
            else:
                await linking.unlink(platform, turn[0])
            await platform.settle()
        return known(platform.store), requested(await on_log(platform.log))


async def lived(house: Stepping) -> None:
    linked: dict[str, str] = {}
    for number, turn in enumerate(STORY):
        if isinstance(turn, list):
            await house.platform.publisher.publish(turn)
        elif turn[1]:
            linked[turn[0]] = turn[1]
            await house.words.publish([link(*turn, said=number)])
        else:
            await house.words.publish([unlink(turn[0], linked[turn[0]], said=number)])
        await house.settle()


@asynccontextmanager
async def asking(platform: KafkaPlatform, home: Path) -> AsyncIterator[tuple[Stepping, Platform]]:
    """Who asks, and whose intake and read models work only while an answer is waited for; three have ordered."""
    settings = Settings(home=str(home), log=f"kafka://{platform.bootstrap}", topics=platform.topics.prefix)
    async with stepping(platform) as house, bootstrap.platform(settings) as asked:
        await asked.publish([order(1, VISITOR), order(2, ACCOUNT), order(3, OTHER)])
        await settle(house, asked)
        yield house, asked


async def settle(house: Stepping, asked: Platform) -> None:
    await house.settle()
    await asked.projector.catch_up()


async def answered(house: Stepping, asked: Platform, question: Awaitable[T]) -> T:
    """The answer to who asks before intake and read models go on."""
    answer = asyncio.ensure_future(question)
    while not answer.done():
        await asyncio.wait([answer], timeout=0.05)
        await settle(house, asked)
    return await answer


async def test_who_asks_is_told_in_words_what_cannot_be(platform: KafkaPlatform, tmp_path: Path) -> None:
    async with asking(platform, tmp_path) as (house, asked):
        with pytest.raises(NoSuchAccountError):
            await linking.link(asked, "anonymous:nobody", ACCOUNT)
        linked = await answered(house, asked, linking.link(asked, VISITOR, ACCOUNT, "ada"))
        assert linked == linking.Linked(VISITOR, ACCOUNT, ACCOUNT, changed=True)
        assert not (await linking.link(asked, VISITOR, ACCOUNT)).changed
        with pytest.raises(linking.LinkingError, match="unlink it first"):
            await linking.link(asked, VISITOR, OTHER)
        with pytest.raises(linking.LinkingError, match="both would belong to nobody"):
            await linking.link(asked, ACCOUNT, VISITOR)
        with pytest.raises(LinkedError, match="erase that one, and both are"):
            await erase(asked, VISITOR, "ada")
        assert await linked_to(asked, ACCOUNT) == [VISITOR]
        assert (await answered(house, asked, linking.unlink(asked, VISITOR, "ada"))).pending is None
        with pytest.raises(linking.NotLinkedError):
            await linking.unlink(asked, VISITOR)
        assert {row.account: row.interactions for row in asked.store.select(profile)} == dict.fromkeys(
            (VISITOR, ACCOUNT, OTHER), 1
        )


async def test_who_asks_is_told_what_intake_finds_where_others_have_said_something_first(
    platform: KafkaPlatform, tmp_path: Path
) -> None:
    async with asking(platform, tmp_path) as (house, asked):
        await house.words.publish([link(VISITOR, OTHER)])
        with pytest.raises(linking.LinkingError, match=f"^'{VISITOR}' is linked to '{OTHER}': unlink it first$"):
            await answered(house, asked, linking.link(asked, VISITOR, ACCOUNT))
        await house.words.publish([unlink(VISITOR, OTHER), link(VISITOR, ACCOUNT, said=1)])
        with pytest.raises(linking.LinkingError, match=f"^'{VISITOR}' is not linked to '{OTHER}'"):
            await answered(house, asked, linking.unlink(asked, VISITOR))
        await house.words.publish([unlink(VISITOR, ACCOUNT, said=1), link(VISITOR, OTHER, said=2)])
        await house.settle()  # read at once with what comes next, each would close the ring, and both be taken back
        with pytest.raises(linking.LinkingError, match="in a ring, so intake took it back"):
            await answered(house, asked, linking.link(asked, OTHER, VISITOR))

        waits = await linking.link(asked, ACCOUNT, OTHER, seconds=0.1)
        assert waits.pending is not None, "nobody takes it in"
        await settle(house, asked)
        await asked.waiting.until(waits.pending, [identities], 0)
        assert await linked_to(asked, OTHER) == [VISITOR, ACCOUNT]


async def test_rows_and_decisions_are_those_of_the_embedded_log(platform: KafkaPlatform, tmp_path: Path) -> None:
    async with stepping(platform) as house:
        await house.decide(RULES)
        await house.settle()
        await lived(house)
    store = ViewStore(f"sqlite:///{tmp_path / 'views.db'}")
    try:
        await (await Projector.opened(platform.log, store, PROJECTIONS)).catch_up()
        rows, asked = await lived_embedded(tmp_path / "embedded")
        assert asked, "somebody was to be called"
        assert known(store) == rows
        assert requested(await on_log(platform.log)) == asked
        verifier = Verifier(platform.log, store)
        for model in (timeline, profile, satisfaction, identities):
            assert await verifier.verify(model) is None
    finally:
        store.close()
