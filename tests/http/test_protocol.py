"""Connections as they are, broken and slow: each ends in bounded time and memory, and others are answered meanwhile."""

import asyncio
import gc
import json
import weakref
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from engage.http import protocol
from engage.http.app import create_app
from engage.http.protocol import Protocol
from engage.services.platform import Platform
from tests.http.given import STRANGE_IDS, order
from tests.http.wire import BODY, HEAD, request, sent, served

CHUNKED = HEAD + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n%x\r\n%b\r\n" % (len(BODY), BODY)


@pytest.fixture
async def port(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "LINGER_SECONDS"):
        monkeypatch.setattr(protocol, name, 0.15)
    async with served(app) as found:
        yield found


def noted(monkeypatch: pytest.MonkeyPatch) -> list[Protocol]:
    """The connections that are made from here on."""
    connections: list[Protocol] = []
    made = Protocol.connection_made

    def note(connection: Protocol, transport: asyncio.Transport) -> None:
        connections.append(connection)
        made(connection, transport)

    monkeypatch.setattr(Protocol, "connection_made", note)
    return connections


async def test_what_is_slow_or_endless_is_ended_and_whoever_comes_next_is_answered(port: int):
    async def endless(first: bytes, part: bytes, most: int) -> bytes:
        return await sent(port, first, *[part] * most)

    answers = await asyncio.gather(
        sent(port),
        sent(port, b"POST /v1/ev"),
        sent(port, HEAD),
        sent(port, request(b"", length=100)),
        endless(HEAD + b"x-long: ", b"a" * 10_000, 12),
        endless(HEAD, b"x-many: a\r\n" * 1_000, 12),
        endless(CHUNKED + b"0\r\n", b"x-many: a\r\n" * 1_000, 12),
        endless(CHUNKED + b"1;long=", b"a" * 10_000, 12),
        sent(port, request(BODY[:20], length=len(BODY)), end=True),
        sent(port, request()),
    )
    statuses = [answer[9:12] for answer in answers]
    assert statuses[:4] == [b"", b"", b"", b"408"]
    assert set(statuses[4:6]) <= {b"431", b""}  # a client that goes on sending may hear that it is cut off instead
    assert statuses[6:8] == [b"", b""]
    assert statuses[8] in (b"400", b"")
    assert statuses[9] == b"200"


@pytest.mark.parametrize("trailer", [b"x-request-id: mine", b"content-encoding: gzip", b"sec-fetch-site: cross-site"])
async def test_what_is_said_behind_the_body_is_no_header(platform: Platform, port: int, trailer: bytes):
    await platform.access.caller(None)
    for parts in ([CHUNKED + b"0\r\n" + trailer + b"\r\n\r\n"], [CHUNKED, b"0\r\n" + trailer + b"\r\n\r\n"]):
        answer = await sent(port, *parts)
        assert answer[9:12] == b"200"
        assert b"mine" not in answer


async def test_a_length_that_is_no_length_is_400(port: int):
    for length in (b"-1", b"1e9", b"0x10", b"99999999999999999999999", b"7, 7"):
        answer = await sent(port, HEAD + b"content-length: " + length + b"\r\n\r\n" + BODY)
        assert answer[9:12] == b"400", length
    both = HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    assert (await sent(port, both))[9:12] == b"400"


async def test_a_length_that_is_too_short_is_two_requests_and_neither_is_taken(port: int):
    answer = await sent(port, request(length=30))
    assert answer[9:12] == b"400"


async def test_an_early_answer_is_heard_and_the_rest_of_the_body_not_waited_for(port: int):
    answer = await sent(port, request(b" " * 1_000, length=17_000_000))
    assert answer[9:12] == b"413"


async def answered(port: int, *, times: int, whole: bool = True) -> None:
    """Publish so often over one connection, each time when the answer before is there; ``whole`` or in two parts."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(times):
        asked = request(json.dumps(order(f"o-{number}")).encode(), close=False)
        for part in (asked,) if whole else (asked[:-5], asked[-5:]):
            writer.write(part)
            await asyncio.sleep(0.001)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        assert json.loads(await reader.readexactly(length))["taken"] == 1
    writer.close()


async def test_the_next_body_has_its_time_also_where_an_answer_is_written_before_it_comes(
    platform: Platform, port: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(protocol, "BODY_SECONDS", 10.0)
    connections = noted(monkeypatch)
    await platform.access.caller(None)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(close=False) + request()[: -len(BODY)])
    await reader.readuntil(b"HTTP/1.1 200 OK\r\n")
    [connection] = connections
    assert connection._timer is not None
    assert connection._timer.when() - asyncio.get_running_loop().time() > 5
    writer.write(BODY)
    await reader.readuntil(b"HTTP/1.1 200 OK\r\n")
    writer.close()


async def test_one_connection_serves_many_requests(port: int):
    await answered(port, times=20)


@pytest.mark.parametrize("whole", [True, False])
async def test_of_a_request_that_is_answered_nothing_is_left_for_the_garbage_collector(
    port: int, monkeypatch: pytest.MonkeyPatch, whole: bool
):
    left = weakref.WeakSet[object]()
    complete = Protocol.on_response_complete

    def noted(connection: Protocol) -> None:
        left.add(connection.cycle)
        complete(connection)

    monkeypatch.setattr(Protocol, "on_response_complete", noted)
    gc.disable()
    try:
        await answered(port, times=20, whole=whole)
        assert len(left) <= 1, "but for the last one, which the connection holds"
    finally:
        gc.enable()


async def test_who_asks_without_reading_is_not_answered_into_memory(
    platform: Platform, port: int, monkeypatch: pytest.MonkeyPatch
):
    connections = noted(monkeypatch)
    await answered(port, times=1)
    await platform.projector.catch_up()
    times, unsent = 3_000, 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /v1/accounts/customer-17 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n" * times)
        async with asyncio.timeout(10):
            while len(connections) < 2 or not connections[1].flow.write_paused:
                await asyncio.sleep(0.01)
            for _ in range(times):
                unsent = max(unsent, connections[1].transport.get_write_buffer_size())
                await reader.readuntil(b"HTTP/1.1 200 OK\r\n")
    finally:
        writer.transport.abort()
    assert unsent < 100_000


async def test_an_answer_says_the_same_over_a_connection_as_it_does_without_one(port: int, http: AsyncClient):
    head, _, body = (await sent(port, request(json.dumps(order("o-1")).encode()))).partition(b"\r\n\r\n")
    told = await http.post("/v1/events", json=order("o-2"))
    lines = [line.partition(b": ") for line in head.split(b"\r\n")[1:]]
    assert {name for name, _, _ in lines} - {b"date", b"server", b"connection"} == {
        name for name, _ in told.headers.raw
    }
    assert (b"connection", b": ", b"close") in lines
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(body) == len(told.content)


async def test_a_page_that_may_see_answers_is_told_so_of_events_taken(platform: Platform):
    asked = request(close=True).replace(b"host: ", b"origin: https://crm.example\r\nhost: ", 1)
    async with served(create_app(platform, origins=("https://crm.example",))) as found:
        answer = await sent(found, asked)
    assert answer[9:12] == b"200"
    assert b"access-control-allow-origin: https://crm.example\r\n" in answer


async def test_strange_ids_are_taken_in_every_form(port: int):
    for number, subject in enumerate(STRANGE_IDS):
        name = f"{subject}-{number}"
        structured = json.dumps(order(name, subject), ensure_ascii=False).encode()
        attributes = {k: v for k, v in order(name, subject).items() if k != "data"}
        head = b"".join(b"ce-%s: %s\r\n" % (k.encode(), quote(v).encode()) for k, v in attributes.items())
        data = json.dumps(order(name)["data"], ensure_ascii=False).encode()
        binary = (
            HEAD.replace(b"cloudevents+json", b"json")
            + head
            + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(data)
            + data
        )
        first, second = await sent(port, request(structured)), await sent(port, binary)
        assert json.loads(first.partition(b"\r\n\r\n")[2])["taken"] == 1, subject
        assert json.loads(second.partition(b"\r\n\r\n")[2])["duplicate"] == 1, subject
