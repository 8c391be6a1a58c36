"""Identities over HTTP and Segment: a visitor turns out to be an account, and does not after all."""

from typing import Any
from urllib.parse import quote

import httpx
import pytest

from engage.services.platform import Platform
from tests.http.given import order

WHEN = "2026-03-01T10:00:00Z"
VISITOR, ACCOUNT = "anonymous:7f3c", "customer-17"


async def orders(http: httpx.AsyncClient, account: str) -> int:
    answer = await http.get(f"/v1/accounts/{account}/timeline", params={"type": "Order Completed"})
    return len(answer.json()["entries"]) if answer.status_code == 200 else 0


@pytest.fixture
async def both(http: httpx.AsyncClient, platform: Platform) -> None:
    events = [order("order-1", VISITOR), order("order-2", ACCOUNT)]
    headers = {"content-type": "application/cloudevents-batch+json"}
    assert (await http.post("/v1/events", json=events, headers=headers)).status_code == 200
    await platform.settle()


async def test_a_visitor_is_linked_shown_with_its_account_and_parted(
    http: httpx.AsyncClient, platform: Platform, both: None
):
    pair = {"visitor": VISITOR, "account": ACCOUNT}
    done = await http.post("/v1/identities", json=pair)
    assert (done.status_code, done.json()) == (200, pair | {"holder": ACCOUNT, "changed": True})
    await platform.settle()
    assert (await orders(http, ACCOUNT), await orders(http, VISITOR)) == (2, 0)
    [shown] = (await http.get(f"/v1/accounts/{ACCOUNT}")).json()["rows"]["identities"]
    assert shown["visitor"] == VISITOR
    assert not (await http.post("/v1/identities", json=pair)).json()["changed"]

    parted = await http.delete(f"/v1/identities/{quote(VISITOR)}")
    assert (parted.status_code, parted.json()) == (200, pair)
    await platform.settle()
    assert (await orders(http, ACCOUNT), await orders(http, VISITOR)) == (1, 1)
    assert (await http.delete(f"/v1/identities/{quote(VISITOR)}")).status_code == 404


@pytest.mark.parametrize(
    ("pair", "status", "words"),
    [
        ({"visitor": VISITOR, "account": "nobody"}, 404, "there is no account 'nobody'"),
        ({"visitor": ACCOUNT, "account": ACCOUNT}, 409, "cannot be linked to itself"),
        ({"visitor": VISITOR}, 422, "account"),
    ],
)
async def test_what_cannot_be_linked_is_said_in_words(
    http: httpx.AsyncClient, both: None, pair: dict[str, str], status: int, words: str
):
    answer = await http.post("/v1/identities", json=pair)
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.json()


def said(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "userId": ACCOUNT, "messageId": f"m-{kind}", "timestamp": WHEN} | fields


@pytest.mark.parametrize("message", [said("identify", anonymousId="7f3c"), said("alias", previousId="7f3c")])
async def test_segment_s_word_on_who_somebody_was_links_them_but_does_not_overrule_who_parted_them(
    http: httpx.AsyncClient, platform: Platform, both: None, message: dict[str, Any]
):
    assert (await http.post("/v1/batch", json={"batch": [message]})).status_code == 200
    await platform.settle()
    assert (await orders(http, ACCOUNT), await orders(http, VISITOR)) == (2, 0)
    await http.delete(f"/v1/identities/{quote(VISITOR)}")
    again = {**message, "messageId": "m-again"}
    assert (await http.post("/v1/batch", json={"batch": [again]})).json()["taken"] == 1
    await platform.settle()
    assert (await orders(http, ACCOUNT), await orders(http, VISITOR)) == (1, 1)


async def test_segment_links_nobody_where_that_is_not_wanted_or_its_message_is_refused(
    http: httpx.AsyncClient, platform: Platform, both: None, app: Any
):
    refused = said("alias", previousId="7f3c", messageId="")
    unknown = said("identify", anonymousId="7f3c", userId="ada@example.com")
    await http.post("/v1/batch", json={"batch": [refused | {"userId": "x" * 300}, unknown]})
    app.state.segment_links = False
    await http.post("/v1/batch", json={"batch": [said("identify", anonymousId="7f3c")]})
    await platform.settle()
    assert (await orders(http, ACCOUNT), await orders(http, VISITOR)) == (1, 1)
