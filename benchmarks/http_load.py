"""A load generator for ``benchmarks.http``: requests made beforehand, raw sockets, as little work as Python allows."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

ACCOUNTS = 5_000
_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


def events(count: int, seed: int) -> list[bytes]:
    """What a shop's site, mailer and checkout report, as CloudEvents JSON of about 400 bytes; no id comes twice."""
    chance = random.Random(seed)
    # Not ahead of the server's clock, and young enough to be decided on.
    begin = datetime.now(UTC) - timedelta(hours=1)
    return [_event(chance, f"{seed}-{number}", begin + timedelta(milliseconds=number)) for number in range(count)]


def _event(chance: random.Random, name: str, moment: datetime) -> bytes:
    drawn, product = chance.random(), f"cd-{chance.randrange(9_999)}"
    if drawn < 0.5:
        kind, data = "Page Viewed", {"url": f"https://shop.example/music/{product}", "title": "A page of the shop"}
    elif drawn < 0.7:
        kind, data = "Product Viewed", {"product_id": product, "category": "jazz", "price": 11.77}
    elif drawn < 0.83:
        kind, data = "Newsletter Opened", {"newsletter_id": f"n-{chance.randrange(50)}"}
    elif drawn < 0.95:
        lines = [{"product_id": product, "price": 11.77, "quantity": 2, "category": "jazz"}]
        kind, data = "Order Completed", {"order_id": name, "total": 23.54, "currency": "USD", "products": lines}
    else:
        kind, data = "Account Identified", {"name": "Ada Lovelace", "email": "ada@shop.example", "language": "en"}
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": f"0192f0c1-7d3e-7a54-{name}",
            "source": "urn:shop:web",
            "type": kind,
            "subject": f"customer-{chance.randrange(ACCOUNTS):06d}",
            "time": moment.isoformat(),
            "data": data,
        }
    )


def post(path: str, body: bytes, media: str) -> bytes:
    """A request's bytes."""
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {media}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def singles(told: Sequence[bytes]) -> list[bytes]:
    """A request for each event."""
    return [post("/v1/events", event, "application/cloudevents+json") for event in told]


def batches(told: Sequence[bytes], size: int = 100) -> list[bytes]:
    """Requests of ``size`` events."""
    return [
        post("/v1/events", b"[" + b",".join(told[start : start + size]) + b"]", "application/cloudevents-batch+json")
        for start in range(0, len(told), size)
    ]


def get(path: str) -> bytes:
    """A request's bytes."""
    return f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode()


class _Connection(asyncio.Protocol):
    """Sends one request at a time and notes how long each took, in seconds, and what answers came, by status."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._buffer = bytearray()
        self._begun = 0.0
        self.transport: Any = None
        self.answered: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(_END)
        if end < 0:
            return
        at = self._buffer.find(_LENGTH, 0, end) + len(_LENGTH)
        if len(self._buffer) < end + 4 + int(self._buffer[at : self._buffer.index(b"\r", at)]):
            return
        status = int(self._buffer[9:12])
        self._told.statuses[status] = self._told.statuses.get(status, 0) + 1
        self._told.seconds.append(time.perf_counter() - self._begun)
        self._buffer.clear()
        if self.answered is not None:
            self.answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answered is not None and not self.answered.done():
            self.answered.set_exception(exc or ConnectionError("the server closed the connection"))

    async def ask(self, request: bytes, begun: float | None = None) -> None:
        self.answered = asyncio.get_running_loop().create_future()
        self._begun = time.perf_counter() if begun is None else begun
        self.transport.write(request)
        await self.answered


class Told:
    """What came of a load: how long it took in all, how long each answer, and how many of each status."""

    def __init__(self) -> None:
        self.whole = 0.0
        self.seconds: list[float] = []
        self.statuses: dict[int, int] = {}

    def percentile(self, share: float) -> float:
        """How long the slowest but ``1 - share`` of the answers took, in seconds."""
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


async def closed(port: int, requests: Sequence[bytes], connections: int) -> Told:
    """Every request, each connection sending its next one as soon as it has its answer."""
    told = Told()
    waiting = iter(requests)
    opened = await _open(port, connections, told)
    begin = time.perf_counter()
    await asyncio.gather(*(_all(one, waiting) for one in opened))
    told.whole = time.perf_counter() - begin
    for one in opened:
        one.transport.close()
    return told


async def steady(port: int, requests: Sequence[bytes], rate: float, connections: int) -> Told:
    """So many requests a second, whatever the server does; how long each took counts from when it was due.

    Garbage is not looked for meanwhile: of a bare endpoint that answers within a millisecond this process would say
    that one in a hundred answers takes 12 ms, the time that it takes itself to look through its tasks.
    """
    told = Told()
    gc.disable()
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    opened = await _open(port, connections, told)
    for one in opened:
        free.put_nowait(one)
    begin = time.perf_counter()

    async def ask(request: bytes, due: float) -> None:
        one = await free.get()
        await one.ask(request, due)
        free.put_nowait(one)

    # Their ends are seen as they come: to gather them behind the last one would hold up its answer by 50 ms.
    async with asyncio.TaskGroup() as asked:
        for number, request in enumerate(requests):
            due = begin + number / rate
            if (ahead := due - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
            asked.create_task(ask(request, due))
    told.whole = time.perf_counter() - begin
    gc.enable()
    for one in opened:
        one.transport.close()
    return told


async def _open(port: int, connections: int, told: Told) -> list[_Connection]:
    loop = asyncio.get_running_loop()
    pairs = [await loop.create_connection(lambda: _Connection(told), "127.0.0.1", port) for _ in range(connections)]
    return [protocol for _, protocol in pairs]


async def _all(connection: _Connection, waiting: Iterator[bytes]) -> None:
    for request in waiting:
        await connection.ask(request)
