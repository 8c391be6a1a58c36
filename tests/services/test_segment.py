"""Segment messages become events of the catalogue where there is a type, and unknown events where there is none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engage.events.validation import Fault, Refusal, check
from engage.services.segment import to_events
from tests.services.ledger import NOW


def message(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "messageId": "m-1", "userId": "u-1", "timestamp": "2026-03-01T10:00:00.000Z"} | fields


def converted(shape: dict[str, Any]) -> dict[str, Any]:
    [made] = to_events(shape)
    assert isinstance(made, bytes), made
    assert not isinstance(check(made, NOW), Refusal), check(made, NOW)
    event: dict[str, Any] = msgspec.json.decode(made)
    return event


def fault(shape: dict[str, Any]) -> str:
    [made] = to_events(shape)
    assert isinstance(made, Fault)
    return f"{made.pointer}: {made.message}"


def test_a_tracked_order_is_an_order_completed() -> None:
    order = {"order_id": "o-1", "total": 25, "currency": "USD", "products": [{"product_id": "p", "category": ""}]}
    assert converted(message("track", event="Order Completed", properties=order | {"coupon": "", "tax": None})) == {
        "specversion": "1.0",
        "id": "m-1",
        "source": "urn:segment",
        "type": "Order Completed",
        "subject": "u-1",
        "time": "2026-03-01T10:00:00.000Z",
        "data": order | {"products": [{"product_id": "p"}]},
    }


def test_wrong_properties_of_a_known_event_are_refused_at_the_edge() -> None:
    [made] = to_events(message("track", event="Order Completed", properties={"order_id": "o", "total": "much"}))
    assert isinstance(made, bytes)
    assert str(check(made, NOW)) == "/data/total: is a text, a number is needed: 'much'"


def test_an_event_nobody_declared_is_kept() -> None:
    event = converted(message("track", event="Lamp Lit", properties={"lamp": 3}))
    assert (event["type"], event["data"]) == ("Lamp Lit", {"lamp": 3})


def test_traits_identify_the_account_and_undeclared_ones_are_kept() -> None:
    event = converted(
        message(
            "identify",
            traits={
                "firstName": "Ada",
                "lastName": "King",
                "email": "ada@example.com",
                "phone": "",
                "address": {"street": "1 Main St", "city": "Springfield", "state": None},
                "shoeSize": 39,
            },
            context={"timezone": "Europe/Lisbon"},
        )
    )
    assert event["type"] == "Account Identified"
    assert event["data"] == {
        "firstName": "Ada",
        "lastName": "King",
        "name": "Ada King",
        "email": "ada@example.com",
        "address": "1 Main St, Springfield",
        "time_zone": "Europe/Lisbon",
        "shoeSize": 39,
    }


def test_a_group_is_joined() -> None:
    event = converted(message("group", groupId=17, traits={"name": "Acme", "floor": 3}))
    assert (event["type"], event["data"]) == ("Account Grouped", {"group_id": "17", "name": "Acme", "floor": 3})


def test_a_page_takes_its_address_from_the_context_where_the_properties_lack_it() -> None:
    event = converted(
        message(
            "page",
            name="Home",
            properties={"referrer": ""},
            context={"page": {"url": "https://shop.example/", "search": ""}, "campaign": {"name": "spring"}},
        )
    )
    assert event["type"] == "Page Viewed"
    assert event["data"] == {"url": "https://shop.example/", "title": "Home", "campaign": "spring"}


def test_a_screen_is_viewed() -> None:
    event = converted(message("screen", name="Basket", context={"app": {"name": "shop"}}))
    assert (event["type"], event["data"]) == ("Screen Viewed", {"name": "Basket", "app": "shop"})


def test_an_alias_says_who_the_account_was_before() -> None:
    event = converted(message("alias", previousId="anon-1"))
    assert (event["type"], event["data"]) == ("Account Aliased", {"previous_id": "anon-1"})


@pytest.mark.parametrize(
    ("user", "subject"),
    [({"userId": "u-7"}, "u-7"), ({"userId": 7}, "7"), ({"userId": None, "anonymousId": "a-7"}, "anonymous:a-7")],
)
def test_the_subject_is_the_user_or_the_anonymous_visitor(user: dict[str, Any], subject: str) -> None:
    assert converted(message("screen", name="Basket", **user))["subject"] == subject


def test_a_batch_gives_its_messages_and_its_context_and_names_the_bad_one() -> None:
    good = message("page", messageId="m-2")
    made = list(
        to_events(
            {
                "batch": [good | {"timestamp": None}, message("page", messageId=""), 7],
                "context": {"page": {"url": "https://shop.example/"}},
                "sentAt": "2026-03-02T00:00:00Z",
            }
        )
    )
    assert isinstance(made[0], bytes)
    assert msgspec.json.decode(made[0])["time"] == "2026-03-02T00:00:00Z"
    assert [one.pointer for one in made[1:] if isinstance(one, Fault)] == ["/batch/1/messageId", "/batch/2"]


def test_a_page_may_be_known_by_its_name_alone() -> None:
    [made] = to_events(message("page", name="Home", category="shop"))
    assert isinstance(made, bytes)
    assert msgspec.json.decode(made)["data"] == {"title": "Home", "category": "shop"}
    assert not isinstance(check(made, NOW), Refusal)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (message("track", messageId=None), "/messageId: is missing: without it a repeated message would be counted"),
        (message("track", userId=None), "/userId: is missing, and so is anonymousId"),
        (message("track", timestamp=None), "/timestamp: is missing"),
        (message("track"), "/event: is missing"),
        (message("page"), "/properties/url: is missing"),
        (message("screen"), "/name: is missing"),
        (message("group"), "/groupId: is missing"),
        (message("alias"), "/previousId: is missing"),
        (message("delete"), "/type: is 'delete': Segment knows identify, track"),
        (message("track", userId=["u-1"]), "/userId: is neither a text nor a number"),
        (message("track", userId=None, anonymousId={"a": 1}), "/anonymousId: is neither a text nor a number"),
        (message("alias", previousId=[None]), "/previousId: is neither a text nor a number"),
        (message("group", groupId=True), "/groupId: is neither a text nor a number"),
        (message("track", event="Lamp Lit", properties=[1]), "/properties: is not an object"),
        (message("identify", traits="gold"), "/traits: is not an object"),
        ({"batch": {}}, "/batch: is not an array"),
    ],
)
def test_what_is_missing_is_named(shape: dict[str, Any], said: str) -> None:
    assert fault(shape).startswith(said)
