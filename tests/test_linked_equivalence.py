"""Random histories in which visitors turn out to be accounts, or not after all: counted once, and always the same."""

import asyncio
from collections import Counter
from types import SimpleNamespace

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from engage.events.catalogue.advertising import AdvertClicked, AdvertConverted, CampaignSpendReported
from engage.events.catalogue.commerce import OrderCompleted, OrderRefunded, Product
from engage.events.catalogue.newsletters import NewsletterOpened
from engage.events.catalogue.support import ChatEnded, TicketEscalated, TicketResolved
from engage.events.catalogue.surveys import SurveyAnswered, SurveySent
from engage.events.catalogue.training import TrainingCompleted
from engage.services.linking import LinkingError, NotLinkedError, link_known, unlink
from engage.services.retelling import Mover
from engage.store.families import families
from projections import PROJECTIONS
from projections.shared.timeline import timeline
from tests.servers import fresh_database
from tests.test_equivalence import (
    ACCOUNTS,
    data,
    decided,
    decided_by_a_fresh_engine,
    deliveries,
    house,
    one_pass,
    things,
)

SUMS = ("support", "satisfaction", "campaigns", "retention", "cross_sell", "segment_sizes", "market_trends")
"""What adds up what was said of accounts, and nothing of what was decided but for the campaigns that rules are."""

once = settings(max_examples=8, phases=[Phase.generate])
"""To make a failing history smaller takes minutes, and says little more."""

accounts = st.sampled_from(ACCOUNTS)
words = st.one_of(
    st.tuples(st.just("link"), accounts, accounts),
    st.tuples(st.just("unlink"), accounts, st.none()),
    st.tuples(st.just("move"), st.integers(1, 5), st.none()),
    st.tuples(st.just("crash"), st.none(), st.none()),
    st.tuples(st.just("project"), st.integers(1, 9), st.none()),
)
products = st.builds(Product, product_id=things, category=things, price=st.just(2.5), quantity=st.integers(1, 2))
happenings = st.one_of(
    data,
    st.builds(
        OrderCompleted, order_id=things, total=st.sampled_from([5.0, 60.0]), products=st.tuples(products, products)
    ),
    st.builds(OrderRefunded, order_id=things, total=st.just(5.0)),
    st.builds(TicketResolved, ticket_id=things),
    st.builds(TicketEscalated, ticket_id=things, priority=st.just("high")),
    st.builds(ChatEnded, chat_id=things, wait=st.sampled_from([None, 5.0, 500.0]), resolved=st.booleans()),
    st.builds(SurveySent, survey_id=things, kind=st.just("nps")),
    st.builds(SurveyAnswered, survey_id=things, kind=st.just("nps"), score=st.integers(0, 10)),
    st.builds(AdvertClicked, campaign=things, cost=st.just(0.5)),
    st.builds(AdvertConverted, campaign=things, order_id=things, value=st.just(3.0)),
    st.builds(CampaignSpendReported, campaign=things, spend=st.just(9.0)),
    st.builds(NewsletterOpened, newsletter_id=things, campaign=things),
    st.builds(TrainingCompleted, training_id=things),
)
"""What every one of the ``SUMS`` adds up, too."""


class Linking:
    """A house, and who is linked to whom in a dictionary of its own."""

    def __init__(self, made):
        self.made = made
        self.direct = {}

    async def open(self):
        await self.made.open()
        self.mover = Mover(self.made.log, self.made.embedded, self.made.store)
        self.platform = SimpleNamespace(
            embedded=self.made.embedded, mover=self.mover, clock=self.made.clock, publish=self.made.embedded.publish
        )

    def home(self, account):
        while account in self.direct:
            account = self.direct[account]
        return account

    async def do(self, word, one, other):
        if word == "link":
            refused = one in self.direct or self.home(other) == one
            try:
                done = await link_known(self.platform, one, other)
            except LinkingError:
                assert refused
            else:
                if done.changed:
                    self.direct[one] = other
                else:
                    assert self.home(one) == self.home(other)
        elif word == "unlink":
            try:
                await unlink(self.platform, one)
            except NotLinkedError:
                assert one not in self.direct
            else:
                del self.direct[one]
        elif word == "move":
            await self.mover.step(one)
        elif word == "crash":
            await self.open()
        else:
            await self.made.projector.step(limit=one)


async def live(made, batches, turns):
    linking = Linking(made)
    await linking.open()
    for (moment, batch), turn in zip(batches, turns, strict=True):
        made.now = max(made.now, moment)
        await made.embedded.publish(batch)
        for word in turn:
            await linking.do(*word)
    await linking.mover.settle()
    await made.embedded.tick()
    await made.projector.catch_up()
    return linking


@given(deliveries(), st.data())
@once
def test_linked_or_parted_every_event_belongs_to_one_and_every_fold_agrees(batches, chance):
    every_fold_agrees(batches, chance)


def test_so_it_is_on_postgresql(postgres):
    @given(deliveries(), st.data())
    @settings(once, max_examples=2)
    def agrees(batches, chance):
        with fresh_database(postgres) as url:
            every_fold_agrees(batches, chance, url)

    agrees()


def every_fold_agrees(batches, chance, views=None):
    turns = [chance.draw(st.lists(words, max_size=4)) for _ in batches]
    with house(views) as made:
        linking = asyncio.run(live(made, batches, turns))
        assert not any(made.store.parked(model) for model in PROJECTIONS)
        incremental = made.rows()
        assert incremental == one_pass(made)
        assert decided(made) == decided_by_a_fresh_engine(made)

        said = {event.identity[1:]: event.subject for _, batch in batches for event in batch}
        told = Counter((row.account, row.source, row.event_id) for row in made.store.select(timeline))
        ours = {(account, *identity): 1 for identity, home in said.items() for account in [linking.home(home)]}
        assert {key: count for key, count in told.items() if key[1] == "test"} == ours

        async def again():
            for partition in range(made.log.partitions):
                made.log.forget_engine(partition)
            await linking.open()
            for family in families(PROJECTIONS):
                if family[0].name in ("tickets", "timeline", "account_health"):
                    assert (await made.projector.rebuild(family[0])).differing == 0

        decisions = decided(made)
        asyncio.run(again())
        assert decided(made) == decisions
        assert made.rows() == incremental
        for account in ACCOUNTS:
            assert made.embedded.links.home(account) == linking.home(account)


@given(deliveries(happenings), st.data())
@once
def test_who_is_unlinked_again_knows_what_it_would_know_had_it_never_been_linked(batches, chance):
    visitor, account = "acc-0", "acc-1"
    at = chance.draw(st.integers(0, len(batches) - 1))
    until = chance.draw(st.integers(at + 1, len(batches)))
    moved = chance.draw(st.integers(0, 3))

    async def lived(made, linked):
        linking = Linking(made)
        await linking.open()
        for number, (moment, batch) in enumerate([*batches, (made.now, [])]):
            made.now = max(made.now, moment)
            if linked and number == at:
                await link_known(linking.platform, visitor, account)
                if moved:
                    await linking.mover.step(moved)
            if linked and number == until:
                await unlink(linking.platform, visitor)
            await made.embedded.publish(batch)
        # To part them says what time it is, and so what is late by then: where nobody was linked it must be as late.
        await made.embedded.tick(views_due=dict.fromkeys(range(made.log.partitions), made.now))
        await made.projector.catch_up()
        return {name: summed(made, name) for name in SUMS}, Counter(
            (row.account, row.source, row.event_id) for row in made.store.select(timeline) if row.source == "test"
        )

    with house() as one, house() as other:
        assert asyncio.run(lived(one, True)) == asyncio.run(lived(other, False))


def summed(made, name):
    """What readers get of a read model across accounts, without the campaigns that rules are."""
    merged = made.store.merged(next(model for model in PROJECTIONS if model.name == name))
    return sorted(repr(one) for one in merged if getattr(one, "kind", None) != "rule")
