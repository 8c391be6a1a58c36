"""Whoever published something can ask for an answer that includes it."""

import asyncio

import httpx

from engage.services.platform import Platform
from tests.http.given import order


async def published(http: httpx.AsyncClient, event_id: str = "order-1") -> str:
    answer = await http.post("/v1/events", json=order(event_id))
    token: str = answer.json()["results"][0]["token"]
    return token


async def test_an_answer_waits_until_it_includes_what_was_published(http: httpx.AsyncClient, platform: Platform):
    token = await published(http)
    asked = asyncio.create_task(http.get("/v1/accounts/customer-17", params={"wait_for": token, "wait_seconds": 30}))
    await asyncio.sleep(0)
    assert not asked.done()
    while not asked.done():
        await platform.project()
        await asyncio.sleep(0)
    assert (await asked).status_code == 200
    again = await http.get("/v1/accounts/customer-17/timeline", params={"wait_for": token, "wait_seconds": 0})
    assert "order-1" in [entry["event_id"] for entry in again.json()["entries"]]


async def test_who_waited_in_vain_is_told_how_far_the_views_are(http: httpx.AsyncClient):
    token = await published(http)
    answer = await http.get("/v1/follow-ups", params={"wait_for": token, "wait_seconds": 0})
    assert answer.status_code == 504
    assert answer.json()["behind"] == {"account_health": 0, "follow_ups": 0, "timeline": 0}
    assert "ask again with the same token" in answer.json()["detail"]


async def test_what_is_no_token_is_refused(http: httpx.AsyncClient):
    for wrong in ("", "17", "x:1", "3:-1", "99:1", "1:99999999999999999"):
        answer = await http.get("/v1/accounts/customer-17", params={"wait_for": wrong})
        assert answer.status_code == 422, wrong
        assert "token" in answer.json()["detail"]
