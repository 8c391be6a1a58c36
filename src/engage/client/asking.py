"""Ask engage over HTTP: one class for those who wait, one for those who await."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlsplit

import httpx

from engage.client import calls
from engage.client.calls import Call, Given
from engage.client.retrying import Patience
from engage.log.contract import Answer

T = TypeVar("T")
_SECONDS = 60.0
_PATIENCE = 30.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Client:
    """Talks to the engage at ``url``, with an API key or a token (``key``) where it asks for one.

    ``actor`` is on whose behalf it commands. ``seconds`` is how long an answer may take, ``patience`` how many seconds
    a call is tried again in all while the service is away or busy; 0: once. What may have been done already is tried
    again only where it is not done twice. Use it in a ``with`` block, or ``close`` it. Every method raises ClientError,
    which says what to do.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        actor: str | None = None,
        seconds: float = _SECONDS,
        patience: float = _PATIENCE,
    ) -> None:
        self.url = url
        self._patience = patience
        self._http = httpx.Client(**_settings(url, key, actor, seconds))

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def publish(self, events: Sequence[Given]) -> list[Answer]:
        """One answer for each event (CloudEvents structured JSON, or what encodes to it), in order."""
        return [answer for call in calls.publishing(events) for answer in self.do(call)]

    def account(self, account: str, *, wait_for: str | None = None) -> dict[str, Any]:
        """How the account is doing, as ``GET /v1/accounts/{id}`` says; ClientError with 404 if it is unknown.

        ``wait_for`` is the token of an event that the answer has to include.
        """
        return self.do(calls.account(account, wait_for))

    def timeline(self, account: str, *, limit: int | None = None, before: str | None = None) -> dict[str, Any]:
        """A page of the account's story, newest first."""
        return self.do(calls.timeline(account, limit, before))

    def follow_ups(self, **filters: Any) -> list[dict[str, Any]]:
        """The queue; filters: status, account, rule, assignee, limit."""
        found: list[dict[str, Any]] = self.get("/v1/follow-ups", **filters)["follow_ups"]
        return found

    def act(
        self, follow_up: str, verb: str, request: Mapping[str, Any], *, if_version: int | None = None
    ) -> dict[str, Any]:
        """Give a follow-up a command (assign, snooze, start, complete, dismiss); its state after it."""
        return self.do(calls.commanding(follow_up, verb, request, if_version))

    def erase(self, account: str) -> dict[str, Any]:
        """Destroy the account's keys; what came of it."""
        return self.do(calls.erasing(account))

    def link(self, visitor: str, account: str) -> dict[str, Any]:
        """Link a visitor to the account that it turned out to be; what came of it."""
        return self.do(calls.linking(visitor, account))

    def unlink(self, visitor: str) -> dict[str, Any]:
        """Take back that a visitor is linked; what came of it."""
        return self.do(calls.unlinking(visitor))

    def status(self) -> dict[str, Any]:
        """How far everything has come."""
        return self.get("/v1/status")

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """Whatever else can be read as JSON: ``get("/v1/views/segments", limit=10)``."""
        return self.do(calls.getting(path, **parameters))

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What the service answers to a request for which there is no method here; None where it says nothing."""
        return self.do(calls.asking(method, path, body))

    def do(self, call: Call[T]) -> T:
        """Send a call, again while there is use and time, and read its answer."""
        patience = Patience(call, self.url, self._patience)
        while True:
            try:
                response = self._http.request(call.method, call.path, **call.parts)
                wait = patience.after(response)
            except httpx.HTTPError as error:
                wait = patience.after_failure(error)
            else:
                if wait is None:
                    return call.read(response)
            time.sleep(wait)


class AsyncClient:
    """The same as ``Client``, to be awaited, in an ``async with`` block."""

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        actor: str | None = None,
        seconds: float = _SECONDS,
        patience: float = _PATIENCE,
    ) -> None:
        self.url = url
        self._patience = patience
        self._http = httpx.AsyncClient(**_settings(url, key, actor, seconds))

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.close()

    async def publish(self, events: Sequence[Given]) -> list[Answer]:
        """See ``Client.publish``."""
        return [answer for call in calls.publishing(events) for answer in await self.do(call)]

    async def account(self, account: str, *, wait_for: str | None = None) -> dict[str, Any]:
        """See ``Client.account``."""
        return await self.do(calls.account(account, wait_for))

    async def timeline(self, account: str, *, limit: int | None = None, before: str | None = None) -> dict[str, Any]:
        """See ``Client.timeline``."""
        return await self.do(calls.timeline(account, limit, before))

    async def follow_ups(self, **filters: Any) -> list[dict[str, Any]]:
        """See ``Client.follow_ups``."""
        found: list[dict[str, Any]] = (await self.get("/v1/follow-ups", **filters))["follow_ups"]
        return found

    async def act(
        self, follow_up: str, verb: str, request: Mapping[str, Any], *, if_version: int | None = None
    ) -> dict[str, Any]:
        """See ``Client.act``."""
        return await self.do(calls.commanding(follow_up, verb, request, if_version))

    async def erase(self, account: str) -> dict[str, Any]:
        """See ``Client.erase``."""
        return await self.do(calls.erasing(account))

    async def link(self, visitor: str, account: str) -> dict[str, Any]:
        """See ``Client.link``."""
        return await self.do(calls.linking(visitor, account))

    async def unlink(self, visitor: str) -> dict[str, Any]:
        """See ``Client.unlink``."""
        return await self.do(calls.unlinking(visitor))

    async def status(self) -> dict[str, Any]:
        """See ``Client.status``."""
        return await self.get("/v1/status")

    async def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """See ``Client.get``."""
        return await self.do(calls.getting(path, **parameters))

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """See ``Client.ask``."""
        return await self.do(calls.asking(method, path, body))

    async def do(self, call: Call[T]) -> T:
        """See ``Client.do``."""
        patience = Patience(call, self.url, self._patience)
        while True:
            try:
                response = await self._http.request(call.method, call.path, **call.parts)
                wait = patience.after(response)
            except httpx.HTTPError as error:
                wait = patience.after_failure(error)
            else:
                if wait is None:
                    return call.read(response)
            await asyncio.sleep(wait)


def _settings(url: str, key: str | None, actor: str | None, seconds: float) -> dict[str, Any]:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    if actor is not None:
        headers["x-engage-actor"] = quote(actor)
    return {
        "base_url": url,
        "timeout": seconds,
        "headers": headers,
        # A proxy of this machine's environment is not meant for what runs on this machine.
        "trust_env": urlsplit(url).hostname not in _LOOPBACK,
    }
