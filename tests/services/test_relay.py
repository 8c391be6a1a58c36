"""The relay: what was recorded is on the log once, in order and whole, whatever breaks between the two."""

from contextlib import closing
from datetime import timedelta

import pytest
from msgspec import Raw

from engage.events import codec
from engage.events.envelope import Event
from engage.events.validation import check_event
from engage.relationships.aggregate import RELAY, SOURCE, published_id
from engage.relationships.application import Relationships
from engage.relationships.commands import Assign, Complete
from engage.services.desk import Desk
from engage.services.relay import Relay, RelayRefusedError
from tests.relationships.given import (  # noqa: F401 - fixtures
    ASKED,
    FileLog,
    Keys,
    an_id,
    asked,
    either_backend,
    empty_store,
    file_log,
)

LATER = ASKED + timedelta(hours=1)
MANY = range(8)


@pytest.fixture(autouse=True)
async def past(store: Relationships, log: FileLog) -> None:
    """Eight follow-ups, opened, then assigned, then completed with a note."""
    await log.publish([asked(number) for number in MANY])
    desk = Desk(store, log, Keys())
    await desk.step(100)
    desk.do([Assign(id=an_id(number), actor="anna", at=LATER, assignee="ben") for number in MANY])
    desk.do([Complete(id=an_id(number), actor="ben", at=LATER, outcome="reached", note="was glad") for number in MANY])


def relayed(log: FileLog) -> list[Event[Raw]]:
    return [event for event in log.events if event.source == SOURCE]


def ids_in_order(store: Relationships) -> list[str]:
    return [published_id(event.originator_id, event.originator_version) for _, event in store.notifications(0, 1_000)]


class Witness:
    """A publisher that notes the order in which events first came, and breaks off after ``good`` calls."""

    def __init__(self, log: FileLog, good: int = 1_000) -> None:
        self._log = log
        self._good = good
        self.first_seen: dict[str, None] = {}

    async def publish(self, events):
        answers = await self._log.publish(events)
        self.first_seen.update(dict.fromkeys(event.id for event in events))
        self._good -= 1
        if self._good < 0:
            raise ConnectionError("the answer was lost")
        return answers


async def test_everything_recorded_comes_to_the_log_in_order_and_once(store: Relationships, log: FileLog):
    witness = Witness(log)
    relay = Relay(store, witness)
    assert [await relay.step(10) for _ in range(4)] == [10, 10, 4, 0]
    assert list(witness.first_seen) == ids_in_order(store)
    assert sorted(event.id for event in relayed(log)) == sorted(ids_in_order(store))


async def test_an_event_on_the_log_says_who_when_and_of_which_follow_up(store: Relationships, log: FileLog):
    await Relay(store, log).step(100)
    event = next(
        event for event in relayed(log) if event.subject == "customer-3" and event.type == "follow_up.assigned"
    )
    assert (event.actor, event.time, event.causationid) == ("anna", LATER, str(an_id(3)))
    data = codec.open_data(event).data
    assert (data.follow_up_id, data.assignee) == (str(an_id(3)), "ben")


async def test_what_is_relayed_may_enter_like_any_other_event(store: Relationships, log: FileLog):
    await Relay(store, log).step(100)
    assert {type(check_event(event, LATER)) for event in relayed(log)} == {Event}


async def test_a_relay_that_dies_after_publishing_publishes_again_and_the_log_counts_once(
    store: Relationships, log: FileLog, url: str
):
    dying = Witness(log, good=1)
    relay = Relay(store, dying)
    await relay.step(7)
    with pytest.raises(ConnectionError):
        await relay.step(7)
    with closing(Relationships(url)) as again:
        witness = Witness(log)
        while await Relay(again, witness).step(7):
            pass
    assert next(iter(witness.first_seen)) == ids_in_order(store)[7]
    assert sorted(event.id for event in relayed(log)) == sorted(ids_in_order(store))


async def test_a_relay_that_wakes_late_does_not_turn_the_position_back(store: Relationships, log: FileLog, url: str):
    end = store.store.max_notification_id()
    with closing(Relationships(url)) as other:

        class Late(Witness):
            async def publish(self, events):
                answers = await super().publish(events)
                while await Relay(store, log).step(100):
                    pass
                return answers

        assert await Relay(other, Late(log)).step(3) == 3
    assert store.position(RELAY) == end
    assert len(relayed(log)) == 3 * len(MANY)


async def test_a_refused_event_stops_the_relay_there_and_it_goes_on_when_it_is_taken(
    store: Relationships, log: FileLog
):
    log.refused = {"follow_up.assigned"}
    relay = Relay(store, log)
    for _ in range(2):
        with pytest.raises(RelayRefusedError, match=r"refused version 2 of .*: /data: is not taken here"):
            await relay.step(100)
    assert store.position(RELAY) == store.notifications(0, 100)[len(MANY) - 1][0]
    log.refused = set()
    while await relay.step(100):
        pass
    assert sorted(event.id for event in relayed(log)) == sorted(ids_in_order(store))


async def test_events_recorded_later_are_relayed_later(store: Relationships, log: FileLog):
    relay = Relay(store, log)
    while await relay.step(100):
        pass
    await log.publish([asked(100)])
    await Desk(store, log, Keys()).step(100)
    assert await relay.step(100) == 1
    assert [event.type for event in relayed(log) if event.subject == "customer-100"] == ["follow_up.opened"]
