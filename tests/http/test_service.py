"""The service itself: alive, ready or not and why, what surrounds every answer, and its own description."""

import asyncio
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator

from engage.http import status
from engage.services import gauges
from engage.services.pausing import pause
from engage.services.platform import Platform
from tests.http.given import order

PROBLEM = "application/problem+json"


async def test_it_is_alive_and_ready(http: httpx.AsyncClient):
    assert (await http.get("/livez")).json() == {"alive": True}
    assert (await http.get("/readyz")).json() == {"ready": True}


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_probes_may_ask_for_the_head_alone(http: httpx.AsyncClient, path: str):
    answer = await http.head(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")


async def reasons(http: httpx.AsyncClient) -> list[str]:
    found: list[str] = (await http.get("/readyz")).json().get("reasons", [])
    return found


async def test_it_is_not_ready_while_a_read_model_is_far_behind(
    http: httpx.AsyncClient, platform: Platform, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(status, "READY_LAG", 0)
    await http.post("/v1/events", json=order())
    answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert any("timeline" in reason and "behind" in reason for reason in answer.json()["reasons"])
    await platform.settle()
    assert (await http.get("/readyz")).status_code == 200


async def test_a_paused_read_model_keeps_nobody_from_being_ready_and_is_named(
    http: httpx.AsyncClient, platform: Platform, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(status, "READY_LAG", 0)
    models = platform.projector.projections
    [timeline] = [model for model in models if model.name == "timeline"]
    pause(platform.store, models, timeline, by="ada", at=datetime(2026, 3, 1, 12, tzinfo=UTC))
    await http.post("/v1/events", json=order())
    await platform.settle()
    told = {"since": "2026-03-01T12:00:00Z", "by": "ada"}
    answer = await http.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "paused": {"timeline": told}})
    views = {one["name"]: one for one in (await http.get("/v1/status")).json()["views"]}
    assert (views["timeline"]["behind"] > 0, views["timeline"]["paused"]) == (True, told)
    assert views["account_health"]["paused"] is None


async def test_it_is_not_ready_while_a_part_of_the_work_behind_it_fails(
    app: FastAPI, http: httpx.AsyncClient, platform: Platform, capsys: pytest.CaptureFixture[str]
):
    async with app.router.lifespan_context(app):
        assert (await http.get("/readyz")).status_code == 200
        assert platform.embedded is not None
        platform.embedded.log.close()
        async with asyncio.timeout(20):
            while not any("fails and is tried again" in reason for reason in await reasons(http)):
                await asyncio.sleep(0.01)
        assert (await http.get("/readyz")).status_code == 503
        assert (await http.get("/livez")).status_code == 200
    told = capsys.readouterr()
    assert "a part of engage fails" in told.out + told.err


async def test_stores_that_hang_are_told_of_before_who_probes_gives_up(
    http: httpx.AsyncClient, platform: Platform, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(status, "_PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(gauges, "_READ_SECONDS", 0.01)
    monkeypatch.setattr(platform.log, "end", lambda _: asyncio.Event().wait())
    async with asyncio.timeout(2):
        [reason] = await reasons(http)
        told = (await http.get("/metrics")).text
    assert "have not answered" in reason
    assert "engage_stores_readable 0.0" in told


async def test_what_comes_in_is_worked_on_while_it_serves(app: FastAPI, http: httpx.AsyncClient):
    async with app.router.lifespan_context(app):
        await http.post("/v1/events", json=order())
        deadline = asyncio.get_running_loop().time() + 20
        while (found := await http.get("/v1/accounts/customer-17")).status_code != 200:
            assert asyncio.get_running_loop().time() < deadline, found.text


async def test_the_status_says_how_far_everything_has_come(http: httpx.AsyncClient, platform: Platform):
    await http.post("/v1/events", json=[order(f"o-{n}", f"c-{n}") for n in range(20)])
    before = (await http.get("/v1/status")).json()
    assert sum(one["end"] for one in before["log"]) >= 20
    assert all(view["behind"] >= 20 for view in before["views"])
    await platform.settle()
    after = (await http.get("/v1/status")).json()
    assert all(view["behind"] == 0 and view["parked"] == 0 for view in after["views"])
    assert (after["desk_behind"], after["relay_waiting"], after["dead_letters"]) == (0, 0, 0)
    assert after["files"]["log.db"] > 0


async def test_what_is_not_there_is_a_problem(http: httpx.AsyncClient):
    answer = await http.get("/v1/nothing")
    assert (answer.status_code, answer.headers["content-type"], answer.json()["status"]) == (404, PROBLEM, 404)


async def test_a_wrong_method_is_a_problem_that_names_the_right_one(http: httpx.AsyncClient):
    for path, methods in {
        "/v1/events": "POST",
        "/v1/webhooks": "GET, POST",
        "/v1/webhooks/we_1": "DELETE, GET",
    }.items():
        answer = await http.put(path, json={})
        assert (answer.status_code, answer.headers["content-type"]) == (405, PROBLEM)
        assert answer.headers["allow"] == methods


async def test_a_failure_of_ours_shows_no_stack(app: FastAPI, http: httpx.AsyncClient):
    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("a secret of the inside")

    answer = await http.get("/broken")
    assert (answer.status_code, answer.headers["content-type"]) == (500, PROBLEM)
    assert "secret" not in answer.text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", ""])
async def test_who_asks_for_another_host_is_refused(http: httpx.AsyncClient, host: str):
    assert (await http.get("/livez", headers={"host": host})).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9999", "[::1]:8080"])
async def test_who_asks_for_this_machine_is_welcome(http: httpx.AsyncClient, host: str):
    assert (await http.get("/livez", headers={"host": host})).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/v1/nothing", "/openapi.json"])
async def test_every_answer_tells_browsers_to_be_careful(http: httpx.AsyncClient, path: str):
    headers = (await http.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers


async def test_a_page_shows_every_route_and_loads_nothing_from_elsewhere(http: httpx.AsyncClient):
    page = await http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    for path in (await http.get("/openapi.json")).json()["paths"]:
        assert path in page.text
    for loading in ("src=", "<link", "@import", "url(", "<script"):
        assert loading not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_the_root_says_where_to_go(http: httpx.AsyncClient):
    places = (await http.get("/")).json()
    assert places["docs"] == "/docs"
    for name in ("docs", "openapi", "follow_ups", "status", "alive", "ready"):
        assert (await http.get(places[name])).status_code == 200


async def test_the_document_describes_every_route_with_examples(http: httpx.AsyncClient):
    document = (await http.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    schemas = document["components"]["schemas"]
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len(operations) >= 12
    for operation in operations:
        done = next(said for status, said in operation["responses"].items() if status.startswith("2"))
        for media, content in done.get("content", {}).items():
            assert content["example"]
            if media == "application/json" and "$ref" in content["schema"]:
                assert content["schema"]["$ref"].removeprefix("#/components/schemas/") in schemas


async def test_each_example_of_its_description_fits_what_it_is_an_example_of(http: httpx.AsyncClient):
    document = (await http.get("/openapi.json")).json()
    wrong = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for said in (operation.get("requestBody", {}), *operation["responses"].values()):
                for media, content in said.get("content", {}).items():
                    if "example" not in content or media == "text/event-stream":  # whose schema is that of one event
                        continue
                    check = Draft202012Validator(content["schema"] | {"components": document["components"]})
                    if faults := [one.message for one in check.iter_errors(content["example"])]:
                        wrong[method, path] = faults
    assert wrong == {}


async def test_its_description_says_what_to_bring_to_each_route(http: httpx.AsyncClient):
    document = (await http.get("/openapi.json")).json()
    assert {one["scheme"] for one in document["components"]["securitySchemes"].values()} == {"bearer", "basic"}

    def asks(path: str, method: str) -> set[str]:
        asked = document["paths"][path][method].get("security", [])
        return {scope for way in asked for scopes in way.values() for scope in scopes}

    assert asks("/v1/events", "post") == asks("/v1/batch", "post") == {"publish"}
    assert asks("/v1/accounts/{account}", "get") == {"read"}
    assert asks("/v1/follow-ups/{follow_up}/start", "post") == {"work"}
    assert asks("/v1/projections/{name}/rebuild", "post") == {"operate"}
    assert asks("/livez", "get") == set()
