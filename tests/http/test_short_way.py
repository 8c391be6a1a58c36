"""Events in a request that comes whole are taken without ASGI: it is answered as it would have been with it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from engage import bootstrap
from engage.http.app import create_app
from engage.http.pressure import Pressure
from engage.http.protocol import Protocol
from engage.http.short_way import ShortWay
from engage.log.contract import Answer
from engage.log.topics import BrokerUnavailableError
from engage.services import access
from engage.services.api_keys import ApiKeys
from engage.services.gathering import Gathering
from engage.services.platform import Platform
from engage.services.request_context import REQUEST
from engage.settings import Settings
from tests.http.given import Clock, order
from tests.http.wire import request, sent, served

BATCH = b"application/cloudevents-batch+json"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers who are at hand stay so, however long a test takes."""
    monkeypatch.setattr(access, "FRESH_SECONDS", 1_000.0)


@pytest.fixture
async def port(app: FastAPI) -> AsyncIterator[int]:
    async with served(app) as found:
        yield found


@pytest.fixture
def went(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each request that came whole whether it went the short way."""
    found: list[bool] = []
    begun = ShortWay.begun

    def noted(way: ShortWay, *asked: Any) -> bool:
        found.append(begun(way, *asked))
        return found[-1]

    monkeypatch.setattr(ShortWay, "begun", noted)
    return found


@pytest.fixture
async def keys(tmp_path: Path, platform: Platform, clock: Clock) -> AsyncIterator[dict[str, str]]:
    """Keys of one who may publish, of one who may as one source alone, of one who may but seldom, and of a reader."""
    with closing(bootstrap.access_store(Settings(home=str(tmp_path)))) as store:
        made = ApiKeys(store, "ada", clock)
        found = {
            "shop": made.create("shop", ["publish"])[1],
            "till": made.create("till", ["publish"], ["urn:till"])[1],
            "hasty": made.create("hasty", ["publish"], rate=0.01)[1],
            "reader": made.create("reader", ["read"])[1],
        }
    await platform.access.caller(f"Bearer {found['shop']}")  # from here on they are at hand
    yield found


def asked(body: Any, media: bytes = b"application/cloudevents+json", **headers: str) -> bytes:
    """A request that publishes ``body``; a header that is named is put before the others."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    more = b"".join(f"{name.replace('_', '-')}: {value}\r\n".encode() for name, value in headers.items())
    told = request(content).replace(b"application/cloudevents+json", media, 1)
    return (
        told.replace(b"host: ", more + b"host: ", 1)
        if "host" not in headers
        else told.replace(b"host: 127.0.0.1\r\n", more, 1)
    )


def plain(answer: bytes) -> tuple[bytes, set[bytes], Any]:
    """Status, headers and body of an answer, without what is another each time."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    kept = {one for one in headers if not re.match(rb"(date|server|content-length): ", one)}
    same = {re.sub(rb"(x-request-id: )[0-9a-f]{32}$", rb"\1given", one) for one in kept}
    return (
        status,
        same,
        json.loads(re.sub(rb"\d+:\d+|(whole|parts)-\d+", b"another", body)),
    )


Requests = Callable[[str], bytes]
"""A request of a name that is in each id."""
PLAIN: dict[str, Requests] = {
    "taken": lambda name: asked(order(f"{name}-1")),
    "as plain JSON": lambda name: asked(order(f"{name}-1"), b"application/json; charset=utf-8"),
    "a batch": lambda name: asked([order(f"{name}-1"), order(f"{name}-2")], BATCH),
    "a duplicate in a batch": lambda name: asked([order(f"{name}-1"), order(f"{name}-1")], BATCH),
    "partly refused": lambda name: asked([order(f"{name}-1"), order(f"{name}-2", time="yesterday"), 7], BATCH),
    "wholly refused": lambda name: asked([{}, 7], BATCH),
    "refused": lambda name: asked(order(f"{name}-1", data={"order_id": 7})),
    "with an id of its own": lambda name: asked(order(f"{name}-1"), x_request_id="mine"),
    "with a key where none is needed": lambda name: asked(order(f"{name}-1"), authorization="Bearer egk_nobody"),
    "with an id that is none": lambda name: asked(order(f"{name}-1"), x_request_id="one two"),
}
OTHERWISE: dict[str, Requests] = {
    "an empty batch": lambda name: asked([], BATCH),
    "not JSON": lambda name: asked(b"{}}"),
    "no event at all": lambda name: asked(b""),
    "a batch that says it is none": lambda name: asked([order(f"{name}-1")]),
    "another media type": lambda name: asked(order(f"{name}-1"), b"text/csv"),
    "another charset": lambda name: asked(order(f"{name}-1"), b"application/json; charset=latin-1"),
    "another host": lambda name: asked(order(f"{name}-1"), host="evil.example"),
    "a page from elsewhere": lambda name: asked(order(f"{name}-1"), sec_fetch_site="cross-site"),
    "packed, and not really": lambda name: asked(order(f"{name}-1"), content_encoding="gzip"),
    "a header twice": lambda name: asked(order(f"{name}-1"), authorization="Bearer x", Authorization="Bearer y"),
}


async def test_whole_or_in_parts_a_request_is_answered_the_same(platform: Platform, port: int, went: list[bool]):
    await platform.access.caller(None)  # from here on it is at hand that there are no keys
    for number, (name, made) in enumerate((PLAIN | OTHERWISE).items()):
        whole, parts = made(f"whole-{number}"), made(f"parts-{number}")
        went.clear()
        at_once = await sent(port, whole)
        assert went == [name in PLAIN], name
        assert plain(at_once) == plain(await sent(port, parts[:-1], parts[-1:])), name


async def test_who_has_a_key_is_answered_the_same_either_way(port: int, went: list[bool], keys: dict[str, str]):
    expected = {"shop": (True, b"200"), "till": (False, b"422"), "hasty": (True, b"200"), "reader": (False, b"403")}
    for name, (short, status) in expected.items():
        bearer = f"Bearer {keys[name]}"
        went.clear()
        answer = await sent(port, asked(order(f"whole-{name}"), authorization=bearer))
        assert (went, answer[9:12]) == ([short], status), name
    for bearer in (f"Bearer {keys['hasty']}", "Bearer nobody"):
        whole, parts = (asked(order(f"{name}-1"), authorization=bearer) for name in ("whole", "parts"))
        at_once = await sent(port, whole)
        assert went[-1] is False
        assert plain(at_once) == plain(await sent(port, parts[:-9], parts[-9:]))
    own = asked(order("whole-own", source="urn:till"), authorization=f"Bearer {keys['till']}")
    assert (await sent(port, own))[9:12] == b"200"
    assert went[-1] is True


async def test_its_line_in_the_log_names_the_request_either_way(platform: Platform, went: list[bool]):
    await platform.access.caller(None)
    named: list[str] = []

    def noted(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        context = REQUEST.get()
        assert context is not None
        named.append(context.request_id)
        return line

    whole, parts = (asked(order(f"{name}-1"), x_request_id=name) for name in ("whole", "parts"))
    async with served(create_app(platform, local_only=True, access=True)) as port:
        with capture_logs(processors=[noted]) as lines:
            await sent(port, whole)
            await sent(port, parts[:-1], parts[-1:])
    assert went == [True]
    assert (named, [line["event"] for line in lines]) == (["whole", "parts"], ["request", "request"])


async def test_what_is_asked_for_at_a_stretch_is_answered_in_order(platform: Platform, port: int):
    await platform.access.caller(None)
    asking = [request(json.dumps(order(f"o-{number}")).encode(), close=number == 4) for number in range(5)]
    answers = (await sent(port, b"".join(asking))).split(b"HTTP/1.1 200 OK\r\n")[1:]
    taken = [json.loads(answer.partition(b"\r\n\r\n")[2])["results"][0] for answer in answers]
    assert [one["status"] for one in taken] == ["taken"] * 5
    offsets = [int(one["token"].partition(":")[2]) for one in taken]
    assert offsets == sorted(offsets)


@pytest.fixture
def let(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Iterator[asyncio.Event]:
    """Nothing is taken before it is set."""
    may = asyncio.Event()

    async def late(told: Any) -> list[Answer]:
        await may.wait()
        return await platform.publisher.append(told)

    monkeypatch.setattr(platform.gathering, "_append", late)
    yield may
    may.set()


async def condition(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


async def test_who_hangs_up_is_taken_and_leaves_no_room_taken(app: FastAPI, platform: Platform, let: asyncio.Event):
    pressure: Pressure = app.state.pressure
    await platform.access.caller(None)
    async with served(app) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request())
        await condition(lambda: pressure.requests == 1)
        assert pressure.size > 0
        writer.transport.abort()
        await asyncio.sleep(0)
        let.set()
        await condition(lambda: (pressure.requests, pressure.size) == (0, 0))
        answer = await sent(port, request())
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["duplicate"] == 1


async def test_who_has_been_heard_is_answered_before_it_ends(
    app: FastAPI, platform: Platform, let: asyncio.Event, monkeypatch: pytest.MonkeyPatch
):
    end = Protocol.shutdown

    def ended(connection: Protocol) -> None:
        end(connection)
        let.set()

    monkeypatch.setattr(Protocol, "shutdown", ended)
    pressure: Pressure = app.state.pressure
    await platform.access.caller(None)
    async with served(app) as port:
        asking = asyncio.create_task(sent(port, request(close=False)))
        await condition(lambda: pressure.requests == 1)
    answer = await asking
    assert answer[9:12] == b"200"
    assert b"connection: close\r\n" in answer


async def test_more_than_can_be_held_is_sent_away(app: FastAPI, platform: Platform, let: asyncio.Event):
    app.state.pressure = pressure = Pressure(most_requests=1)
    await platform.access.caller(None)
    async with served(app) as port:
        first = asyncio.create_task(sent(port, request()))
        await condition(lambda: pressure.requests == 1)
        answer = await sent(port, request())
        assert answer[9:12] == b"429"
        assert b"retry-after: 1\r\n" in answer
        let.set()
        assert (await first)[9:12] == b"200"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (RuntimeError("a secret of the inside"), b"500", b"its own log says how"),
        (BrokerUnavailableError("Kafka does not answer"), b"503", b"Kafka does not answer"),
    ],
)
async def test_a_log_that_fails_is_a_problem_without_a_stack(
    platform: Platform,
    port: int,
    went: list[bool],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: bytes,
    said: bytes,
):
    await platform.access.caller(None)

    def failing(_: Gathering, __: Any) -> asyncio.Future[list[Answer]]:
        failed: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        failed.set_exception(error)
        return failed

    monkeypatch.setattr(Gathering, "begun", failing)
    answer = await sent(port, request())
    assert went[-1] is True
    assert answer[9:12] == status
    assert b"application/problem+json" in answer
    assert (b"retry-after: 5\r\n" in answer) == (status == b"503")
    assert said in answer
    assert b"secret" not in answer
