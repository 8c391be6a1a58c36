"""Read models as they stood, over HTTP: what was answered at a moment is answered of that moment ever after."""

import asyncio
import csv
import io
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from engage.http import as_of
from engage.services import past
from engage.services.platform import Platform
from engage.services.privacy import erase
from tests.http.given import Clock, order, ticket
from tests.http.test_views import pages, path, published

PROBLEM = "application/problem+json"


def moment(at: datetime) -> dict[str, str]:
    return {"as_of": at.isoformat()}


@pytest.fixture
async def then(http: httpx.AsyncClient, platform: Platform, clock: Clock) -> datetime:
    """A moment with six accounts and a follow-up; a week later there are more, and the follow-up has expired."""
    await published(http, platform, *(order(f"o-{n}", f"customer-{n}") for n in range(6)), ticket("t-1", "customer-1"))
    clock.move(hours=5)
    await platform.settle()
    moment = clock.now
    clock.move(days=7)
    await published(http, platform, *(order(f"later-{n}", f"customer-{n}") for n in range(3, 9)))
    return moment


async def jobs(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await http.get("/v1/jobs")).json()["jobs"]
    return found


async def test_an_account_is_told_as_it_was_told_then(http: httpx.AsyncClient, platform: Platform, clock: Clock):
    await published(http, platform, order(), ticket())
    clock.move(hours=5)
    await platform.settle()
    at = clock.now
    asked = [f"/v1/accounts/customer-17{part}" for part in ("", "/explain", "/timeline")]
    told = [(await http.get(one)).json() for one in asked]
    assert told[0]["follow_ups"], "there is something to lose"
    clock.move(days=60)
    await published(http, platform, order("order-2"))
    assert [(await http.get(one)).json() for one in asked] != told
    assert [(await http.get(one, params=moment(at))).json() for one in asked] == told
    before = await http.get(asked[0], params=moment(at - timedelta(days=30)))
    assert before.status_code == 404 and "as of 2026-01-31" in before.json()["detail"]
    assert await jobs(http) == []


async def test_the_rows_of_one_account_are_folded_at_once(http: httpx.AsyncClient, then: datetime):
    rows = await pages(http, "follow_ups", account="customer-1", fields="follow_up,status", **moment(then))
    assert {row["status"] for row in rows} == {"open"}
    row = path("follow_ups", rows[0]["follow_up"])
    one = await http.get(row, params=moment(then))
    assert one.json()["status"] == "open"
    assert (await http.get(row)).json()["status"] == "expired"
    known = {"if-none-match": one.headers["etag"]}
    assert (await http.get(row, params=moment(then), headers=known)).status_code == 304
    assert (await http.get(row, params=moment(then - timedelta(days=1)))).status_code == 404
    text = await http.get("/v1/views/profile", params={"account": "customer-1", "format": "csv", **moment(then)})
    assert [row["account"] for row in csv.DictReader(io.StringIO(text.text))] == ["customer-1"]
    assert text.headers["content-disposition"] == 'attachment; filename="profile.csv"'
    assert await jobs(http) == []


async def test_a_whole_view_is_folded_once_and_read_page_by_page_until_somebody_is_erased(
    http: httpx.AsyncClient, platform: Platform, then: datetime, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(past, "NEAR", -1)  # as on a long log: it has a process of its own
    late = await http.get("/v1/views/profile", params={"wait_seconds": "0", **moment(then)})
    assert (late.status_code, late.headers["content-type"]) == (503, PROBLEM)
    assert int(late.headers["retry-after"]) >= 1
    [job] = await jobs(http)
    assert (job["kind"], job["id"]) == ("as-of", late.json()["job"])
    rows = await pages(http, "profile", limit="2", fields="account,interactions", **moment(then))
    assert [row["account"] for row in rows] == [f"customer-{n}" for n in range(6)]
    text = await http.get("/v1/views/profile", params={"format": "ndjson", "fields": "account", **moment(then)})
    assert len(text.text.splitlines()) == 6
    assert len(await pages(http, "profile")) == 9
    [job] = await jobs(http)
    assert (job["state"], job["stage"], job["done"]) == ("done", "folding", job["total"])
    monkeypatch.setattr(past, "NEAR", 2_000)  # and here there is little to do
    sizes = await pages(http, "segment_sizes", fields="segment", **moment(then))
    assert (await http.get(path("segment_sizes", sizes[0]["segment"]), params=moment(then))).status_code == 200
    await erase(platform, "customer-1", "ada")
    assert not any(platform.past.snapshots.folder.iterdir()), "who is erased is in no snapshot"


async def test_a_story_is_read_where_it_stands(
    http: httpx.AsyncClient, then: datetime, platform: Platform, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(platform.store, "tally", None)  # nobody was ever linked: no row is looked through for it
    entries = await pages(http, "timeline", type="Order Completed", limit="4", fields="event_id", **moment(then))
    assert {entry["event_id"] for entry in entries} == {f"o-{n}" for n in range(6)}
    entry = (await pages(http, "timeline", event_id="later-8", fields="entry"))[0]["entry"]
    assert (await http.get(path("timeline", entry))).status_code == 200
    assert (await http.get(path("timeline", entry), params=moment(then))).status_code == 404
    assert await jobs(http) == []


async def test_how_to_write_a_moment_is_said(http: httpx.AsyncClient):
    for written in ("2026-03-01", "2w"):
        answer = await http.get("/v1/accounts/customer-17", params={"as_of": written})
        assert f"'{written}' is no moment with a time zone: write 2026-03-01T09:00:00Z" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("view", "asked", "status", "pointer"),
    [
        ("profile", {"as_of": "2126-01-01T00:00:00Z"}, 422, "/query/as_of"),
        ("profile", {"as_of": "2026-03-01T09:00:00"}, 422, "/query/as_of"),
        ("profile", {"as_of": "2026-03-01T09:00:00Z", "colour": "red"}, 422, "/query/colour"),
        ("profile", {"as_of": "2026-03-01T09:00:00Z", "cursor": "x"}, 422, "/query/cursor"),
        ("nothing", {"as_of": "2026-03-01T09:00:00Z"}, 404, None),
    ],
)
async def test_what_cannot_be_asked_is_refused_before_anything_is_folded(
    http: httpx.AsyncClient, view: str, asked: dict[str, str], status: int, pointer: str | None
):
    answer = await http.get(f"/v1/views/{view}", params=asked)
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    if pointer:
        assert [fault["pointer"] for fault in answer.json()["faults"]] == [pointer]
    assert await jobs(http) == []


async def test_a_fold_that_is_stopped_begins_anew_and_more_than_a_few_are_refused(
    http: httpx.AsyncClient, platform: Platform, then: datetime, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(past, "NEAR", -1)
    monkeypatch.setattr(as_of, "MODELS_WAITING", 1)
    asked = {"wait_seconds": "0", **moment(then)}
    job = (await http.get("/v1/views/profile", params=asked)).json()["job"]
    refused = await http.get("/v1/views/loyalty", params=asked)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert "already" in refused.json()["detail"]
    await http.post(f"/v1/jobs/{job}/stop")
    async with asyncio.timeout(20):
        while (await jobs(http))[0]["state"] == "running":
            await asyncio.sleep(0)
    assert (await jobs(http))[0]["state"] == "stopped"
    whole = await http.get("/v1/views/profile", params={**asked, "wait_seconds": "20"})
    assert whole.status_code == 200, whole.text
    assert not any(platform.past.snapshots.folder.glob("work-*")), "nothing half made is left"
