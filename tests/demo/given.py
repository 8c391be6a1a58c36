"""What tests of the demo stand on: a small history, rules of their own, and an embedded platform in a folder."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
from msgspec import Struct

from engage import bootstrap
from engage.demo.load import LoadClock, Plan
from engage.demo.staff import HABITS
from engage.events import codec
from engage.events.catalogue.agreements import AgreementSigned
from engage.events.catalogue.commerce import OrderDelivered
from engage.events.catalogue.follow_up import FollowUpCompleted
from engage.log.sqlite import SqliteLog
from engage.relationships.application import Relationships
from engage.rules.policy import PolicySettings
from engage.rules.rule import FollowUpRequest, NoState, Rule, RuleSettings, Wake
from engage.services.access import Access
from engage.services.desk import Desk
from engage.services.edge import Edge
from engage.services.embedded import EmbeddedLog
from engage.services.letters.unread import only_logged
from engage.services.platform import Platform, utc_now
from engage.services.projector import Projector
from engage.services.relay import Relay
from engage.settings import Settings
from engage.store.access import AccessStore
from engage.store.keys import KeyStore, load_master_key
from engage.store.views import ViewStore
from engage.views.projection import Projection

TODAY = date(2026, 3, 10)
NOW = datetime(2026, 3, 10, 14, tzinfo=UTC)
PLAN = Plan(TODAY, NOW, scale=0.01)


def rules():
    """Some that wait, and one that answers what the managers did, so that the load has to come to rest."""
    asks = Rule("post-sale-survey", version=1, settings=RuleSettings(), state=NoState)

    @asks.on(OrderDelivered)
    def delivered(state, event, settings):
        yield Wake(event.time + timedelta(days=3), about=event.data.order_id)

    @asks.on_wake
    def ask(state, wake, settings):
        yield FollowUpRequest(what="survey", why="it came", about=wake.about, purpose="service")

    thanks = Rule("thanks", version=1, settings=RuleSettings(), state=NoState)

    @thanks.on(AgreementSigned, FollowUpCompleted)
    def thank(state, event, settings):
        if isinstance(event.data, AgreementSigned) or event.data.outcome in HABITS[asks.name].outcomes:
            yield FollowUpRequest(what="thank", why="well done", about=event.id, purpose="partnership")

    return (asks, thanks)


class Counted(Struct):
    """How many events an account has, the last one's time beside it."""

    account: str
    events: int = 0
    last: datetime | None = None


counted = Projection("counted", version=1, row=Counted)


@counted.on_any
def count(row, event):
    row.events += 1
    row.last = event.now
    return row


@asynccontextmanager
async def a_platform(home: Path) -> AsyncIterator[tuple[Platform, LoadClock]]:
    await asyncio.to_thread(home.mkdir, exist_ok=True)
    clock = LoadClock(utc_now)
    async with AsyncExitStack() as stack:
        keys = stack.enter_context(closing(KeyStore(f"sqlite:///{home}/keys.db", load_master_key(home / "master.key"))))
        access = stack.enter_context(closing(AccessStore(f"sqlite:///{home}/access.db")))
        store = stack.enter_context(closing(ViewStore(f"sqlite:///{home}/views.db")))
        relationships = stack.enter_context(closing(Relationships(f"sqlite:///{home}/relationships.db")))
        log = stack.enter_context(closing(SqliteLog(home / "log.db")))
        edge = Edge(keys, clock)
        embedded = EmbeddedLog(log, edge, rules(), PolicySettings(), clock)
        await embedded.start()
        settings = Settings(home=str(home))
        webhooks = bootstrap.webhooks(
            settings, log, embedded, store, (counted,), relationships, keys, clock, only_logged
        )
        stack.enter_context(closing(webhooks.store))
        yield (
            Platform(
                log=log,
                edge=edge,
                publisher=embedded,
                embedded=embedded,
                relationships=relationships,
                store=store,
                projector=Projector(log, store, (counted,)),
                desk=Desk(relationships, log, keys),
                relay=Relay(relationships, embedded),
                keyring=keys,
                access=Access(access, clock),
                webhooks=webhooks,
                past=bootstrap.past(settings, log, store, clock),
                letters=bootstrap.letters_of(settings, log, store, (counted,)),
                rules=bootstrap.rules(settings),
                clock=clock,
            ),
            clock,
        )


def told(home: Path) -> list[tuple[object, ...]]:
    """The whole log of a load that is over, without what is sealed, for a sealed text is never the same twice."""
    with closing(SqliteLog(home / "log.db")) as log:
        found: list[tuple[object, ...]] = []
        for partition in range(log.partitions):
            for record in log.scan(partition):
                event = codec.decode(record.value)
                data = msgspec.json.decode(event.data)
                plain = {name: value for name, value in data.items() if not str(value).startswith("sealed:")}
                found.append((partition, record.offset, record.recorded, event.time, event.id, event.type, plain))
        return found
