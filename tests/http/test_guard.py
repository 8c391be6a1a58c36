"""Who may come in: every route asks, says what to bring, and never says what was brought."""

import asyncio
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import httpx
import msgspec
import pytest
from fastapi import APIRouter, FastAPI

from engage import bootstrap
from engage.events import codec
from engage.http import changes, status
from engage.http.app import create_app
from engage.http.guard import guarded
from engage.http.problems import ProblemError
from engage.scopes import SCOPES
from engage.services import access
from engage.services.api_keys import ApiKeys
from engage.services.platform import Platform
from engage.settings import Settings
from tests.http.given import Clock, order, ticket
from tests.http.served import served

PROBLEM = "application/problem+json"
OPEN = {"/livez", "/readyz"}
ASKED = [
    ("publish", "POST", "/v1/events"),
    ("read", "GET", "/v1/follow-ups"),
    ("read", "GET", "/v1/accounts/customer-17"),
    ("work", "POST", "/v1/follow-ups/7f6b1a0e-2c53-5d0a-9f0e-3b1f6a2f9c11/start"),
    ("operate", "GET", "/v1/status"),
]


@pytest.fixture
def keys(tmp_path: Path, platform: Platform, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiKeys]:
    """What another process does with the keys; every request reads them anew."""
    monkeypatch.setattr(access, "FRESH_SECONDS", 0.0)
    with closing(bootstrap.access_store(Settings(home=str(tmp_path)))) as store:
        yield ApiKeys(store, "ada", clock)


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def basic(user: str) -> dict[str, str]:
    return {"authorization": f"Basic {b64encode(f'{user}:'.encode()).decode()}"}


def ruin(database: Path) -> None:
    for rest in database.parent.glob(f"{database.name}*"):
        rest.unlink()
    database.write_bytes(b"no database at all, but long enough to be looked at" * 100)


async def test_every_route_that_is_described_is_guarded_but_for_the_probes(http: httpx.AsyncClient):
    document = (await http.get("/openapi.json")).json()
    unguarded = {
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if not {"401", "403"} <= operation["responses"].keys()
    }
    assert unguarded == OPEN


async def test_on_loopback_everything_may_be_asked_until_there_is_a_key(http: httpx.AsyncClient, keys: ApiKeys):
    for authorization in ({}, bearer("anything"), basic("a-write-key")):
        assert (await http.get("/v1/status", headers=authorization)).status_code == 200
    _, secret = keys.create("monitor", ["operate"])
    for authorization in ({}, bearer("anything"), basic("a-write-key")):
        assert (await http.get("/v1/status", headers=authorization)).status_code == 401
    assert (await http.get("/v1/status", headers=bearer(secret))).status_code == 200


async def test_a_key_opens_what_its_scope_says_and_nothing_else(http: httpx.AsyncClient, keys: ApiKeys):
    secrets = {scope: keys.create(f"only-{scope}", [scope])[1] for scope in SCOPES}
    for scope, method, path in ASKED:
        without = await http.request(method, path)
        assert (without.status_code, without.headers["content-type"]) == (401, PROBLEM)
        assert without.headers["www-authenticate"] == 'Bearer realm="engage"'
        assert "engage api-keys create" in without.json()["detail"]
        for brought, secret in secrets.items():
            answer = await http.request(method, path, headers=bearer(secret))
            if brought == scope:
                assert answer.status_code not in (401, 403), path
            else:
                assert (answer.status_code, answer.headers["content-type"]) == (403, PROBLEM)
                assert f'scope="{scope}"' in answer.headers["www-authenticate"]


async def test_what_is_open_stays_open(http: httpx.AsyncClient, keys: ApiKeys):
    keys.create("shop", ["publish"])
    for path in ("/", "/docs", "/openapi.json", *OPEN):
        assert (await http.get(path)).status_code == 200, path


async def test_segments_clients_bring_their_write_key_as_the_user_of_basic(http: httpx.AsyncClient, keys: ApiKeys):
    _, secret = keys.create("shop", ["publish"])
    assert (await http.post("/v1/events", json=order(), headers=basic(secret))).status_code == 200


async def test_whatever_else_is_brought_is_401(http: httpx.AsyncClient, keys: ApiKeys):
    key, secret = keys.create("shop", ["operate"])
    headers = ["", "Bearer", "Bearer ", "Basic", "Basic !!!", "Basic /w==", "Basic Og==", "Digest x", secret, "\xff"]
    for header in headers:
        brought = [(b"authorization", header.encode("latin-1"))]
        assert (await http.get("/v1/status", headers=brought)).status_code == 401, header
    near = (key.prefix, f"{key.prefix}_", secret[:-1], secret + "A", secret.swapcase(), f"engage_{secret}")
    for wrong in (*near, "a.b.c"):
        answer = await http.get("/v1/status", headers=bearer(wrong))
        assert answer.status_code == 401, wrong
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_a_key_ends_when_it_is_revoked_or_has_had_its_time(
    http: httpx.AsyncClient, keys: ApiKeys, clock: Clock, platform: Platform
):
    async def status(secret: str) -> int:
        return (await http.get("/v1/status", headers=bearer(secret))).status_code

    _, short = keys.create("short", ["operate"], expires=timedelta(days=1))
    _, before = keys.create("long", ["operate"])
    _, after = keys.rotate("long", timedelta(days=1))
    assert [await status(one) for one in (short, before, after)] == [200, 200, 200]
    clock.move(days=1)
    assert [await status(one) for one in (short, before, after)] == [401, 401, 200]
    keys.revoke("long")
    assert await status(after) == 401
    assert (await http.get("/v1/status")).status_code == 401, "who revokes the last key does not open the door"


async def test_a_revoked_key_stops_within_seconds_where_keys_are_held_in_memory(
    http: httpx.AsyncClient, keys: ApiKeys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(access, "FRESH_SECONDS", 0.2)
    _, secret = keys.create("monitor", ["operate"])
    async with asyncio.timeout(10):
        while (await http.get("/v1/status", headers=bearer("wrong"))).status_code != 401:
            await asyncio.sleep(0.01)
        assert (await http.get("/v1/status", headers=bearer(secret))).status_code == 200
        keys.revoke("monitor")
        while (await http.get("/v1/status", headers=bearer(secret))).status_code != 401:
            await asyncio.sleep(0.01)


async def test_when_a_key_was_last_used_is_noted_now_and_then(http: httpx.AsyncClient, keys: ApiKeys, clock: Clock):
    _, secret = keys.create("monitor", ["operate"])

    async def noted():
        for _ in range(2):  # the second one notes the first
            await http.get("/v1/status", headers=bearer(secret))
        return keys.every()[0].last_used

    first = clock()
    assert await noted() == first
    clock.move(minutes=5)
    assert await noted() == first
    clock.move(minutes=6)
    assert await noted() == clock()


async def test_a_key_publishes_as_its_own_sources_alone(http: httpx.AsyncClient, keys: ApiKeys):
    _, secret = keys.create("shop", ["publish"], ["urn:shop"])
    batch = [order("o-1"), order("o-2", source="urn:bank"), order("o-3")]
    answer = await http.post("/v1/events", json=batch, headers=bearer(secret))
    assert answer.status_code == 207
    assert [one["status"] for one in answer.json()["results"]] == ["taken", "refused", "taken"]
    assert answer.json()["results"][1]["faults"][0]["pointer"] == "/source"
    single = await http.post("/v1/events", json=order("o-4", source="urn:bank"), headers=bearer(secret))
    assert (single.status_code, single.json()["reason"]) == (422, "source")


async def test_who_asks_too_often_is_told_when_to_ask_again(http: httpx.AsyncClient, keys: ApiKeys):
    _, hasty = keys.create("hasty", ["operate"], rate=0.01)
    _, calm = keys.create("calm", ["operate"])
    assert (await http.get("/v1/status", headers=bearer(hasty))).status_code == 200
    again = await http.get("/v1/status", headers=bearer(hasty))
    assert (again.status_code, again.headers["content-type"]) == (429, PROBLEM)
    assert 0 < int(again.headers["retry-after"]) <= 100
    assert (await http.get("/v1/status", headers=bearer(calm))).status_code == 200


async def test_a_command_bears_the_name_that_was_proven(
    http: httpx.AsyncClient, keys: ApiKeys, platform: Platform, clock: Clock
):
    await http.post("/v1/events", json=ticket())
    clock.move(days=1)
    await platform.settle()
    _, secret = keys.create("console", ["read", "work"])
    [waiting] = (await http.get("/v1/follow-ups", headers=bearer(secret))).json()["follow_ups"]
    path = f"/v1/follow-ups/{waiting['follow_up']}"
    said = [{"assignee": "grace"}, {"assignee": "ada", "actor": "console"}, {"assignee": "bob", "actor": "ada"}]
    for body in said:
        answer = await http.post(f"{path}/assign", json=body, headers=bearer(secret))
        assert answer.status_code == 200, answer.text
    await platform.settle()
    events = [
        codec.decode(record.value)
        for partition in range(platform.log.partitions)
        for record in (await platform.log.read(partition, 0, 1_000)).records
    ]
    actors = [event.actor for event in events if event.type == "follow_up.assigned"]
    assert actors == ["console", "console", "console/ada"]


async def test_what_is_commanded_of_engage_itself_leaves_its_trace(
    app: FastAPI, http: httpx.AsyncClient, keys: ApiKeys, platform: Platform
):
    router = APIRouter(**guarded("operate"))

    @router.post("/v1/engines/{engine}/start")
    def start(engine: str) -> dict[str, str]:
        if engine == "broken":
            raise ProblemError(409, "it does not start")
        return {"engine": engine}

    @router.get("/v1/engines/{engine}")
    def look(engine: str) -> dict[str, str]:
        return {"engine": engine}

    app.include_router(router)
    await http.post("/v1/engines/one/start")
    await http.post("/v1/engines/two/start", headers={"x-engage-actor": "gr%C3%A4ce"})
    _, operator = keys.create("console", ["operate"])
    _, reader = keys.create("reader", ["read"])
    await http.post("/v1/engines/three/start", headers=bearer(operator))
    await http.post("/v1/engines/broken/start", headers=bearer(operator) | {"x-engage-actor": "ada"})
    await http.get("/v1/engines/three", headers=bearer(operator))
    assert (await http.post("/v1/engines/four/start", headers=bearer(reader))).status_code == 403
    assert (await http.post("/v1/engines/four/start")).status_code == 401
    told = [(one.actor, one.thing, one.outcome) for one in platform.access.store.deeds(10) if "engines" in one.command]
    assert told[::-1] == [
        ("anybody", "one", "done"),
        ("gr\u00e4ce", "two", "done"),
        ("console", "three", "done"),
        ("console/ada", "broken", "failed"),
    ]


async def test_a_command_that_keeps_its_own_trace_leaves_one(
    http: httpx.AsyncClient, keys: ApiKeys, platform: Platform
):
    _, secret = keys.create("console", ["operate"])
    await http.post("/v1/projections/profile/pause", headers={**bearer(secret), "x-engage-actor": "ada"})
    told = [(one.actor, one.command) for one in platform.access.store.deeds(10)]
    assert told == [("console/ada", "projections pause"), ("ada", "api-keys create")]


async def test_a_page_from_elsewhere_changes_nothing_where_nobody_is_asked_for_a_key(
    http: httpx.AsyncClient, keys: ApiKeys
):
    def page(site: str, **more: str) -> dict[str, str]:
        return {"sec-fetch-site": site, "origin": "https://evil.example", "content-type": "text/plain"} | more

    body = b'{"userId": "customer-17", "event": "Robot Waved", "messageId": "m-1"}'
    for site in ("cross-site", "same-site"):
        refused = await http.post("/v1/track", content=body, headers=page(site))
        assert (refused.status_code, refused.headers["content-type"]) == (403, PROBLEM)
    assert (await http.post("/v1/track", content=body, headers=page("same-origin"))).status_code == 200
    assert (await http.get("/v1/status", headers=page("cross-site"))).status_code == 200
    _, secret = keys.create("shop", ["publish"])
    assert (await http.post("/v1/track", content=body, headers=page("cross-site", **basic(secret)))).status_code == 200


async def test_pages_from_elsewhere_may_ask_only_where_a_setting_names_them(
    http: httpx.AsyncClient, platform: Platform
):
    asks = {"origin": "https://crm.example", "access-control-request-method": "POST"}
    asks["access-control-request-headers"] = "authorization,if-match"
    assert not {name for name in (await http.options("/v1/events", headers=asks)).headers if "access-control" in name}
    opened = create_app(platform, origins=("https://crm.example",))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(opened), base_url="http://127.0.0.1") as named:
        before = await named.options("/v1/events", headers=asks)
        assert (before.status_code, before.headers["access-control-allow-origin"]) == (200, "https://crm.example")
        assert "access-control-allow-credentials" not in before.headers
        answer = await named.post("/v1/events", json=order(), headers=asks | {"sec-fetch-site": "cross-site"})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://crm.example")
        assert "etag" in answer.headers["access-control-expose-headers"]
        other = await named.options("/v1/events", headers=asks | {"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


async def test_a_probe_is_told_that_it_is_not_ready_and_an_operator_why(
    http: httpx.AsyncClient, keys: ApiKeys, monkeypatch: pytest.MonkeyPatch
):
    _, secret = keys.create("monitor", ["operate"])
    monkeypatch.setattr(status, "READY_LAG", -1)
    probe, told = await http.get("/readyz"), await http.get("/readyz", headers=bearer(secret))
    assert (probe.status_code, told.status_code) == (503, 503)
    assert "timeline" in told.text
    assert "timeline" not in probe.text


async def test_who_follows_a_read_model_is_cut_off_when_the_key_is_revoked(
    platform: Platform, keys: ApiKeys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(changes, "ASK_AGAIN_SECONDS", 0.0)
    _, secret = keys.create("crm", ["read"])
    async with (
        served(platform) as client,
        asyncio.timeout(20),
        client.stream("GET", "/v1/changes/profile", headers=bearer(secret)) as answer,
    ):
        lines = answer.aiter_lines()
        assert await anext(lines) == "event: ready"
        keys.revoke("crm")
        await platform.publish([msgspec.json.encode(order())])
        await platform.settle()
        platform.waiting.tell()
        assert not [line async for line in lines if line.startswith("event: changed")]


async def test_where_nobody_proves_a_name_one_has_to_be_said(http: httpx.AsyncClient, platform: Platform, clock: Clock):
    path = "/v1/follow-ups/7f6b1a0e-2c53-5d0a-9f0e-3b1f6a2f9c11/start"
    answer = await http.post(path, json={})
    assert (answer.status_code, answer.json()["faults"][0]["pointer"]) == (422, "/actor")


async def test_who_may_read_the_folder_comes_in_whatever_keys_there_are(
    http: httpx.AsyncClient, keys: ApiKeys, platform: Platform
):
    keys.create("shop", ["publish"])
    assert (await http.get("/v1/status", headers=bearer(platform.access.local_secret))).status_code == 200


async def test_nobody_comes_in_while_the_keys_cannot_be_read(
    http: httpx.AsyncClient, keys: ApiKeys, platform: Platform, tmp_path: Path
):
    _, secret = keys.create("monitor", ["operate"])
    ruin(tmp_path / "access.db")
    platform.access.store.close()  # what it has open it would go on reading
    answer = await http.get("/v1/status", headers=bearer(secret))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_no_secret_is_told_to_anybody(
    app: FastAPI, http: httpx.AsyncClient, keys: ApiKeys, platform: Platform, capsys: pytest.CaptureFixture[str]
):
    _, secret = keys.create("shop", ["publish"])
    wrong = secret[:-4] + "AAAA"
    answers = [
        await http.request(method, path, headers=headers)
        for _, method, path in ASKED
        for headers in (bearer(secret), bearer(wrong), basic(secret), basic(wrong))
    ]
    said = [answer.text + str(answer.headers) for answer in answers]
    said += [(await http.get("/v1/status", headers=bearer(platform.access.local_secret))).text]
    said += [repr(value) for value in (app.state.access, platform, platform.access, keys, keys.every())]
    said += [repr(vars(platform.access)["_keys"]), *capsys.readouterr()]
    for hidden in (secret, wrong, secret.split("_", 2)[2], platform.access.local_secret):
        assert not [text for text in said if hidden in text]
