"""What a caller may do and how they are named; nothing here asks for a key."""

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from engage.events.envelope import Event
from engage.events.validation import Refusal
from engage.log.contract import Answer, Taken, Token
from engage.services.callers import ANYBODY, Caller, publish_as
from tests.http.given import order

SHOP = Caller("shop", frozenset({"publish"}), ("urn:shop", "urn:shop/returns"))


async def take(events: Sequence[bytes | Event[Raw]]) -> list[Answer]:
    return [Taken(Token(0, number)) for number, _ in enumerate(events)]


def event(source: str) -> bytes:
    return msgspec.json.encode(order(source=source))


async def test_what_a_key_may_not_say_is_refused_and_sinks_nothing_else():
    events = [event("urn:shop"), event("urn:bank"), b"no event", event("urn:shop/returns"), event("urn:shop/")]
    answers = await publish_as(SHOP, events, take)
    assert [isinstance(answer, Taken) for answer in answers] == [True, False, True, True, False]
    assert answers[3] == Taken(Token(0, 2))
    refused = answers[1]
    assert isinstance(refused, Refusal)
    assert (refused.reason, refused.faults[0].pointer) == ("source", "/source")
    assert "'urn:bank'" in str(refused)
    assert "'urn:shop'" in str(refused)


async def test_a_source_that_is_said_twice_is_the_one_that_the_log_would_hold():
    twice = event("urn:shop").replace(b'"id"', b'"source":"urn:bank","id"', 1)
    hidden = event("urn:bank").replace(b'"id"', b'"source":"urn:shop","id"', 1)
    assert [type(answer) for answer in await publish_as(SHOP, [twice, hidden], take)] == [Taken, Refusal]


async def test_who_is_bound_to_no_source_may_publish_as_any():
    assert [type(one) for one in await publish_as(Caller("etl"), [event("a"), event("b")], take)] == [Taken, Taken]


def test_a_proven_name_stands_before_the_one_it_acts_for():
    console = Caller("console")
    assert console.actor(None) == console.actor("console") == "console"
    assert console.actor("ada") == "console/ada"
    assert Caller("shop").actor("console/ada") == "shop/console/ada"


def test_where_nobody_proves_anything_a_name_is_what_was_said():
    assert ANYBODY.actor("ada") == "ada"
    assert ANYBODY.actor(None) is None
