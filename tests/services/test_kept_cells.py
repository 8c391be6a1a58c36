"""However cells were written down, a share of the accounts at a time, a crash at any moment changes nothing."""

import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from engage.events import codec
from engage.events.catalogue.commerce import OrderDelivered
from engage.events.catalogue.dead_letter import DeadLetterRetried, DeadLetterSkipped
from engage.events.catalogue.identity import IdentityLinked
from engage.events.linking import SOURCE
from engage.events.shares import SHARES
from engage.log.partitioning import partition_of
from engage.log.sqlite import PARTITIONS
from engage.rules.mending import consumer_of
from engage.rules.rule import FollowUpRequest, Rule, Wake
from engage.services import kept_cells
from engage.services.retelling import Mover
from tests.services.test_embedded import Asked, AskSettings, House, ask_rule, delivered


def failing_at_times() -> Rule[Asked, AskSettings]:
    """Fails at one order in seven, and when it is woken at one count in eleven."""
    rule = Rule("failing", version=1, settings=AskSettings(), state=Asked)

    @rule.on(OrderDelivered)
    def order(state, event, settings):
        number = int(event.data.order_id.removeprefix("o-"))
        if number % 7 == 3:
            raise LookupError("it cannot be taken")
        state.asked += 1
        yield Wake(event.time + timedelta(hours=number % 5 + 1), about=str(number % 3))

    @rule.on_wake
    def woken(state, wake, settings):
        if state.asked % 11 == 10:
            raise LookupError("it cannot be woken")
        if state.asked % 2:
            yield Wake(wake.due + timedelta(hours=7), about="again")
            state.asked += 1
        yield FollowUpRequest(what="count", why=f"number {state.asked}", about=wake.about, purpose="service")

    return rule


RULES = (ask_rule(), failing_at_times())


class Story:
    """A house, and what may happen in it."""

    def __init__(self, folder: Path) -> None:
        self.house = House(folder)
        self._number = 0

    async def opened(self) -> "Story":
        await self.house.open(*RULES)
        return self

    def _named(self, data: Any, account: str, source: str) -> Any:
        self._number += 1
        now = self.house.clock.now
        return codec.new_event(data, id=f"w-{self._number}", source=source, subject=account, time=now)

    async def orders(self, accounts: list[str], hours: int) -> None:
        self.house.clock.now += timedelta(hours=hours)
        events = []
        for account in accounts:
            at = self.house.clock.now - timedelta(hours=self._number % 3)
            events.append(delivered(f"o-{self._number}", subject=account, at=at))
            self._number += 1
        await self.house.embedded.publish(events)

    async def quiet(self, accounts: list[str], hours: int) -> None:
        """Somebody comes in a quiet moment, when some shares are written down and some are not."""
        await asyncio.gather(self.house.embedded.keep(), self.orders(accounts, hours))

    async def time(self, hours: int) -> None:
        self.house.clock.now += timedelta(hours=hours)
        await self.house.embedded.tick()

    async def link(self, visitor: str, account: str) -> None:
        if visitor != account:
            await self.house.embedded.publish([self._named(IdentityLinked(account=account), visitor, SOURCE)])

    async def move(self, records: int) -> None:
        await Mover(self.house.log, self.house.embedded).step(records)

    async def word(self, account: str, skipped: bool) -> None:
        at: dict[str, Any] = {"consumer": consumer_of("failing"), "partition": 0, "offset": 0}
        word = DeadLetterSkipped(reason="it is bad", **at) if skipped else DeadLetterRetried(**at)
        await self.house.embedded.publish([self._named(word, account, "engage/operators")])

    async def crash(self) -> None:
        """What is not on the disk is lost, and nothing is said that was not said before."""
        before = len(self.house.events()), self.house.log.letters()
        await self.house.open(*RULES)
        assert (len(self.house.events()), self.house.log.letters()) == before

    async def standing(self) -> list[Any]:
        """How the engines stand when all is written down."""
        await self.house.embedded.keep()
        return [(one.position, one.basis, sorted(one.cells)) for one in self.house.engine_states()]


NAMES = [name for name in map("acc-{}".format, range(32)) if partition_of(name, PARTITIONS) == 0]
"""Of one partition: the more happens there, the more is written down."""

accounts = st.sampled_from(NAMES)
hours = st.integers(0, 30)
some = st.lists(accounts, min_size=1, max_size=6)
orders = st.tuples(st.just("orders"), some, hours)
happenings = st.one_of(
    orders,
    orders,
    st.tuples(st.just("quiet"), some, hours),
    st.tuples(st.just("time"), hours),
    st.tuples(st.just("link"), accounts, accounts),
    st.tuples(st.just("move"), st.integers(1, 3)),
    st.tuples(st.just("word"), accounts, st.booleans()),
    st.tuples(st.just("crash")),
)


async def told(folder: Path, story: list[tuple[Any, ...]]) -> None:
    house = (it := await Story(folder).opened()).house
    for what, *details in [*story, ("crash",)]:
        await getattr(it, what)(*details)
    stood, due = await it.standing(), house.embedded.next_due()
    await house.lose_engines_and_open(*RULES)
    assert (await it.standing(), house.embedded.next_due()) == (stood, due)
    identities = [event.identity for event in house.events() if not event.is_copy]
    assert len(set(identities)) == len(identities)
    await house.embedded.close()
    house.log.close()


@settings(max_examples=settings().max_examples // 2, phases=set(Phase) - {Phase.shrink})  # which takes minutes
@given(st.lists(happenings, min_size=10, max_size=30), st.sampled_from([SHARES, 2 * SHARES, 4 * SHARES]))
def test_whatever_is_written_down_when_engines_stand_as_a_fold_of_the_whole_log(story, every):
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(kept_cells, "KEEP_EVERY", every)
        asyncio.run(told(Path(folder), story))
