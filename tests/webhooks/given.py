"""What the tests of webhooks start from: a receiver that is a real server, and follow-ups that a rule asks for."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import uvicorn
from msgspec import Struct
from standardwebhooks import Webhook
from starlette.requests import Request
from starlette.responses import Response

from engage.events import codec
from engage.services.platform import Platform
from engage.services.webhooks.managing import NewEndpoint
from engage.services.webhooks.managing import Webhook as Shown
from tests.http.given import START


class Received(Struct):
    """One message as it came in."""

    path: str
    id: str
    body: dict[str, Any]
    raw: bytes
    headers: dict[str, str]

    @property
    def account(self) -> str:
        return str(self.body["subject"])

    def signed_by(self, secret: str) -> bool:
        """Whether one of its signatures is by this secret."""
        at = datetime.fromtimestamp(int(self.headers["webhook-timestamp"]), UTC)
        ours = Webhook(secret).sign(self.id, at, self.raw.decode())
        return ours in self.headers["webhook-signature"].split(" ")


class Receiver:
    """Keeps what it is sent; ``answer`` says for each message, counted from 1, which status it gets (or what to do)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.messages: list[Received] = []
        self.answer: Callable[[Received], Any] = lambda _: 204

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        raw = await request.body()
        message = Received(request.url.path, request.headers["webhook-id"], json.loads(raw), raw, dict(request.headers))
        self.messages.append(message)
        answer = self.answer(message)
        if asyncio.iscoroutine(answer):
            answer = await answer
        response = answer if isinstance(answer, Response) else Response(status_code=answer)
        await response(scope, receive, send)

    @property
    def bodies(self) -> list[tuple[str, str]]:
        """Type and account of what came in, in order."""
        return [(one.body["type"], one.account) for one in self.messages]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        receiver = Receiver(f"http://127.0.0.1:{opened.getsockname()[1]}/hook")
        config = uvicorn.Config(receiver, log_level="critical", lifespan="off", ws="none", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        server.capture_signals = _leave_alone  # type: ignore[method-assign, assignment]
        serving = asyncio.create_task(server.serve([opened]))
        while not server.started:
            await asyncio.sleep(0.005)
        try:
            yield receiver
        finally:
            server.should_exit = True
            await serving


class _leave_alone:  # noqa: N801 - stands for the server's own context manager
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def refund(order: str = "o-1", subject: str = "customer-17", total: float = 20.0) -> dict[str, Any]:
    """Money that went back: the rule refund-repair asks for a follow-up by e-mail, by the manager if it is 100 or more.

    Its personal fields are left out of what is sent.
    """
    return {
        "specversion": "1.0",
        "id": f"refund-{order}",
        "source": "urn:shop",
        "type": "Order Refunded",
        "subject": subject,
        "time": START.isoformat(),
        "data": {"order_id": order, "total": total, "currency": "EUR"},
    }


async def endpoint(platform: Platform, url: str, *on: str, **filters: Any) -> Shown:
    """An endpoint that hears of these types, requested follow-ups if none is named."""
    return await platform.webhooks.add(NewEndpoint(url=url, on=on or ("follow_up.requested",), **filters))


async def happens(platform: Platform, *events: dict[str, Any]) -> None:
    """These come in, and all that follows from them."""
    await platform.publish([json.dumps(event).encode() for event in events])
    await platform.settle()


async def send(platform: Platform) -> None:
    """Queue and send all there is to send by now."""
    while True:
        done = await platform.tell()
        await platform.webhooks.delivering.idle()
        if not done:
            return


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; what is awaited meanwhile runs on this loop."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def said(platform: Platform, *types: str) -> list[Any]:
    """The data of the log's events of these types, in the order of partition and offset."""
    found = []
    for partition in range(platform.log.partitions):
        for record in (await platform.log.read(partition, 0, 10_000)).records:
            event = codec.decode(record.value)
            if event.type in types:
                found.append(msgspec.json.decode(event.data))
    return found


def ids(messages: Iterable[Received]) -> list[str]:
    """Their webhook-ids."""
    return [one.id for one in messages]
