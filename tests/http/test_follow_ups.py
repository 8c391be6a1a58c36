"""The queue over HTTP, and what people do with what is in it."""

import asyncio

import httpx
import pytest

from engage.services.platform import Platform
from tests.http.given import Clock, ticket

QUEUE = "/v1/follow-ups"


@pytest.fixture
async def follow_up(http: httpx.AsyncClient, platform: Platform, clock: Clock) -> str:
    """The id of a follow-up that waits in the queue."""
    await http.post("/v1/events", json=ticket())
    clock.move(days=1)
    await platform.settle()
    [waiting] = (await http.get(QUEUE)).json()["follow_ups"]
    found: str = waiting["follow_up"]
    return found


async def seen(http: httpx.AsyncClient, platform: Platform, follow_up: str):
    await platform.settle()
    return (await http.get(f"{QUEUE}/{follow_up}")).json()


async def test_what_is_done_with_it_is_on_the_log_and_in_the_queue(
    http: httpx.AsyncClient, platform: Platform, clock: Clock, follow_up: str
):
    async def act(verb: str, **body: str):
        answer = await http.post(f"{QUEUE}/{follow_up}/{verb}", json={"actor": "ada", **body})
        assert answer.status_code == 200, answer.text
        row = await seen(http, platform, follow_up)
        assert answer.json()["status"] == row["status"]
        return row["status"]

    assert await act("assign", assignee="grace") == "assigned"
    until = clock.now.replace(minute=clock.now.minute + 5)
    assert await act("snooze", until=until.isoformat()) == "snoozed"
    assert await act("start") == "started"
    assert await act("complete", outcome="answered", note="called them") == "completed"
    row = await seen(http, platform, follow_up)
    assert (row["assignee"], row["outcome"]) == ("grace", "answered")
    assert (await http.get(QUEUE)).json()["follow_ups"] == []
    assert [one["follow_up"] for one in (await http.get(f"{QUEUE}?status=closed")).json()["follow_ups"]] == [follow_up]


async def test_who_asks_for_the_queue_of_another_day_is_told_where_to_ask(http: httpx.AsyncClient):
    answer = await http.get(QUEUE, params={"as_of": "2026-03-01T09:00:00Z"})
    assert answer.status_code == 422
    assert "ask /v1/views/follow_ups?as_of=" in answer.json()["detail"]


async def test_a_dismissed_one_says_why(http: httpx.AsyncClient, platform: Platform, follow_up: str):
    await http.post(f"{QUEUE}/{follow_up}/dismiss", json={"actor": "ada", "reason": "already_solved"})
    row = await seen(http, platform, follow_up)
    assert (row["status"], row["reason"]) == ("dismissed", "already_solved")


async def test_free_text_where_a_code_belongs_is_422_and_says_where_to_put_it(http: httpx.AsyncClient, follow_up: str):
    told = {"actor": "ada", "outcome": "John Secret is glad now"}
    answer = await http.post(f"{QUEUE}/{follow_up}/complete", json=told)
    assert answer.status_code == 422
    [fault] = answer.json()["faults"]
    assert fault["pointer"] == "/outcome"
    assert "say the rest in note" in fault["message"]


async def test_a_closed_one_is_409(http: httpx.AsyncClient, follow_up: str):
    done = {"actor": "ada", "outcome": "answered"}
    assert (await http.post(f"{QUEUE}/{follow_up}/complete", json=done)).status_code == 200
    again = await http.post(f"{QUEUE}/{follow_up}/complete", json=done)
    assert (again.status_code, again.headers["content-type"]) == (409, "application/problem+json")


async def test_of_two_who_saw_the_same_version_one_gets_412(http: httpx.AsyncClient, follow_up: str):
    etag = (await http.get(f"{QUEUE}/{follow_up}")).headers["etag"]
    answers = await asyncio.gather(
        *(
            http.post(f"{QUEUE}/{follow_up}/assign", json={"actor": who, "assignee": who}, headers={"if-match": etag})
            for who in ("ada", "grace")
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412]


async def test_who_reads_it_with_its_version_reads_what_was_done_last(
    http: httpx.AsyncClient, platform: Platform, follow_up: str
):
    done = {"assign": {"assignee": "grace"}, "start": {}, "dismiss": {"reason": "already_solved"}}
    for verb, body in done.items():
        answer = await http.post(f"{QUEUE}/{follow_up}/{verb}", json={"actor": "ada", **body})
        read = await http.get(f"{QUEUE}/{follow_up}")
        assert (read.headers["etag"], read.json()["status"]) == (answer.headers["etag"], answer.json()["status"])
    late, early = (await seen(http, platform, follow_up)), read.json()
    assert {**early, "closed_at": None} == {**late, "closed_at": None}


async def test_a_command_with_a_key_is_done_once_and_answered_the_same(http: httpx.AsyncClient, follow_up: str):
    async def assign(to: str, key: str, **headers: str) -> httpx.Response:
        told = {"idempotency-key": key, **headers}
        return await http.post(f"{QUEUE}/{follow_up}/assign", json={"actor": "ada", "assignee": to}, headers=told)

    first, *others = await asyncio.gather(*(assign("grace", '"k 1"') for _ in range(4)))
    assert first.status_code == 200, first.text
    assert {(one.status_code, one.text, one.headers["etag"]) for one in others} == {
        (200, first.text, first.headers["etag"])
    }
    assert (await assign("grace", "k 1")).text == first.text
    for other in (await assign("ben", "k 1"), await assign("grace", "k 1", **{"if-match": '"1"'})):
        assert other.status_code == 422
        assert other.json()["faults"][0]["pointer"] == "/header/idempotency-key"
    assert (await assign("ben", "k 2")).json()["version"] == first.json()["version"] + 1
    assert (await assign("ben", "x" * 256)).status_code == 422


async def test_an_etag_that_is_none_of_ours_is_412(http: httpx.AsyncClient, follow_up: str):
    answer = await http.post(f"{QUEUE}/{follow_up}/start", json={"actor": "ada"}, headers={"if-match": '"abc"'})
    assert answer.status_code == 412


@pytest.mark.parametrize("identity", ["x", "00000000-0000-4000-8000-000000000000", "%00"])
async def test_one_that_does_not_exist_is_404(http: httpx.AsyncClient, identity: str):
    assert (await http.get(f"{QUEUE}/{identity}")).status_code == 404
    assert (await http.post(f"{QUEUE}/{identity}/start", json={"actor": "ada"})).status_code == 404


@pytest.mark.parametrize(
    ("verb", "body", "pointer"),
    [
        ("assign", {"actor": "ada"}, "/assignee"),
        ("assign", {"actor": "ada", "assignee": 7}, "/assignee"),
        ("assign", {"actor": "", "assignee": "grace"}, "/actor"),
        ("snooze", {"actor": "ada", "until": "tomorrow"}, "/until"),
        ("snooze", {"actor": "ada", "until": "2020-01-01T00:00:00Z"}, "/until"),
        ("start", {"actor": "ada", "extra": 1}, "/extra"),
    ],
)
async def test_a_command_that_does_not_fit_is_422(
    http: httpx.AsyncClient, follow_up: str, verb: str, body: dict[str, object], pointer: str
):
    answer = await http.post(f"{QUEUE}/{follow_up}/{verb}", json=body)
    assert (answer.status_code, answer.json()["faults"][0]["pointer"]) == (422, pointer)


async def test_a_command_must_be_json(http: httpx.AsyncClient, follow_up: str):
    url = f"{QUEUE}/{follow_up}/start"
    assert (await http.post(url, content=b'{"actor": "ada"}')).status_code == 415
    json = {"content-type": "application/json"}
    assert (await http.post(url, content=b"{", headers=json)).status_code == 400
    assert (await http.post(url, content=b" " * 200_000, headers=json)).status_code == 413


async def test_half_a_character_is_no_json_also_where_nobody_reads_it(http: httpx.AsyncClient, follow_up: str):
    body = b'{"actor": 7, "odd": "\\udc00"}'
    answer = await http.post(f"{QUEUE}/{follow_up}/start", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400


async def test_the_queue_is_filtered(http: httpx.AsyncClient, follow_up: str):
    async def ids(query: str):
        return [one["follow_up"] for one in (await http.get(f"{QUEUE}?{query}")).json()["follow_ups"]]

    assert await ids("account=customer-17&rule=support-answer-overdue") == [follow_up]
    assert await ids("account=customer-18") == []
    assert await ids("rule=win-back") == []
    wrong = await http.get("/v1/follow-ups?rule=winback")
    assert (wrong.status_code, wrong.json()["faults"][0]["pointer"]) == (422, "/query/rule")
    assert "did you mean win-back?" in wrong.json()["detail"]
    assert await ids("assignee=grace") == []
    assert await ids("status=completed") == []


async def test_what_is_overdue_comes_first(http: httpx.AsyncClient, platform: Platform, clock: Clock, follow_up: str):
    late = clock.now
    await http.post("/v1/events", json=ticket("t-2", "customer-18") | {"time": late.isoformat()})
    clock.move(days=1)
    await platform.settle()
    queue = (await http.get(QUEUE)).json()["follow_ups"]
    assert [one["account"] for one in queue] == ["customer-17", "customer-18"]
    assert [one["due"] for one in queue] == sorted(one["due"] for one in queue)


@pytest.mark.parametrize("query", ["status=nonsense", "limit=0", "account=%00"])
async def test_a_wrong_filter_is_422(http: httpx.AsyncClient, query: str):
    assert (await http.get(f"{QUEUE}?{query}")).status_code == 422
