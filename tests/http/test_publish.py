"""Publishing over HTTP: each event gets its answer, and no body brings the service down."""

import json

import httpx
import pytest

from engage.http import body
from engage.services.platform import Platform
from tests.http.given import order

EVENTS = "/v1/events"
BATCH = {"content-type": "application/cloudevents-batch+json"}
JSON = {"content-type": "application/json"}


def unknown(raw_data: bytes) -> bytes:
    """An event of a type that nobody knows, with this text as its data."""
    event = order("odd", type="Something Odd")
    del event["data"]
    return json.dumps(event).encode()[:-1] + b', "data": ' + raw_data + b"}"


@pytest.mark.parametrize("media", ["application/cloudevents+json", "application/json"])
async def test_an_event_is_taken_once_and_then_a_duplicate(http: httpx.AsyncClient, media: str):
    content, headers = json.dumps(order()), {"content-type": media}
    first = await http.post(EVENTS, content=content, headers=headers)
    second = await http.post(EVENTS, content=content, headers=headers)
    assert (first.status_code, second.status_code) == (200, 200)
    [taken], [duplicate] = first.json()["results"], second.json()["results"]
    assert (taken["status"], duplicate["status"]) == ("taken", "duplicate")
    assert taken["token"] == duplicate["token"]


@pytest.mark.parametrize("headers", [BATCH, JSON])
async def test_a_batch_is_answered_item_by_item_in_order(http: httpx.AsyncClient, headers: dict[str, str]):
    bad = order("bad", time="yesterday")
    answer = await http.post(EVENTS, content=json.dumps([order(), bad, order(), order("o-2")]), headers=headers)
    assert answer.status_code == 207
    told = answer.json()
    assert [result["status"] for result in told["results"]] == ["taken", "refused", "duplicate", "taken"]
    assert [fault["pointer"] for fault in told["results"][1]["faults"]] == ["/time"]
    assert (told["taken"], told["duplicate"], told["refused"]) == (2, 1, 1)


async def test_a_refused_event_is_a_problem_with_a_pointer_to_each_fault(http: httpx.AsyncClient):
    event = order(data={"order_id": 7, "total": "much"})
    answer = await http.post(EVENTS, json=event)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert {fault["pointer"] for fault in answer.json()["faults"]} == {"/data/order_id", "/data/total"}


async def test_a_batch_of_which_everything_is_refused_says_what_of_each(http: httpx.AsyncClient):
    answer = await http.post(EVENTS, json=[{}, 7])
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert [result["status"] for result in answer.json()["results"]] == ["refused", "refused"]


async def test_an_empty_batch_is_nothing_to_do(http: httpx.AsyncClient):
    answer = await http.post(EVENTS, json=[])
    assert (answer.status_code, answer.json()["results"]) == (200, [])


async def test_attributes_may_come_as_headers(http: httpx.AsyncClient):
    headers = {f"ce-{name}": value for name, value in order(subject="caf%C3%A9").items() if name != "data"}
    answer = await http.post(EVENTS, content=b'{"order_id": "order-1", "total": 1}', headers=headers | JSON)
    assert answer.json()["taken"] == 1
    again = await http.post(EVENTS, json=order(subject="café"))
    assert again.json()["duplicate"] == 1


HEADERS = {f"ce-{name}": value for name, value in order().items() if name != "data"} | JSON
DATA = b'{"order_id": "order-1", "total": 1}'


async def test_headers_may_be_quoted_or_not_encoded_too(http: httpx.AsyncClient):
    assert (await http.post(EVENTS, json=order('a "b" c', subject="café"))).json()["taken"] == 1
    quoted = HEADERS | {"ce-id": r'"a \"b\" c"'}
    for coding in ("utf-8", "latin-1"):
        plain = {name.encode(): value.encode(coding) for name, value in (quoted | {"ce-subject": "café"}).items()}
        again = await http.post(EVENTS, content=DATA, headers=list(plain.items()))
        assert again.json()["duplicate"] == 1, again.text


async def test_a_header_that_is_no_utf_8_is_refused_and_not_taken_for_another(http: httpx.AsyncClient):
    answer = await http.post(EVENTS, content=DATA, headers=HEADERS | {"ce-id": "x%FFy"})
    assert (answer.status_code, answer.json()["reason"]) == (422, "envelope")
    assert [fault["pointer"] for fault in answer.json()["faults"]] == ["/id"]


async def test_a_media_type_of_cloudevents_goes_before_headers(http: httpx.AsyncClient):
    answer = await http.post(EVENTS, content=json.dumps([order(), order("o-2")]), headers=HEADERS | BATCH)
    assert answer.json()["taken"] == 2


async def test_what_has_no_data_is_told_what_to_send(http: httpx.AsyncClient):
    packed = {name: value for name, value in order().items() if name != "data"} | {"data_base64": "e30="}
    structured = (await http.post(EVENTS, json=packed)).json()["faults"]
    binary = (await http.post(EVENTS, content=b"", headers=HEADERS)).json()["faults"]
    assert [fault["pointer"] for fault in structured + binary] == ["/data_base64", "/data"]


async def test_data_in_binary_mode_cannot_pretend_to_be_attributes(http: httpx.AsyncClient):
    headers = {f"ce-{name}": value for name, value in order().items() if name != "data"}
    answer = await http.post(EVENTS, content=b'{}, "subject": "another"', headers=headers | JSON)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"not json",
        b'{"a": 1',
        b'[{"a": 1}',
        b"[" * 100_000 + b"]" * 100_000,
        b'[{"a": "\x00"}]',
        b'[{"a": "\xff"}]',
        b'{"a": "\\ud800"}',
        b"[1e999]",
        b"[1" + b"0" * 5_000 + b"]",
        b"null",
        b'"text"',
        unknown(b"1e999"),
        unknown(b'{"a": "\xff"}'),
        unknown(b'{"\xff": 1}'),
        unknown(b'{"a": "\\ud800"}'),
        unknown(b"[" * 800 + b"]" * 800),
        json.dumps(order(id="a\x00b")).encode(),
        json.dumps(order()).encode().replace(b'"total"', b'"odd": 1e999, "total"'),
        json.dumps(order()).encode().replace(b"59.9", b"1e999"),
        json.dumps(order()).replace("EUR", "\udcff").encode("utf-8", "surrogateescape"),
        json.dumps(order(time="30000-01-01T00:00:00Z")).encode(),
        json.dumps(order(data={"order_id": "x" * 1_100_000})).encode(),
    ],
)
async def test_a_broken_body_is_refused_and_the_next_one_taken(http: httpx.AsyncClient, broken: bytes):
    answer = await http.post(EVENTS, content=broken, headers=JSON)
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Traceback" not in answer.text
    assert (await http.post(EVENTS, json=order())).json()["taken"] == 1


async def test_one_unreadable_event_does_not_sink_its_batch(http: httpx.AsyncClient):
    content = b"[" + b", ".join([json.dumps(order()).encode(), unknown(b"1e999")]) + b"]"
    answer = await http.post(EVENTS, content=content, headers=BATCH)
    assert (answer.status_code, answer.json()["taken"], answer.json()["refused"]) == (207, 1, 1)


@pytest.mark.parametrize(
    "bad",
    [
        json.dumps(order("bad")).replace("EUR", r"\ud83d"),
        json.dumps(order("bad")).replace("59.9", "NaN"),
        json.dumps(order("bad")).replace("EUR", "E\nR"),
        json.dumps(order("bad")).replace('"EUR"', "[" * 3_000 + "]" * 3_000),
        '{"a": nope, "b": "},{]"}',
        "",
    ],
)
async def test_one_that_is_no_json_does_not_sink_its_batch(http: httpx.AsyncClient, bad: str):
    content = f"[{json.dumps(order('o-1'))}, {bad} ,{json.dumps(order('o-2', subject='a]b'))}]"
    told = (await http.post(EVENTS, content=content.encode(), headers=BATCH)).json()
    assert [result["status"] for result in told["results"]] == ["taken", "refused", "taken"], told
    assert told["results"][1]["reason"] == "not_json"


@pytest.mark.parametrize("end", ["", '"', "}", "]]", '] "', "],", ', "a]'])
async def test_a_batch_whose_end_nobody_can_tell_is_refused_whole(http: httpx.AsyncClient, end: str):
    answer = await http.post(EVENTS, content=f"[{json.dumps(order())}, nope{end}".encode(), headers=BATCH)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("once", "twice", "reason", "pointer"),
    [
        ('"id": "o-1"', '"id": "o-1", "id": "o-2"', "envelope", "/id"),
        ('"subject"', '"shop": 1, "shop": 2, "subject"', "envelope", "/shop"),
        ('"data"', '"data": {}, "data"', "envelope", "/data"),
        ('"total": 59.9', '"total": 59.9, "total": 5.99', "data", "/data/total"),
        ('"total"', '"a/b": [{"c": 1, "c": "\\u0022"}], "total"', "data", "/data/a~1b/0/c"),
    ],
)
async def test_a_key_that_stands_twice_is_refused_and_named(
    http: httpx.AsyncClient, once: str, twice: str, reason: str, pointer: str
):
    bad = json.dumps(order("o-1")).replace(once, twice, 1)
    told = (await http.post(EVENTS, content=f"[{bad}, {json.dumps(order('o-3'))}]".encode(), headers=BATCH)).json()
    refused, taken = told["results"]
    assert (refused["reason"], refused["faults"][0]["pointer"], taken["status"]) == (reason, pointer, "taken")


async def test_what_only_looks_as_if_it_stood_twice_is_taken(http: httpx.AsyncClient):
    data = {"order_id": "o-1", "total": 1, "said": 'a "total": 2, "total": 3', "inner": {"order_id": "o-1", "id": "x"}}
    events = [
        order("o-1", data=data, contact='ada "the" first', datacontenttype="application/json", shop='"'),
        order("o-2"),
    ]
    told = (await http.post(EVENTS, json=events)).json()
    assert told["taken"] == 2, told
    escaped = json.dumps(order("o-3", data=data)).replace('\\"', r"\u0022")
    assert (await http.post(EVENTS, content=escaped, headers=JSON)).json()["taken"] == 1


async def test_a_body_that_is_too_long_is_413_whether_it_says_so_or_not(http: httpx.AsyncClient):
    async def endless():
        for _ in range(body.MAX_BYTES // 1_000_000 + 2):
            yield b" " * 1_000_000

    declared = await http.post(EVENTS, content=b" " * (body.MAX_BYTES + 1), headers=JSON)
    streamed = await http.post(EVENTS, content=endless(), headers=JSON)
    assert (declared.status_code, streamed.status_code) == (413, 413)
    assert streamed.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("item", [b"1,", b","], ids=["of what is no event", "that is no JSON"])
async def test_a_body_of_more_events_than_may_be_in_one_is_413(http: httpx.AsyncClient, item: bytes):
    many = b"[" + item * body.MOST_EVENTS + b"1]"
    segments = b'{"batch": %b}' % many
    for path, content, headers in ((EVENTS, many, BATCH), ("/v1/batch", segments, JSON)):
        answer = await http.post(path, content=content, headers=headers)
        assert answer.status_code == 413
        assert "this one has 100,001" in answer.json()["detail"]


@pytest.mark.parametrize("media", ["text/plain", "application/xml", "application/json; charset=latin-1", ""])
async def test_another_media_type_is_415(http: httpx.AsyncClient, media: str):
    answer = await http.post(EVENTS, content=json.dumps(order()), headers={"content-type": media})
    assert answer.status_code == 415


async def test_a_media_type_that_the_body_belies_is_400(http: httpx.AsyncClient):
    single = {"content-type": "application/cloudevents+json"}
    assert (await http.post(EVENTS, content=json.dumps([order()]), headers=single)).status_code == 400
    assert (await http.post(EVENTS, content=json.dumps(order()), headers=BATCH)).status_code == 400


async def test_a_large_batch_is_taken_whole(http: httpx.AsyncClient, platform: Platform):
    answer = await http.post(EVENTS, json=[order(f"o-{n}", f"c-{n % 7}") for n in range(2_500)])
    assert (answer.status_code, answer.json()["taken"]) == (200, 2_500)
    ends = [await platform.log.end(partition) for partition in range(platform.log.partitions)]
    assert sum(ends) >= 2_500
