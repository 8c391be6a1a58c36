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


async def test_an_account_shows_all_that_is_known_of_it(http: httpx.AsyncClient, platform: Platform):
    await published(
        http,
        platform,
        order("o-1", data={"order_id": "o-1", "total": 20, "currency": "EUR"}),
        ticket(),
        order(
            "d-1",
            "distributor-7",
            type="Dispute Opened",
            data={"dispute_id": "d-1", "topic": "late", "opened_by": "us"},
        ),
    )
    found = (await http.get(path("customer-17"))).json()
    assert found["not_yet"] == []
    rows = found["rows"]
    assert rows["loyalty"]["orders"] == 1
    assert [(one["ticket_id"], one["status"]) for one in rows["tickets"]] == [("t-1", "open")]
    assert rows["profile"]["interactions"] == 2
    assert "told_at" not in rows["profile"]
    assert (rows["partner_scorecard"], rows["disputes"], rows["agreements"]) == (None, [], [])
    partner = (await http.get(path("distributor-7"))).json()["rows"]
    assert [(one["dispute_id"], one["stage"]) for one in partner["disputes"]] == [("d-1", "opened")]
    assert partner["partner_scorecard"]["disputes_open"] == 1


async def test_a_health_is_explained_down_to_what_happened(http: httpx.AsyncClient, platform: Platform):
    await published(http, platform, order("o-1"), order("o-2", time="2026-02-01T10:00:00Z"), ticket())
    account = (await http.get(path("customer-17"))).json()
    told = (await http.get(path("customer-17", "/explain"))).json()
    assert (told["score"], told["band"]) == (account["health"]["score"], account["health"]["band"])
    assert f"health {told['score']:.0f} of 100, {told['band']}" in told["words"]
    assert sum(one["points"] for one in told["components"]) == pytest.approx(told["score"], abs=0.3)
    assert sum(one["share"] for one in told["components"]) == pytest.approx(1, abs=0.01)
    [purchasing] = [one for one in told["components"] if one["component"] == "purchasing"]
    events = {event["event_id"]: event for event in purchasing["events"]}
    assert set(events) == {"o-1", "o-2"}
    assert "59.9" in events["o-1"]["summary"]
    assert events["o-1"]["points"] == pytest.approx(events["o-1"]["contribution"] * purchasing["share"], abs=0.02)
    entries = (await http.get(path("customer-17", "/timeline"))).json()["entries"]
    assert events["o-1"]["entry"] in {entry["entry"] for entry in entries if entry["event_id"] == "o-1"}


async def test_the_story_is_read_by_type_family_and_time(http: httpx.AsyncClient, platform: Platform):
    await published(http, platform, *[order(f"o-{n}", time=f"2026-02-0{n + 1}T10:00:00Z") for n in range(5)], ticket())

    async def ids(**only: str | list[str]) -> list[str]:
        page = await http.get(path("customer-17", "/timeline"), params=only)
        assert page.status_code == 200, page.text
        return [entry["event_id"] for entry in page.json()["entries"] if entry["source"] == "urn:shop"]

    assert await ids(type="Ticket Opened") == ["t-1"]
    assert await ids(family="commerce", limit="2") == ["o-4", "o-3"]
    assert len(await ids(family=["commerce", "support"])) == 6
    wrong = await http.get("/v1/accounts/customer-17/timeline?family=comerce")
    assert (wrong.status_code, wrong.json()["faults"][0]["pointer"]) == (422, "/query/family")
    assert "did you mean commerce?" in wrong.json()["detail"]
    assert await ids(since="2026-02-02T10:00:00Z", until="2026-02-04T12:00:00+02:00") == ["o-2", "o-1"]
    assert await ids(type="Nothing Of The Kind") == []


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
    assert (await http.get(path(account, "/explain"))).json()["account"] == account
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
@pytest.mark.parametrize("rest", ["", "/timeline", "/explain"])
async def test_an_account_that_nobody_knows_is_404(http: httpx.AsyncClient, account: str, rest: str):
    answer = await http.get(f"/v1/accounts/{account}{rest}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "before=x",
        "before=1:",
        "before=1:" + "9" * 40,
        "since=2026-03-01T10:00:00",
        "until=x",
    ],
)
async def test_a_wrong_parameter_is_422_and_named(http: httpx.AsyncClient, query: str):
    answer = await http.get(f"/v1/accounts/customer-17/timeline?{query}")
    assert answer.status_code == 422
    assert answer.json()["faults"][0]["pointer"] == f"/query/{query.partition('=')[0]}"
