"""Segment's protocol: libraries of Segment and RudderStack as they are published need nothing but this host."""

import gzip
import json
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from rudderstack.analytics.client import Client as RudderClient
from segment.analytics.client import Client as SegmentClient

from engage.client import Client
from engage.events import codec
from engage.http.body import parsed
from engage.http.problems import ProblemError
from engage.services.platform import Platform
from tests.cli.given import PATIENCE, running
from tests.http.given import order

KEY = ("a-write-key", "")
WHEN = "2026-03-01T10:00:00Z"


def message(kind: str = "track", **fields: Any) -> dict[str, Any]:
    known = {"type": kind, "userId": "u-1", "messageId": "m-1", "timestamp": WHEN, "event": "Lamp Lit"}
    return {name: value for name, value in (known | fields).items() if value is not None}


async def types(platform: Platform) -> list[str]:
    found = []
    for partition in range(platform.log.partitions):
        for record in (await platform.log.read(partition, 0, 1_000)).records:
            event = codec.decode(record.value)
            found += [event.type] if event.source == "urn:segment" else []
    return found


async def test_each_message_has_its_path_and_is_taken_once(http: httpx.AsyncClient, platform: Platform):
    bodies = {
        "track": {"event": "Order Completed", "properties": order()["data"]},
        "identify": {"traits": {"name": "Ada"}},
        "group": {"groupId": "g-1"},
        "page": {"properties": {"url": "https://shop.example/"}},
        "screen": {"name": "Basket"},
        "alias": {"previousId": "anonymous:1"},
    }
    for kind, fields in bodies.items():
        body = {"userId": "u-1", "messageId": kind, "timestamp": WHEN} | fields
        for path in (f"/v1/{kind}", f"/v1/{kind[0]}"):
            answer = await http.post(path, json=body, auth=KEY)
            assert (answer.status_code, answer.json()["success"]) == (200, True)
        assert (answer.json()["taken"], answer.json()["duplicate"]) == (0, 1)
    names = ["Account Aliased", "Account Grouped", "Account Identified", "Order Completed", "Page Viewed"]
    assert sorted(await types(platform)) == [*names, "Screen Viewed"]


async def test_of_a_batch_what_cannot_be_taken_is_told_and_the_rest_is_taken(http: httpx.AsyncClient):
    bad = message(messageId="m-2", event="Order Completed", properties={"order_id": 7})
    body = {"batch": [message(), bad, "odd", message(messageId="m-3", userId=None), message()], "context": {}}
    for path in ("/v1/batch", "/v1/import"):
        answer = await http.post(path, json=body, auth=KEY)
        assert (answer.status_code, answer.json()["success"]) == (200, True)
        told = answer.json()
        assert (told["taken"] + told["duplicate"], told["refused"]) == (2, 3)
        assert [(one["index"], one["faults"][0]["pointer"]) for one in told["messages"]] == [
            (1, "/data/order_id"),
            (2, "/batch/2"),
            (3, "/batch/3/userId"),
        ]


async def test_what_is_wholly_wrong_is_400_in_the_words_that_the_libraries_read(http: httpx.AsyncClient):
    for content in (b"", b"[]", b"7", b'{"batch": 7}', b"{}", b"[" * 90_000, b'{"event": "\xff"}', b'{"batch": [{}]}'):
        answer = await http.post("/v1/batch", content=content, headers={"content-type": "application/json"}, auth=KEY)
        told = answer.json()
        assert (answer.status_code, told["success"], told["code"]) == (400, False, "400"), content
        assert told["message"] == told["detail"]
    assert (await http.post("/v1/batch", content=b"{}", headers={"content-type": "image/png"})).status_code == 415
    twice = await http.post("/v1/track", content=b'{"userId": "u-1", "userId": "u-2"}', auth=KEY)
    assert (twice.status_code, twice.json()["faults"][0]["pointer"]) == (400, "/userId")


@pytest.mark.parametrize("bad", ['"NaN": NaN', r'"cut": "\ud83d"', '"userId": "u-2"', '"open": ]'])
async def test_a_message_that_is_no_json_does_not_sink_its_batch(http: httpx.AsyncClient, bad: str):
    good = [json.dumps(message(messageId=one, event='a "batch": [ of, lamps')) for one in ("m-1", "m-3")]
    batch = f"[{good[0]}, {json.dumps(message(messageId='m-2'))[:-1]}, {bad}}}, {good[1]}]"
    content = f'{{"sentAt": "{WHEN}", "batch": {batch}, "context": {{}}}}'.encode()
    told = (await http.post("/v1/batch", content=content, auth=KEY)).json()
    if "]" in bad:  # nobody can tell where the batch ends
        assert told["code"] == "400"
    else:
        assert (told["taken"], told["refused"], told["messages"][0]["index"]) == (2, 1, 1), told
        assert told["messages"][0]["faults"][0]["pointer"] == "/batch/1"


def test_what_is_nested_too_deeply_is_not_said_to_stand_twice():
    told = set()
    for levels in range(700, 1_000):
        try:
            parsed(b'{"said": "\\u0022", "deep": %b%b}' % (b"[" * levels, b"]" * levels))
        except ProblemError as error:
            told.add(error.detail.partition(" exceeded")[0])
    assert told == {"the body is not JSON in UTF-8: maximum recursion depth"}


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_json_is_taken_as_what_libraries_call_it(http: httpx.AsyncClient, media: str):
    content = gzip.compress(json.dumps({"batch": [message()]}).encode())
    headers = {"content-type": media, "content-encoding": "gzip"}
    assert (await http.post("/v1/batch", content=content, headers=headers, auth=KEY)).json()["taken"] == 1


async def test_what_segment_adds_to_a_message_is_added(http: httpx.AsyncClient, platform: Platform):
    undated = message(messageId=None, timestamp=None)
    dated = message(messageId=None)
    answers = [(await http.post("/v1/track", json=body, auth=KEY)).json() for body in (undated, undated, dated, dated)]
    assert [told["duplicate"] for told in answers] == [0, 0, 0, 1]
    assert await types(platform) == ["Lamp Lit"] * 3


async def test_names_as_others_write_them_are_those_of_the_catalogue(http: httpx.AsyncClient, platform: Platform):
    for number, name in enumerate(("order_completed", "OrderCompleted", " Order Completed", "clock.ticked")):
        body = message(messageId=f"m-{number}", event=name, properties=order()["data"])
        await http.post("/v1/track", json=body, auth=KEY)
    assert await types(platform) == ["Order Completed"] * 3


@pytest.fixture
def url(home: Path) -> Iterator[str]:
    with running(home, "up", "--port", "0") as (_, url):
        yield url


def test_the_libraries_of_segment_and_rudderstack_work_as_they_are(url: str):
    failed: list[Exception] = []

    def tell(error: Exception, _: object) -> None:
        failed.append(error)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # theirs, of Python's clock
        for account, kind, packed in (
            ("s-1", SegmentClient, False),
            ("s-2", SegmentClient, True),
            ("r-1", RudderClient, False),
            ("r-2", RudderClient, True),
        ):
            library = kind("a-write-key", host=url, gzip=packed, on_error=tell, max_retries=1)
            when = datetime.now(UTC)
            library.identify(account, {"name": "Ada", "email": "ada@example.com"}, timestamp=when)
            library.track(account, "Order Completed", {"order_id": "o-1", "total": 5, "currency": "EUR"})
            library.track(account, "Lamp Lit", {"lamp": 3})
            library.page(account, "shop", "Home")
            library.screen(account, "shop", "Basket")
            library.group(account, "g-1", {"plan": "gold"})
            library.alias("anonymous-1", account)
            library.flush()
            library.join()
    assert failed == []
    expected = {"Account Identified", "Order Completed", "Lamp Lit", "Page Viewed", "Screen Viewed", "Account Grouped"}
    with Client(url) as client:
        deadline = time.monotonic() + PATIENCE
        while any(view["behind"] for view in client.status()["views"]):
            assert time.monotonic() < deadline
        for account in ("s-1", "s-2", "r-1", "r-2"):
            told = {entry["type"] for entry in client.timeline(account)["entries"] if entry["source"] == "urn:segment"}
            assert told == expected | {"Account Aliased"}
