"""Every read model over HTTP: typed questions, pages, rows with entity tags, whole tables as text."""

import asyncio
import csv
import io
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx
import uvicorn

from engage.http.spooled import PatientResponse, spooled
from engage.services.platform import Platform
from projections import PROJECTIONS
from tests.http.given import STRANGE_IDS, order

PROBLEM = "application/problem+json"


async def published(http: httpx.AsyncClient, platform: Platform, *events: dict[str, Any]) -> list[str]:
    """Publish, and fold; the tokens."""
    answer = await http.post("/v1/events", json=list(events))
    assert answer.status_code == 200, answer.text
    await platform.settle()
    return [one["token"] for one in answer.json()["results"]]


def path(view: str, key: str) -> str:
    return f"/v1/views/{view}/{quote(key, safe='').replace('.', '%2E')}"


async def pages(http: httpx.AsyncClient, view: str, **asked: str) -> list[dict[str, Any]]:
    """All rows, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        answer = await http.get(f"/v1/views/{view}", params=asked)
        assert answer.status_code == 200, answer.text
        found += answer.json()["rows"]
        if answer.json()["next"] is None:
            return found
        asked = asked | {"cursor": answer.json()["next"]}


async def test_what_can_be_asked_for_is_listed_with_types_and_words(http: httpx.AsyncClient):
    views = {view["name"]: view for view in (await http.get("/v1/views")).json()["views"]}
    assert set(views) == {model.name for model in PROJECTIONS}
    health = views["account_health"]
    columns = {column["name"]: column for column in health["columns"]}
    assert (health["key"], columns["score"]["type"], columns["score"]["nullable"]) == ("account", "number", True)
    assert "0-100" in columns["score"]["description"]
    assert columns["band"]["values"] == ["at_risk", "slipping", "steady", "thriving", "unknown"]
    assert ["band", "score"] in health["indexed"]
    assert views["market_trends"]["merged"]
    assert all(column.get("description") for view in views.values() for column in view["columns"])


async def test_rows_are_asked_for_by_column_in_order_page_by_page(http: httpx.AsyncClient, platform: Platform):
    events = [order(f"o-{n}", f"customer-{n}", time=f"2026-02-{n + 1:02}T10:00:00Z") for n in range(9)]
    await published(http, platform, *events, order("again", "customer-3"))
    rows = await pages(http, "account_health", sort="-score", fields="account,score", limit="4", score__gt="0")
    assert len(rows) == 9
    assert rows[0]["account"] == "customer-3"
    assert rows == sorted(rows, key=lambda row: -row["score"])
    assert set(rows[0]) == {"account", "score"}
    some = await pages(http, "profile", account__in="customer-1,customer-2,customer-77", fields="account")
    assert some == [{"account": "customer-1"}, {"account": "customer-2"}]
    entries = await pages(http, "timeline", account__prefix="customer-3", source="urn:shop", fields="event_id,time")
    assert {entry["event_id"] for entry in entries} == {"o-3", "again"}


async def test_every_view_is_answered_as_a_page_and_as_text(http: httpx.AsyncClient, platform: Platform):
    await published(http, platform, order(), order("o-2", "customer-18"))
    for model in PROJECTIONS:
        page = await http.get(f"/v1/views/{model.name}")
        assert page.status_code == 200, page.text
        rows = page.json()["rows"]
        table = await http.get(f"/v1/views/{model.name}?format=csv")
        assert len(list(csv.DictReader(io.StringIO(table.text)))) == len(rows), model.name
        lines = await http.get(f"/v1/views/{model.name}", headers={"accept": "application/x-ndjson"})
        key = lambda row: str(next(iter(row.values())))  # noqa: E731
        assert sorted(map(json.loads, lines.text.splitlines()), key=key) == sorted(rows, key=key)


async def test_what_is_added_up_across_accounts_is_asked_in_the_same_way(http: httpx.AsyncClient, platform: Platform):
    sold = [
        order(f"o-{n}", f"customer-{n}", time=f"2026-0{n % 2 + 1}-01T10:00:00Z", data={
            "order_id": f"o-{n}", "total": 10, "currency": "EUR",
            "products": [{"product_id": "p", "category": "jazz" if n % 3 else "rock", "price": 10, "quantity": 1}],
        })
        for n in range(12)
    ]  # fmt: skip
    await published(http, platform, *sold)
    all_rows = await pages(http, "market_trends")
    assert len(all_rows) >= 4
    rows = await pages(http, "market_trends", category="jazz", sort="-week", limit="1")
    assert [row["week_category"] for row in rows] == sorted(
        (row["week_category"] for row in all_rows if row["category"] == "jazz"), reverse=True
    )
    one = await http.get(path("market_trends", rows[0]["week_category"]))
    assert one.json() == rows[0]
    tag = {"if-none-match": one.headers["etag"]}
    assert (await http.get(path("market_trends", rows[0]["week_category"]), headers=tag)).status_code == 304
    assert (await http.get(path("market_trends", "nothing"))).status_code == 404


WRONG = [
    ("nothing=1", "/query/nothing", "no column"),
    ("score__lt=low", "/query/score__lt", "not a number"),
    ("score__lt=nan", "/query/score__lt", "not a number"),
    ("version__gt=1e30", "/query/version__gt", "whole number"),
    ("version__gt=99999999999999999999", "/query/version__gt", "whole number"),
    ("band=good", "/query/band", "none of at_risk"),
    ("as_of__gt=2026-03-01", "/query/as_of__gt", "moment"),
    ("as_of__gt=2026-03-01T10:00:00", "/query/as_of__gt", "offset"),
    ("score__like=1", "/query/score__like", "no test"),
    ("score__prefix=1", "/query/score__prefix", "only a text"),
    ("reasons=1", "/query/reasons", "JSON"),
    ("band=steady&band=slipping", "/query/band", "twice"),
    ("account=%00", "/query/account", "U+0000"),
    ("sort=nothing", "/query/sort", "no column"),
    ("sort=reasons", "/query/sort", "no order"),
    ("sort=score&sort=band", "/query/sort", "twice"),
    ("fields=account,nothing", "/query/fields", "no column"),
    ("limit=0", "/query/limit", "1 to 1000"),
    ("limit=1001", "/query/limit", "1 to 1000"),
    ("cursor=x", "/query/cursor", "none of ours"),
    ("cursor=W10", "/query/cursor", "none of ours"),
    ("format=xml", "/query/format", "json, csv or ndjson"),
    ("format=csv&cursor=x", "/query/cursor", "whole tables"),
]


async def test_a_question_that_does_not_fit_is_422_and_named(http: httpx.AsyncClient, platform: Platform):
    await platform.settle()
    for query, pointer, words in WRONG:
        answer = await http.get(f"/v1/views/account_health?{query}")
        assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM), query
        assert [fault["pointer"] for fault in answer.json()["faults"]] == [pointer], query
        assert words in answer.json()["detail"], query


async def test_a_cursor_is_good_for_its_own_question_alone(http: httpx.AsyncClient, platform: Platform):
    await published(http, platform, *[order(f"o-{n}", f"customer-{n}") for n in range(3)])
    cursor = (await http.get("/v1/views/profile?limit=1&sort=-last_interaction")).json()["next"]
    for other in ("sort=last_interaction", "sort=-last_interaction&kind=customer", ""):
        answer = await http.get(f"/v1/views/profile?limit=1&{other}", params={"cursor": cursor})
        assert answer.status_code == 422, other
        assert "leave the conditions and the order" in answer.json()["detail"] or "none of ours" in answer.text
    same = await http.get("/v1/views/profile", params={"limit": 5, "sort": "-last_interaction", "cursor": cursor})
    assert same.status_code == 200


async def test_a_view_that_is_not_there_is_404_and_what_was_meant_is_said(http: httpx.AsyncClient):
    answer = await http.get("/v1/views/acount_health")
    assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM)
    assert "did you mean account_health" in answer.json()["detail"]
    assert (await http.get("/v1/views/%F0%9F%98%80/x")).status_code == 404


async def test_any_key_names_its_row(http: httpx.AsyncClient, platform: Platform):
    await published(http, platform, *[order(subject=account) for account in STRANGE_IDS])
    for account in STRANGE_IDS:
        assert (await http.get(path("profile", account))).json()["account"] == account
        assert await pages(http, "profile", account=account, fields="account") == [{"account": account}]


async def test_a_row_that_is_not_there_is_404(http: httpx.AsyncClient, platform: Platform):
    await platform.settle()
    for key in ("nobody", "%00", "%ff"):
        answer = await http.get(f"/v1/views/profile/{key}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM), key


async def test_a_row_has_a_tag_that_changes_with_it(http: httpx.AsyncClient, platform: Platform):
    await published(http, platform, order(), order("o-2", "customer-18"))
    first = await http.get(path("profile", "customer-17"))
    tag = first.headers["etag"]
    same = await http.get(path("profile", "customer-17"), headers={"if-none-match": f'"x", W/{tag}'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert (await http.get(path("profile", "customer-17"), params={"fields": "account"})).headers["etag"] != tag
    await published(http, platform, order("o-3"))
    after = await http.get(path("profile", "customer-17"), headers={"if-none-match": tag})
    assert after.status_code == 200
    assert after.headers["etag"] != tag


async def test_a_question_waits_for_its_own_view_alone(http: httpx.AsyncClient, platform: Platform):
    token = (await http.post("/v1/events", json=order())).json()["results"][0]["token"]
    late = await http.get("/v1/views/profile", params={"wait_for": token, "wait_seconds": "0"})
    assert (late.status_code, late.json()["behind"]) == (504, {"profile": 0})
    await platform.settle()
    for where in ("/v1/views/profile", path("profile", "customer-17"), "/v1/views/market_trends"):
        assert (await http.get(where, params={"wait_for": token, "wait_seconds": "0"})).status_code == 200
    assert (await http.get("/v1/views/profile", params={"wait_for": "x"})).status_code == 422


async def test_json_stands_in_csv_as_json_and_null_as_nothing(http: httpx.AsyncClient, platform: Platform):
    await published(http, platform, order(subject='a "b", ع 😀'))
    answer = await http.get("/v1/views/account_health", headers={"accept": "text/html, text/csv;q=0.9, */*;q=0.1"})
    assert answer.headers["content-type"].startswith("text/csv")
    [row] = csv.DictReader(io.StringIO(answer.text))
    assert row["account"] == 'a "b", ع 😀'
    assert set(json.loads(row["reasons"])) >= {"purchasing"}
    assert (row["delivery"], row["as_of"]) == ("", "2026-03-02T09:00:00Z")


async def test_a_long_table_is_of_one_moment_and_stays_out_of_memory(http: httpx.AsyncClient, platform: Platform):
    await published(http, platform, *[order(f"o-{n}", f"customer-{n}") for n in range(700)])
    async with http.stream("GET", "/v1/views/profile?format=ndjson&sort=-account&fields=account") as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line)["account"] async for line in answer.aiter_lines()]
    assert lines == sorted(lines, reverse=True)
    assert len(lines) == 700


async def test_what_nobody_reads_on_is_not_made_on() -> None:
    made: list[int] = []
    left: list[int] = []

    @contextmanager
    def pieces() -> Iterator[Iterator[bytes]]:
        def all_of_them() -> Iterator[bytes]:
            while True:
                made.append(1)
                yield b"x" * 100_000

        yield all_of_them()
        left.append(1)

    body = spooled(pieces)
    assert await anext(body)
    await body.aclose()  # type: ignore[attr-defined]  # an async generator
    assert left
    assert len(made) < 1_000


async def test_a_client_that_takes_nothing_is_let_go() -> None:
    sent, ended = 0, asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 100_000
            yield b"x" * 100_000

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await PatientResponse(endless(), media_type="text/plain", patience=0.05)(scope, receive, send)
        ended.set()

    server = uvicorn.Server(uvicorn.Config(application, lifespan="off", log_config=None, access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = asyncio.create_task(server.serve([listening]))
        reader, writer = await asyncio.open_connection(*listening.getsockname(), limit=1_000)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        async with asyncio.timeout(20):
            await ended.wait()
            assert 0 < len(await reader.read()) < sent + 1_000_000  # what was on its way, and then the end
            writer.close()
            server.should_exit = True
            await running
