"""Whatever comes in while a rule's past is folded ahead, the engines stand as the log says."""

import asyncio
from datetime import timedelta
from random import Random
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from engage.events import codec
from engage.events.catalogue.commerce import OrderDelivered
from engage.events.catalogue.dead_letter import DeadLetterRetried, DeadLetterSkipped
from engage.events.catalogue.rule import RuleDisabled, RuleEnabled
from engage.events.envelope import Event
from engage.log.contract import Token
from engage.log.partitioning import partition_of
from engage.rules.engine import Engine
from engage.rules.mending import consumer_of
from engage.rules.policy import PolicySettings
from engage.rules.rule import FollowUpRequest, Rule, Wake
from engage.services import past_ahead
from engage.services.intake import Stamp
from engage.services.partition_runner import PartitionRunner
from tests.services.test_embedded import AskSettings, House, delivered

ACCOUNTS = ("acc-1", "acc-2", "acc-3", "acc-4")
NAMES = ("one", "two")
ROUNDS = 12


class Counted(Struct):
    count: int = 0


def counting(name: str) -> Rule[Counted, AskSettings]:
    """Counts orders, asks at each and a hundred more half an hour later, and fails at those that are bad."""
    rule = Rule(name, version=1, settings=AskSettings(), state=Counted)

    @rule.on(OrderDelivered)
    def order(state, event, settings):
        if event.data.order_id.startswith("bad"):
            raise LookupError("it cannot be taken")
        state.count += 1
        yield Wake(event.time + timedelta(minutes=30), about="hundred")
        yield FollowUpRequest(what="count", why=f"number {state.count}", about=event.data.order_id, purpose="service")

    @rule.on_wake
    def hundred(state, wake, settings):
        state.count += 100

    return rule


class Chance:
    """One thing after another that people publish and operators say, at random."""

    def __init__(self, house: House, random: Random) -> None:
        self._house = house
        self._random = random
        self._number = 0
        self._failed: list[tuple[Event[Any], Token]] = []

    async def some(self) -> None:
        chosen = self._random.choices([self._publish, self._mend, self._switch, self._pass_time], (3, 2, 1, 1))
        await chosen[0]()

    def _named(self, data, subject):
        self._number += 1
        now = self._house.clock.now
        return codec.new_event(data, id=f"w-{self._number}", source="engage/operators", subject=subject, time=now)

    async def _publish(self) -> None:
        events = []
        for _ in range(self._random.randint(1, 4)):
            self._number += 1
            order = f"{self._random.choice(['bad', 'good', 'good', 'good'])}-{self._number}"
            account = self._random.choice(ACCOUNTS)
            events.append(delivered(order, at=self._house.clock.now, subject=account))
        answers = await self._house.embedded.publish(events)
        of_bad = [(event, answer.token) for event, answer in zip(events, answers, strict=True) if "bad" in event.id]
        self._failed += of_bad

    async def _mend(self) -> None:
        words = []
        for event, token in self._random.sample(self._failed, min(len(self._failed), 3)):
            at: dict[str, Any] = {"partition": token.partition, "offset": token.offset, "event_id": event.id}
            consumer = consumer_of(self._random.choice(NAMES))
            retried = DeadLetterRetried(consumer=consumer, **at)
            skipped = DeadLetterSkipped(consumer=consumer, reason="it is bad", **at)
            words.append(self._named(self._random.choice([retried, skipped]), event.subject))
        await self._house.embedded.publish(words)

    async def _switch(self) -> None:
        partition = partition_of(self._random.choice(ACCOUNTS), self._house.log.partitions)
        kind, name = self._random.choice([RuleDisabled, RuleEnabled]), self._random.choice(NAMES)
        await self._house.embedded.tell([self._named(kind(partition=partition, rule=name), f"partition:{partition}")])

    async def _pass_time(self) -> None:
        self._house.clock.now += timedelta(minutes=self._random.randint(0, 40))
        await self._house.embedded.tick()


def folded_anew(house: House, rules, partition: int) -> Engine:
    """An engine that knows nothing but the log."""
    log, engine = house.log, Engine(partition, rules, PolicySettings(cap=99))

    def past(end):
        return log.scan(partition, end=end)

    runner = PartitionRunner(engine, Stamp(partition), log.end_now(partition), past)
    runner.resume(0, msgspec.msgpack.encode({}), ())
    assert runner.decided() == []
    return engine


def remembered(engine: Engine) -> dict[tuple[str, str], bytes]:
    """All cells as they are stored, whether they are awake or asleep."""
    found = {}
    for account in ACCOUNTS:
        row = engine.cells.row(account)
        for name in NAMES:
            cells = engine.cells.of(name)
            cells.lend(row)
            found[name, account] = cells.encoded(row)
    return found


@pytest.mark.parametrize("seed", range(3))
async def test_who_publishes_and_who_mends_at_once_leave_what_the_log_says(
    tmp_path, seed: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(past_ahead, "BIT", 3)
    random, rules = Random(seed), [counting(name) for name in NAMES]
    house = await House(tmp_path).open(*rules)
    chance = Chance(house, random)
    for _ in range(ROUNDS):
        await asyncio.gather(*(chance.some() for _ in range(random.randint(1, 5))))
    await house.embedded.tick()  # so that nothing is begun and not committed
    for runner in house.embedded._runners:
        expected = folded_anew(house, rules, runner.partition)
        assert remembered(runner.engine) == remembered(expected)
    await house.embedded.close()
    house.log.close()
