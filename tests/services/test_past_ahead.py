"""A rule's past is folded in bits: whoever publishes is taken in between, and the rule knows of that too."""

import asyncio

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

    def __init__(self) -> None:
        self.heard = 0
        self.broken = False
        self.rule = Rule("counting", version=1, settings=AskSettings(), state=Counted)

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


@pytest.mark.parametrize("going_on", [enabling, retrying])
async def test_who_publishes_meanwhile_is_answered_and_heard_in_its_place(
    house: House, counting: Counting, going_on, monkeypatch: pytest.MonkeyPatch
):
    halfway, answered, read = asyncio.Event(), asyncio.Event(), house.log.read

    async def reading(partition, position, limit):
        if position >= ORDERS // 2 and not answered.is_set():
            halfway.set()
            await answered.wait()
        return await read(partition, position, limit)

    monkeypatch.setattr(house.log, "read", reading)
    task = asyncio.create_task(going_on(house, counting))
    await asyncio.wait_for(halfway.wait(), 20)
    [answer] = await house.embedded.publish([delivered("o-meanwhile")])
    assert isinstance(answer, Taken)
    answered.set()
    await task
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
