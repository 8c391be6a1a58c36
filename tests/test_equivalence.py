"""Random histories, delivered late, twice and out of order: however the work is cut up, the result is the same."""

import asyncio
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from engage.events import codec
from engage.events.catalogue.agreements import AgreementRenewed, AgreementSigned
from engage.events.catalogue.commerce import OrderCompleted, OrderDelivered
from engage.events.catalogue.consent import ConsentGiven, ConsentWithdrawn
from engage.events.catalogue.deliveries import DeliveryPromised, DeliveryReceived
from engage.events.catalogue.support import TicketAnswered, TicketOpened, TicketReopened
from engage.events.catalogue.surveys import SurveyAnswered
from engage.events.catalogue.tutorials import TutorialCompleted, TutorialStarted
from engage.events.codec import new_event
from engage.log.partitioning import partition_of
from engage.log.sqlite import SqliteLog
from engage.rules.decisions import TYPES as DECISIONS
from engage.rules.engine import Engine
from engage.rules.policy import PolicySettings
from engage.services.edge import Edge
from engage.services.embedded import EmbeddedLog
from engage.services.intake import Stamp
from engage.services.partition_runner import PartitionRunner
from engage.services.projector import Projector
from engage.services.records import read_event
from engage.store.families import families
from engage.store.views import ViewStore
from engage.testing.keyring import MemoryKeyring
from engage.views.folding import Folding
from projections import PROJECTIONS
from streams import RULES

START = datetime(2026, 1, 1, tzinfo=UTC)
ACCOUNTS = [f"acc-{number}" for number in range(4)]
DAYS = 200

things = st.sampled_from(["a", "b"])
data = st.one_of(
    st.builds(OrderCompleted, order_id=things, total=st.sampled_from([5.0, 60.0])),
    st.builds(OrderDelivered, order_id=things),
    st.builds(SurveyAnswered, survey_id=things, kind=st.just("csat"), score=st.integers(1, 5), order_id=things),
    st.builds(TicketOpened, ticket_id=things, priority=st.sampled_from(["low", "urgent"])),
    st.builds(TicketAnswered, ticket_id=things),
    st.builds(TicketReopened, ticket_id=things),
    st.builds(TutorialStarted, tutorial_id=things),
    st.builds(TutorialCompleted, tutorial_id=things),
    st.builds(ConsentGiven, channel=st.just("email"), purpose=st.just("marketing")),
    st.builds(ConsentWithdrawn, channel=st.sampled_from(["email", "*"]), purpose=st.just("marketing")),
    st.builds(
        AgreementSigned,
        agreement_id=things,
        title=st.just("terms"),
        starts=st.just(START),
        ends=st.sampled_from([START + timedelta(days=120), START + timedelta(days=190)]),
    ),
    st.builds(AgreementRenewed, agreement_id=things, ends=st.just(START + timedelta(days=400))),
    st.builds(DeliveryPromised, delivery_id=things, promised=st.just(START + timedelta(days=20))),
    st.builds(
        DeliveryReceived,
        delivery_id=things,
        promised=st.just(START + timedelta(days=20)),
        received=st.sampled_from([START + timedelta(days=19), START + timedelta(days=60)]),
        units_ordered=st.just(5),
        units_received=st.just(5),
    ),
)


@st.composite
def deliveries(draw, of=data):
    """Batches of events in the order in which they reach us, with the moment of each batch; some come twice."""
    happenings = st.tuples(
        of,
        st.sampled_from(ACCOUNTS),
        st.floats(0, DAYS),
        st.sampled_from([0, 0, 0, 0.01, 3, 40]),  # days until we hear of it
    )
    told = draw(st.lists(happenings, min_size=1, max_size=40))
    events = [
        (
            day + late,
            number,
            new_event(each, id=str(number), source="test", subject=account, time=START + timedelta(days=day)),
        )
        for number, (each, account, day, late) in enumerate(told)
    ]
    events += [
        (day + draw(st.sampled_from([0, 9])), number, event) for day, number, event in events if draw(st.booleans())
    ]
    events.sort(key=lambda each: each[:2])
    batches, batch = [], []
    for day, _, event in events:
        batch.append(event)
        if draw(st.booleans()):
            batches.append((START + timedelta(days=day), batch))
            batch = []
    return [*batches, (START + timedelta(days=DAYS + 60), batch)]


class House:
    """An embedded log with all rules and read models in a folder, those in a database ``views`` where one is named."""

    def __init__(self, folder, views=None):
        self.now = START
        self.keyring = MemoryKeyring()
        self.log = SqliteLog(Path(folder) / "log.db", partitions=2)
        self.store = ViewStore(views or f"sqlite:///{folder}/views.db")
        self.projector = Projector(self.log, self.store, PROJECTIONS)

    async def open(self):
        """An owner comes, or comes again."""
        self.embedded = EmbeddedLog(self.log, Edge(self.keyring, self.clock), RULES, PolicySettings(), self.clock)
        await self.embedded.start()

    def clock(self):
        return self.now

    def records(self, partition):
        return list(self.log.scan(partition))

    def rows(self):
        return {model.name: {row[0]: row for row in self._read(model)} for model in PROJECTIONS}

    def _read(self, model):
        with self.store.snapshot(model) as (_, rows):
            return [tuple(getattr(row, name) for name in row.__struct_fields__) for row in rows]


@contextmanager
def house(views=None):
    with tempfile.TemporaryDirectory() as folder:
        made = House(folder, views)
        yield made
        made.log.close()
        made.store.close()


async def live(made, batches, turns):
    """Publish as it comes, with ticks, restarts and projector turns in between, as ``turns`` says."""
    await made.open()
    for (moment, batch), turn in zip(batches, turns, strict=True):
        made.now = max(made.now, moment)
        if turn % 2:
            await made.embedded.tick()
        await made.embedded.publish(batch)
        if turn % 3 == 0:
            await made.open()
        for _ in range(turn % 4):
            await made.projector.step(limit=1 + turn)
    await made.embedded.tick()
    await made.projector.catch_up()


def one_pass(made):
    """Rows of every read model by a plain fold of the whole log, partition after partition."""
    rows = {model.name: {} for model in PROJECTIONS}
    for partition in range(made.log.partitions):
        events = [read_event(record) for record in made.records(partition)]
        for folded in Folding(PROJECTIONS).fold(events, lambda model, keys: {}):
            for key, row in folded.rows.items():
                if row is not None:
                    rows[folded.model.name][key] = tuple(getattr(row, name) for name in row.__struct_fields__)
    return rows


def decided(made):
    """The decisions on the log, as typed data by id, in the order of the log."""
    return [
        (event.id, codec.open_data(event).data)
        for partition in range(made.log.partitions)
        for event in map(read_event, made.records(partition))
        if event.type in DECISIONS and not event.is_copy
    ]


def decided_by_a_fresh_engine(made):
    """What a new engine decides when it folds the log from its start, without looking at the decisions on it."""
    found = []
    for partition in range(made.log.partitions):
        records = made.records(partition)
        runner = PartitionRunner(
            Engine(partition, RULES, PolicySettings()), Stamp(partition), 0, lambda end, records=records: records[:end]
        )
        found += [(event.id, event.data) for event in runner.fold(records)]
    return found


@given(deliveries(), st.data())
@settings(max_examples=25)
def test_views_and_decisions_are_the_same_however_the_work_is_cut_up(batches, chance):
    turns = chance.draw(st.lists(st.integers(0, 7), min_size=len(batches), max_size=len(batches)))
    with house() as made:
        asyncio.run(live(made, batches, turns))
        incremental, decisions = made.rows(), decided(made)
        assert not any(made.store.parked(model) for model in PROJECTIONS)
        assert incremental == one_pass(made)
        assert decisions == decided_by_a_fresh_engine(made)
        assert all(partition_of(event.subject, 2) == p for p in range(2) for event in accounts_of(made, p))

        async def again():
            for partition in range(made.log.partitions):
                made.log.forget_engine(partition)
            await made.open()
            for family in families(PROJECTIONS):  # a rebuild proves every table of the family by a fold in memory
                assert (await made.projector.rebuild(family[0])).differing == 0

        asyncio.run(again())
        assert decided(made) == decisions
        assert made.rows() == incremental


@given(deliveries())
@settings(max_examples=25)
def test_every_event_is_counted_once_and_time_never_goes_back(batches):
    with house() as made:
        asyncio.run(live(made, batches, [3] * len(batches)))
        sent = {event.identity for _, batch in batches for event in batch}
        stored = [event for partition in range(2) for event in accounts_of(made, partition) if event.source == "test"]
        assert sorted(event.identity for event in stored) == sorted(sent)
        for partition in range(2):
            moments = [record.recorded for record in made.records(partition)]
            assert moments == sorted(moments)


def accounts_of(made, partition):
    """The account events of a partition."""
    events = map(read_event, made.records(partition))
    return [event for event in events if not event.subject.startswith("partition:")]
