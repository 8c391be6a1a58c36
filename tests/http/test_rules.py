"""Rules over HTTP: how they stand, why they ask or do not, and that one rests."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from engage import bootstrap
from engage.events import codec
from engage.rules.policy import PolicySettings
from engage.services.configuration import Configured
from engage.services.platform import Platform
from engage.settings import Settings
from tests.http.given import Clock
from tests.rules.probes import asking, ticket

ADA = {"x-engage-actor": "ada"}


@pytest.fixture
async def platform(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Platform]:
    house = Configured((asking(),), PolicySettings(quiet_hours=None))
    monkeypatch.setattr(bootstrap, "rules", lambda settings: house)
    async with bootstrap.platform(Settings(home=str(tmp_path)), clock=clock) as opened:
        await opened.publish([codec.encode(ticket(clock(), "t-1"))])
        await opened.settle()
        yield opened


async def standing(http: httpx.AsyncClient) -> dict[str, object]:
    [found] = (await http.get("/v1/rules")).json()["rules"]
    return {name: found[name] for name in ("name", "state", "asked", "skipped", "parked")}


async def test_a_rule_rests_and_comes_back_and_the_trail_says_by_whom(http: httpx.AsyncClient, platform: Platform):
    assert await standing(http) == {"name": "asking", "state": "on", "asked": 1, "skipped": {}, "parked": 0}
    body = {"reason": "asks too often"}
    disabled = await http.post("/v1/rules/asking/disable", json=body, headers=ADA)
    assert disabled.json() == {"name": "asking", "state": "off", "changed": True}
    assert (await http.post("/v1/rules/asking/disable")).json() == {"name": "asking", "state": "off", "changed": False}
    assert (await standing(http))["state"] == "off"
    enabled = await http.post("/v1/rules/asking/enable", headers=ADA)
    assert enabled.json() == {"name": "asking", "state": "on", "changed": True}
    deeds = [(one.command, one.actor) for one in platform.access.store.deeds(10)]
    assert ("POST /v1/rules/{name}/disable", "ada") in deeds and ("POST /v1/rules/{name}/enable", "ada") in deeds


async def test_why_a_rule_asked_is_told(http: httpx.AsyncClient):
    found = (await http.get("/v1/accounts/acc-1/rules", params={"rule": "asking"})).json()
    assert [(said["asked"], said["about"]) for said in found["rules"][0]["said"]] == [(True, "t-1")]
    assert [one["matter"] for one in found["policy"]["open"]] == ["asking|t-1"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/accounts/nobody/rules"),
        ("GET", "/v1/accounts/acc-1/rules?rule=nothing"),
        ("POST", "/v1/rules/nothing/disable"),
        ("POST", "/v1/rules/nothing/enable"),
    ],
)
async def test_what_is_not_there_is_not_found(http: httpx.AsyncClient, method: str, path: str):
    answer = await http.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
