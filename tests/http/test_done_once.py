"""What operators command with an Idempotency-Key: done once however often it is asked, and answered the same."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from engage import bootstrap
from engage.services.api_keys import ApiKeys
from engage.services.platform import Platform
from engage.settings import Settings
from tests.http.given import Clock

KEY = {"idempotency-key": "7c0e"}
PAUSE = "/v1/projections/loyalty/pause"
ENDPOINT = {"url": "https://mailer.example/engage", "on": ["follow_up.requested"]}


def commands(platform: Platform) -> list[str]:
    return [one.command for one in platform.access.store.deeds(10)]


def held_in(folder: Path, words: bytes) -> list[str]:
    """The files that hold these words."""
    return [file.name for file in folder.rglob("*") if file.is_file() and words in file.read_bytes()]


async def test_it_is_done_once_and_answered_the_same(http: httpx.AsyncClient, platform: Platform):
    first = await http.post(PAUSE, headers=KEY)
    await http.post("/v1/projections/loyalty/resume")
    again = await http.post(PAUSE, headers=KEY)
    assert (first.status_code, first.json()["changed"]) == (200, True)
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert commands(platform) == ["projections resume", "projections pause"]


async def test_who_asked_hears_what_was_done_where_the_answer_cannot_be_kept(
    http: httpx.AsyncClient, platform: Platform, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as until:
        until.setattr(platform.relationships, "settle", full)
        first = await http.post(PAUSE, headers=KEY)
    again = await http.post(PAUSE, headers=KEY)
    assert (first.status_code, first.json()["changed"], again.status_code) == (200, True, 409)
    assert commands(platform) == ["projections pause"]


async def test_long_work_is_begun_once_and_its_place_told_again(http: httpx.AsyncClient):
    first, again = [await http.post("/v1/projections/loyalty/verify", headers=KEY) for _ in range(2)]
    assert (again.status_code, again.headers["location"]) == (202, first.headers["location"])
    assert len((await http.get("/v1/jobs")).json()["jobs"]) == 1


async def test_an_endpoint_is_made_once_and_its_secret_kept_nowhere(
    http: httpx.AsyncClient, platform: Platform, tmp_path: Path
):
    made, again = [await http.post("/v1/webhooks", json=ENDPOINT, headers=KEY) for _ in range(2)]
    assert (made.status_code, again.status_code) == (201, 201)
    assert again.json() == made.json() | {"secret": None}
    assert [one["id"] for one in (await http.get("/v1/webhooks")).json()["webhooks"]] == [made.json()["id"]]
    assert commands(platform) == ["POST /v1/webhooks"]
    secret = made.json()["secret"].removeprefix("whsec_").encode()
    assert held_in(tmp_path, made.json()["id"].encode())
    assert held_in(tmp_path, secret) == []


async def test_of_many_at_once_one_does_it_and_others_are_told_to_come_again(http: httpx.AsyncClient):
    asked = [http.post("/v1/webhooks", json=ENDPOINT, headers=KEY) for _ in range(5)]
    answers = await asyncio.gather(*asked)
    assert sum(answer.json().get("secret") is not None for answer in answers) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 409)
    assert len((await http.get("/v1/webhooks")).json()["webhooks"]) == 1


@pytest.mark.parametrize(("path", "body"), [("/v1/projections/profile/pause", b""), (PAUSE, b"{}")])
async def test_another_request_with_the_key_is_422(http: httpx.AsyncClient, path: str, body: bytes):
    await http.post(PAUSE, headers=KEY)
    answer = await http.post(path, content=body, headers=KEY)
    assert (answer.status_code, answer.json()["faults"][0]["pointer"]) == (422, "/header/idempotency-key")


async def test_what_was_refused_may_be_asked_again_with_its_key(http: httpx.AsyncClient):
    wrong = await http.post("/v1/webhooks", json=ENDPOINT | {"url": "ftp://nowhere"}, headers=KEY)
    right = await http.post("/v1/webhooks", json=ENDPOINT, headers=KEY)
    assert (wrong.status_code, right.status_code) == (422, 201)


async def test_a_day_later_it_is_done_again(http: httpx.AsyncClient, clock: Clock):
    first = await http.post("/v1/projections/loyalty/verify", headers=KEY)
    clock.move(days=1)
    while (await http.get(first.headers["location"])).json()["state"] == "running":
        await asyncio.sleep(0)
    again = await http.post("/v1/projections/loyalty/verify", headers=KEY)
    assert (again.status_code, again.headers["location"] == first.headers["location"]) == (202, False)


async def test_who_asks_too_often_is_sent_away_also_where_nothing_is_done_again(
    http: httpx.AsyncClient, tmp_path: Path, clock: Clock
):
    with closing(bootstrap.access_store(Settings(home=str(tmp_path)))) as store:
        bearer = ApiKeys(store, "ada", clock).create("hasty", ["operate"], rate=0.4)[1]
    headers = KEY | {"authorization": f"Bearer {bearer}"}
    answers = [await http.post(PAUSE, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1


async def test_a_key_that_is_none_is_422(http: httpx.AsyncClient):
    assert (await http.post(PAUSE, headers={"idempotency-key": "x" * 256})).status_code == 422
