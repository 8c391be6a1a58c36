"""``/metrics`` tells what was counted and how things stand, by route and never by id."""

from collections.abc import Mapping

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from engage.services.platform import Platform
from tests.http.given import Clock, order, ticket

Figures = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


async def figures(http: httpx.AsyncClient) -> Figures:
    answer = await http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(answer.text))
    names = [family.name for family in families]
    assert len(names) == len(set(names)), "a metric is told twice"
    return {(one.name, frozenset(one.labels.items())): one.value for each in families for one in each.samples}


def grown(before: Figures, after: Figures, name: str, **labels: str) -> float:
    key = (name, frozenset(labels.items()))
    return after[key] - before.get(key, 0.0)


async def test_what_is_published_is_counted_by_its_answer_and_decisions_by_their_outcome(
    http: httpx.AsyncClient, platform: Platform, clock: Clock
):
    before = await figures(http)
    await http.post("/v1/events", json=[order("o-1"), order("o-2"), order("o-1"), {"odd": True}, ticket()])
    clock.move(hours=40)
    await platform.settle()
    after = await figures(http)
    for answer, count in {"taken": 3, "duplicate": 1, "refused": 1}.items():
        assert grown(before, after, "engage_published_events_total", answer=answer) == count
    assert grown(before, after, "engage_refused_events_total", reason="envelope") == 1
    assert grown(before, after, "engage_decisions_total", outcome="requested") >= 1
    assert grown(before, after, "engage_event_to_decision_seconds_count") >= 1
    assert grown(before, after, "engage_event_to_view_seconds_count") >= 1
    on_log = sum(value for (name, _), value in after.items() if name == "engage_log_end")
    assert grown(before, after, "engage_events_taken_total") == on_log
    assert grown(before, after, "engage_events_folded_total") == on_log


async def test_each_class_of_dead_letters_is_told_before_there_is_one(http: httpx.AsyncClient):
    told = {dict(labels)["class"] for name, labels in await figures(http) if name == "engage_dead_letters_total"}
    assert told >= {"failed", "unread", "data", "not_json", "too_old"}  # an alert looks for an increase


async def test_how_things_stand_is_told_as_of_now(http: httpx.AsyncClient, platform: Platform, clock: Clock):
    await http.post("/v1/events", json=[order(), ticket()])
    found = await figures(http)
    assert found["engage_view_lag_records", frozenset({("view", "timeline")})] >= 2
    assert found["engage_stores_readable", frozenset()] == 1
    clock.move(hours=30)
    due = await figures(http)
    assert due["engage_oldest_due_wake_seconds", frozenset({("of", "rules")})] > 0
    await platform.settle()
    settled = await figures(http)
    assert settled["engage_view_lag_records", frozenset({("view", "timeline")})] == 0
    assert settled["engage_oldest_due_wake_seconds", frozenset({("of", "rules")})] == 0
    queue = (await http.get("/v1/follow-ups")).json()["follow_ups"]
    assert settled["engage_open_follow_ups", frozenset()] == len(queue) > 0
    assert settled["engage_overdue_follow_ups", frozenset()] == sum(one["overdue"] for one in queue)
    assert settled["engage_store_bytes", frozenset({("store", "log.db")})] > 0
    assert settled["engage_parked_rows", frozenset({("view", "timeline")})] == 0


async def test_requests_are_counted_by_route_and_never_by_id(http: httpx.AsyncClient):
    before = await figures(http)
    for account in ("customer-17", "a%2Fb", "%F0%9F%98%80"):
        await http.get(f"/v1/accounts/{account}")
    await http.get("/v1/nothing/at/all")
    await http.request("BREW", "/livez")
    after = await figures(http)
    of_account = {"method": "GET", "route": "/v1/accounts/{account:path}"}
    assert grown(before, after, "engage_http_requests_total", **of_account, status="404") == 3
    assert grown(before, after, "engage_http_request_seconds_count", **of_account) == 3
    assert grown(before, after, "engage_http_requests_total", method="GET", route="none", status="404") == 1
    routes = {dict(labels).get("route", "") for _, labels in after}
    assert not any("customer-17" in route or "nothing" in route for route in routes)
    assert "BREW" not in {dict(labels).get("method") for _, labels in after}


async def test_a_failure_of_ours_is_counted_as_one(app: FastAPI, http: httpx.AsyncClient):
    @app.get("/fails")
    def fails() -> None:
        raise RuntimeError("broken")

    before = await figures(http)
    assert (await http.get("/fails")).headers["x-content-type-options"] == "nosniff"
    after = await figures(http)
    assert grown(before, after, "engage_http_requests_total", method="GET", route="/fails", status="500") == 1


async def test_what_cannot_be_read_is_told_beside_what_was_counted(http: httpx.AsyncClient, platform: Platform):
    assert platform.embedded is not None
    platform.embedded.log.close()
    found = await figures(http)
    assert found["engage_stores_readable", frozenset()] == 0
    assert ("engage_events_taken_total", frozenset()) in found


@pytest.mark.parametrize(
    ("sent", "echoed"), [("order-7/attempt.2", True), ("ada@example.com", False), ("x" * 129, False), (None, False)]
)
async def test_a_request_has_an_id_that_every_answer_bears(http: httpx.AsyncClient, sent: str | None, echoed: bool):
    for path in ("/livez", "/v1/nothing"):
        answer = await http.get(path, headers={} if sent is None else {"x-request-id": sent})
        found = answer.headers.get_list("x-request-id")
        assert found == [sent] if echoed else (len(found) == 1 and len(found[0]) == 32)
