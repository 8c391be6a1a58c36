"""Dead letters over HTTP: listed, shown, retried and skipped, by operators alone and with a trace of who did it."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from engage import bootstrap
from engage.events import codec
from engage.services.platform import Platform
from engage.settings import Settings
from tests.http.given import Clock
from tests.rules.probes import ticket
from tests.rules.test_mending import choosy

ADA = {"x-engage-actor": "ada"}


@pytest.fixture
async def platform(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Platform]:
    monkeypatch.setattr(bootstrap, "RULES", (choosy(["bad"]),))
    async with bootstrap.platform(Settings(home=str(tmp_path)), clock=clock) as opened:
        tickets = [ticket("2026-02-01", "bad", subject=who) for who in ("acc-1", "acc-2")]
        await opened.publish([codec.encode(one) for one in tickets])
        yield opened


async def letters(http: httpx.AsyncClient, **wanted: str) -> dict[str, str]:
    found = (await http.get("/v1/dead-letters", params=wanted)).json()["dead_letters"]
    return {one["account"]: one["id"] for one in found}


async def test_they_are_listed_and_one_is_shown(http: httpx.AsyncClient):
    ids = await letters(http, rule="choosy", fault="ZeroDivisionError")
    assert set(ids) == {"acc-1", "acc-2"}
    assert await letters(http, view="timeline") == {}
    wrong = await http.get("/v1/dead-letters", params={"rule": "choosey"})
    assert (wrong.status_code, wrong.json()["detail"]) == (422, "there is no rule 'choosey': did you mean choosy?")
    shown = (await http.get(f"/v1/dead-letters/{ids['acc-1']}")).json()
    assert (shown["letter"]["consumer"], shown["event"]["data"]) == ("rule choosy", {"ticket_id": "bad"})
    assert "Traceback" in shown["error"]
    assert (await http.get("/v1/dead-letters/ffff")).status_code == 404


async def test_one_is_skipped_and_one_that_fails_again_stays(http: httpx.AsyncClient, platform: Platform):
    ids = await letters(http)
    skipped = await http.post("/v1/dead-letters/skip", json={"ids": [ids["acc-1"]], "reason": "a test"}, headers=ADA)
    assert [one["outcome"] for one in skipped.json()["done"]] == ["goes_on"]
    retried = await http.post("/v1/dead-letters/retry", json={"all": True}, headers=ADA)
    assert [(one["outcome"], one["letter"]["account"]) for one in retried.json()["done"]] == [("failed_again", "acc-2")]
    assert await letters(http) == {"acc-2": ids["acc-2"]}
    deeds = [(one.command, one.thing, one.actor) for one in platform.access.store.deeds(10)]
    assert deeds == [
        ("POST /v1/dead-letters/retry", "all", "ada"),
        ("POST /v1/dead-letters/skip", ids["acc-1"], "ada"),
    ]


@pytest.mark.parametrize(
    ("verb", "body", "status"),
    [
        ("retry", {}, 422),
        ("retry", {"all": True, "ids": ["ffff"]}, 422),
        ("retry", {"who": "acc-1"}, 422),
        ("retry", {"ids": ["ffff"]}, 404),
        ("retry", {"rule": "another"}, 422),
        ("skip", {"all": True}, 422),
        ("skip", {"all": True, "reason": " "}, 422),
    ],
)
async def test_what_does_not_say_which_or_why_is_refused(http: httpx.AsyncClient, verb, body, status):
    answer = await http.post(f"/v1/dead-letters/{verb}", json=body)
    assert answer.status_code == status, answer.text
    assert len(await letters(http)) == 2
