"""A rule's past is folded in bits: whoever publishes is taken in between, and the rule knows of that too."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from msgspec import Struct

from engage.events import codec
from engage.events.catalogue.commerce import OrderDelivered
from engage.events.catalogue.dead_letter import DeadLetterRetried
from engage.events.catalogue.rule import RuleDisabled, RuleEnabled
from engage.log.contract import Taken
from engage.log.partitioning import partition_of
from engage.rules.mending import consumer_of
from engage.rules.rule import FollowUpRequest, Rule
from engage.services.past_ahead import BIT
from tests.services.test_embedded import START, AskSettings, House, delivered

ORDERS = 5 * BIT


class Counted(Struct):
    count: int = 0


class Counting:
    """A rule that counts orders and asks at each; ``heard`` how many events it was handed since somebody looked."""

    def __init__(self, version: int = 1) -> None:
        self.heard = 0
        self.broken = False
        self.rule = Rule("counting", version=version, settings=AskSettings(), state=Counted)

        @self.rule.on(OrderDelivered)
        def order(state, event, settings):
            self.heard += 1
            if self.broken:
                raise LookupError("it cannot be taken")
            state.count += 1
            yield FollowUpRequest(
                what="count", why=f"number {state.count}", about=event.data.order_id, purpose="service"
            )


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
async def house(tmp_path, counting: Counting):
    made = await House(tmp_path).open(counting.rule)
    await made.embedded.publish([delivered(f"o-{number}") for number in range(ORDERS)])
    counting.heard = 0
    yield made
    await made.embedded.close()
    made.log.close()


async def enabling(house: House, counting: Counting) -> None:
    partition = partition_of("acc-1", house.log.partitions)
    for data in (RuleDisabled(partition=partition, rule="counting"), RuleEnabled(partition=partition, rule="counting")):
        await house.embedded.tell([said(data, f"partition:{partition}")])


async def retrying(house: House, counting: Counting) -> None:
    counting.broken = True
    [taken] = await house.embedded.publish([delivered("o-bad")])
    counting.broken = False
    at = {"partition": taken.token.partition, "offset": taken.token.offset, "event_id": "e-o-bad"}
    [answer] = await house.embedded.publish([said(DeadLetterRetried(consumer=consumer_of("counting"), **at), "acc-1")])
    assert isinstance(answer, Taken)


def said(data, subject):
    return codec.new_event(data, id=type(data).__name__, source="engage/operators", subject=subject, time=START)


@pytest.mark.parametrize("going_on", [enabling, retrying])
async def test_the_loop_turns_between_bits_of_the_past(house: House, counting: Counting, going_on):
    task = asyncio.create_task(going_on(house, counting))
    total = most = 0
    while not task.done():
        await asyncio.sleep(0)
        total, most, counting.heard = total + counting.heard, max(most, counting.heard), 0
    await task
    assert total >= ORDERS
    assert most <= BIT


async def test_the_loop_turns_between_bits_of_the_past_of_a_rule_that_changed(house: House):
    changed = Counting(version=2)
    await house.open(changed.rule)
    changed.heard = 0
    task = asyncio.create_task(house.embedded.tick())
    total = most = 0
    while not task.done():
        await asyncio.sleep(0)
        total, most, changed.heard = total + changed.heard, max(most, changed.heard), 0
    await task
    assert total == ORDERS
    assert most <= BIT


async def test_who_publishes_while_a_changed_rule_takes_its_past_is_answered_and_the_rule_asks_from_there_on(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    await house.open(Counting(version=2).rule)
    before = len(house.events("follow_up.requested"))
    activating = await halfway(house, monkeypatch, house.embedded.tick)
    assert len(house.events("follow_up.requested")) == before
    await activating()
    await house.embedded.publish([delivered("o-after")])
    asked = [codec.open_data(event).data for event in house.events("follow_up.requested")[before:]]
    assert [(one.rule_version, one.why) for one in asked] == [(2, f"number {ORDERS + 2}")]


async def halfway(house: House, monkeypatch: pytest.MonkeyPatch, going_on: Callable[[], Coroutine[Any, Any, object]]):
    """Publish when half of the past is folded; what is returned lets it be folded whole."""
    reached, answered, read = asyncio.Event(), asyncio.Event(), house.log.read

    async def reading(partition, position, limit):
        if position >= ORDERS // 2 and not answered.is_set():
            reached.set()
            await answered.wait()
        return await read(partition, position, limit)

    monkeypatch.setattr(house.log, "read", reading)
    task = asyncio.create_task(going_on())
    await asyncio.wait_for(reached.wait(), 20)
    [answer] = await house.embedded.publish([delivered("o-meanwhile")])
    assert isinstance(answer, Taken)

    async def whole() -> None:
        answered.set()
        await task

    return whole


@pytest.mark.parametrize("going_on", [enabling, retrying])
async def test_who_publishes_meanwhile_is_answered_and_heard_in_its_place(
    house: House, counting: Counting, going_on, monkeypatch: pytest.MonkeyPatch
):
    await (await halfway(house, monkeypatch, lambda: going_on(house, counting)))()
    await house.embedded.publish([delivered("o-after")])
    asked = [codec.open_data(event).data.why for event in house.events("follow_up.requested")]
    orders = ORDERS + (going_on is retrying) + 2
    assert asked[-1] == f"number {orders}"


async def test_whoever_publishes_without_end_does_not_keep_an_operator_waiting(house: House, counting: Counting):
    told = asyncio.Event()

    async def publishing(publisher: int) -> int:
        published = 0
        while not told.is_set():
            names = [f"o-{publisher}-{number}" for number in range(published, published + 3 * BIT)]
            await house.embedded.publish([delivered(name) for name in names])
            published += len(names)
        return published

    publishers = [asyncio.create_task(publishing(number)) for number in range(3)]
    try:
        await asyncio.wait_for(enabling(house, counting), 20)
    finally:
        told.set()
        published = ORDERS + sum(await asyncio.gather(*publishers))
    await house.embedded.publish([delivered("o-after")])
    asked = [codec.open_data(event).data.why for event in house.events("follow_up.requested")]
    assert asked[-1] == f"number {published + 1}"
