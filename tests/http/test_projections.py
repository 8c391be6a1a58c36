"""The projections' verbs over HTTP: what is quick is answered, what is long is a job to look at."""

import asyncio
from typing import Any

import httpx
import pytest

from engage.services.platform import Platform
from engage.services.rebuilding import Rebuilder
from engage.store.families import slotted
from projections.customers.loyalty import loyalty
from tests.http.given import order

PROBLEM = "application/problem+json"
ADA = {"x-engage-actor": "ada"}


@pytest.fixture
async def http(http: httpx.AsyncClient, platform: Platform) -> httpx.AsyncClient:
    """With some orders folded."""
    await http.post("/v1/events", json=[order(f"o-{n}", f"customer-{n % 5}") for n in range(20)])
    await platform.settle()
    return http


async def ended(http: httpx.AsyncClient, begun: httpx.Response) -> dict[str, Any]:
    """The job, once it has ended."""
    assert begun.status_code == 202, begun.text
    assert begun.headers["location"] == f"/v1/jobs/{begun.json()['id']}"
    async with asyncio.timeout(20):
        while (job := (await http.get(begun.headers["location"])).json())["state"] == "running":
            await asyncio.sleep(0)
    found: dict[str, Any] = job
    return found


async def test_how_they_stand_is_told(http: httpx.AsyncClient):
    found = {one["name"]: one for one in (await http.get("/v1/projections")).json()["projections"]}
    assert (found["loyalty"]["rows"], found["loyalty"]["behind"], found["loyalty"]["paused"]) == (5, 0, None)


async def test_one_is_paused_and_resumed_and_the_trail_says_by_whom(http: httpx.AsyncClient, platform: Platform):
    paused = await http.post("/v1/projections/campaigns/pause", headers=ADA)
    assert paused.json()["names"] == ["campaign_contacts", "campaigns"]
    assert (paused.json()["changed"], paused.json()["paused"]["by"]) == (True, "ada")
    assert not (await http.post("/v1/projections/campaigns/pause")).json()["changed"]
    listed = {one["name"]: one for one in (await http.get("/v1/projections")).json()["projections"]}
    assert listed["campaigns"]["paused"]["by"] == "ada"
    assert (await http.post("/v1/projections/campaign_contacts/resume")).json()["changed"]
    deeds = [(one.command, one.thing, one.actor) for one in platform.access.store.deeds(10)]
    assert deeds[-1] == ("projections pause", "campaigns", "ada")
    assert [command for command, *_ in deeds] == ["projections resume", "projections pause", "projections pause"]


async def test_a_rebuild_is_a_job_that_ends_in_a_swap_and_can_be_rolled_back(
    http: httpx.AsyncClient, platform: Platform
):
    nothing = await http.post("/v1/projections/loyalty/rollback")
    assert (nothing.status_code, nothing.headers["content-type"]) == (409, PROBLEM)
    job = await ended(http, await http.post("/v1/projections/loyalty/rebuild", headers=ADA))
    assert (job["kind"], job["things"], job["state"], job["actor"]) == ("rebuild", ["loyalty"], "done", "ada")
    assert (job["result"]["swapped"], job["result"]["differing"]) == (True, 0)
    assert job["result"]["records"] >= 20
    assert job["ended"] is not None
    assert [one["id"] for one in (await http.get("/v1/jobs")).json()["jobs"]] == [job["id"]]
    told = platform.access.store.deeds(1)[0]
    assert (told.command, told.thing, told.actor, told.outcome) == ("projections rebuild", "loyalty", "ada", "done")
    back = await http.post("/v1/projections/loyalty/rollback")
    assert back.json() == {"names": ["loyalty"], "differing": 0}


async def test_a_row_that_was_changed_by_hand_is_found_and_mended(http: httpx.AsyncClient, platform: Platform):
    assert (await ended(http, await http.post("/v1/projections/loyalty/verify")))["result"] is None
    with platform.store.database.write() as connection:
        connection.exec_driver_sql("UPDATE loyalty SET orders = 99 WHERE account = 'customer-3'")
    found = await ended(http, await http.post("/v1/projections/loyalty/verify?sample=1000"))
    assert found["state"] == "done"
    assert found["result"] == {"key": "customer-3", "column": "orders", "stored": 99, "folded": 4}
    mended = await ended(http, await http.post("/v1/projections/loyalty/rebuild"))
    assert mended["result"]["differing"] == 1
    assert (await ended(http, await http.post("/v1/projections/loyalty/verify")))["result"] is None


async def test_one_that_is_stopped_goes_on_from_where_it_stood(
    http: httpx.AsyncClient, platform: Platform, monkeypatch: pytest.MonkeyPatch
):
    proof, entered = asyncio.Event(), asyncio.Event()
    proven = Rebuilder._prove

    async def waits(self: Rebuilder, *asked: Any) -> None:
        entered.set()
        await proof.wait()
        await proven(self, *asked)

    monkeypatch.setattr(Rebuilder, "_prove", waits)
    begun = await http.post("/v1/projections/loyalty/rebuild")
    await asyncio.wait_for(entered.wait(), 20)
    again = await http.post("/v1/projections/loyalty/rebuild")
    assert (again.status_code, again.json()["job"], again.headers["location"]) == (
        409,
        begun.json()["id"],
        begun.headers["location"],
    )
    assert (await http.post(f"{begun.headers['location']}/stop", headers=ADA)).status_code == 200
    [deed] = platform.access.store.deeds(10)
    assert (deed.command, deed.thing, deed.actor) == ("jobs stop", "rebuild loyalty", "ada")
    proof.set()
    stopped = await ended(http, begun)
    assert (stopped["state"], stopped["result"]["swapped"]) == ("stopped", False)
    assert slotted("loyalty", "next") in platform.store.standing().models
    done = await ended(http, await http.post("/v1/projections/loyalty/rebuild"))
    assert (done["state"], done["result"]["records"]) == ("done", 0)
    assert platform.store.count(loyalty) == 5


async def test_a_job_that_fails_says_why(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch):
    async def fails(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(Rebuilder, "_prove", fails)
    job = await ended(http, await http.post("/v1/projections/loyalty/rebuild"))
    assert (job["state"], job["error"]) == ("failed", "OSError: the disk is full")


async def test_what_is_not_there_is_404_and_what_does_not_fit_422(http: httpx.AsyncClient):
    for verb in ("pause", "resume", "rebuild", "verify", "rollback"):
        answer = await http.post(f"/v1/projections/nothing/{verb}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM), verb
    assert (await http.post("/v1/projections/loyalty/verify?sample=0")).status_code == 422
    assert (await http.get("/v1/jobs/job_gone")).status_code == 404
    assert (await http.post("/v1/jobs/job_gone/stop")).status_code == 404
