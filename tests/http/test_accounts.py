"""One account over HTTP: whatever its id looks like, its health with reasons, and its story page by page."""

from urllib.parse import quote

import httpx
import pytest

from engage.services.platform import Platform
from tests.http.given import STRANGE_IDS, Clock, order, ticket


async def published(http: httpx.AsyncClient, platform: Platform, *events):
    answer = await http.post("/v1/events", json=list(events))
    assert answer.status_code == 200, answer.text
    await platform.settle()


def path(account: str, rest: str = "") -> str:
    return f"/v1/accounts/{quote(account, safe='').replace('.', '%2E')}{rest}"


async def test_an_account_shows_its_health_down_to_the_events(http: httpx.AsyncClient, platform: Platform):
    await published(http, platform, order("o-1"), order("o-2"))
    found = (await http.get(path("customer-17"))).json()
    assert found["account"] == "customer-17"
    health = found["health"]
    assert 0 < health["score"] <= 100
    assert health["band"] in ("thriving", "steady", "slipping", "at_risk")
    [purchasing] = [one for one in health["components"] if one["component"] == "purchasing"]
    assert {event["event_id"] for event in purchasing["events"]} == {"o-1", "o-2"}


async def test_an_account_shows_what_is_to_be_done(http: httpx.AsyncClient, platform: Platform, clock: Clock):
    await published(http, platform, ticket())
    clock.move(days=1)
    await platform.settle()
    [waiting] = (await http.get(path("customer-17"))).json()["follow_ups"]
    assert (waiting["rule"], waiting["account"]) == ("support-answer-overdue", "customer-17")


async def test_health_falls_while_nothing_happens(http: httpx.AsyncClient, platform: Platform, clock: Clock):
    await published(http, platform, order())
    before = (await http.get(path("customer-17"))).json()["health"]["score"]
    clock.move(days=90)
    after = (await http.get(path("customer-17"))).json()["health"]
    assert after["score"] < before
    assert after["trend"] < 0


async def test_health_says_since_when_and_through_what_it_is_in_its_band(http: httpx.AsyncClient, platform: Platform):
    await published(http, platform, order())
    health = (await http.get(path("customer-17"))).json()["health"]
    assert (health["band_since"], health["mover"], health["trend"]) == ("2026-03-02T09:00:00Z", "purchasing", None)


@pytest.mark.parametrize("account", STRANGE_IDS)
async def test_any_id_works_in_a_path(http: httpx.AsyncClient, platform: Platform, account: str):
    await published(http, platform, order(subject=account), order("other", "timeline of nobody"))
    found = await http.get(path(account))
    assert (found.status_code, found.json()["account"]) == (200, account)
    page = (await http.get(path(account, "/timeline"))).json()
    assert [entry["event_id"] for entry in page["entries"] if entry["source"] == "urn:shop"] == ["order-1"]


async def test_a_slash_that_is_not_encoded_works_too(http: httpx.AsyncClient, platform: Platform):
    await published(http, platform, order(subject="a/b"))
    assert (await http.get("/v1/accounts/a/b")).json()["account"] == "a/b"
    assert (await http.get("/v1/accounts/a/b/timeline")).json()["account"] == "a/b"


async def test_the_story_is_read_page_by_page_newest_first(http: httpx.AsyncClient, platform: Platform):
    await published(http, platform, *[order(f"o-{n}") for n in range(5)], order("other", "customer-18"))
    told, before = [], None
    while True:
        parameters = {"limit": "2"} | ({"before": before} if before else {})
        page = (await http.get(path("customer-17", "/timeline"), params=parameters)).json()
        told += [entry["event_id"] for entry in page["entries"] if entry["source"] == "urn:shop"]
        before = page["next"]
        if before is None:
            break
    assert told == ["o-4", "o-3", "o-2", "o-1", "o-0"]


async def test_an_unknown_type_is_on_the_story_but_not_in_the_health(http: httpx.AsyncClient, platform: Platform):
    await published(http, platform, order(type="Something Odd"))
    assert (await http.get(path("customer-17"))).json()["health"]["score"] is None
    [entry] = (await http.get(path("customer-17", "/timeline"))).json()["entries"]
    assert entry["type"] == "Something Odd"


@pytest.mark.parametrize("account", ["nobody", "%00", "%ff", "%ed%a0%80"])
@pytest.mark.parametrize("rest", ["", "/timeline"])
async def test_an_account_that_nobody_knows_is_404(http: httpx.AsyncClient, account: str, rest: str):
    answer = await http.get(f"/v1/accounts/{account}{rest}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "before=x", "before=1:", "before=1:" + "9" * 40])
async def test_a_wrong_parameter_is_422_and_named(http: httpx.AsyncClient, query: str):
    answer = await http.get(f"/v1/accounts/customer-17/timeline?{query}")
    assert answer.status_code == 422
    assert answer.json()["faults"][0]["pointer"] == f"/query/{query.partition('=')[0]}"
