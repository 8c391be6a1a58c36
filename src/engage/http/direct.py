"""The routes that every event comes by: answered before FastAPI, whose layers cost more than taking an event in.
So are accounts that are asked for again (``engage.http.remembered``).

They are FastAPI's routes as well: so the OpenAPI document tells of them, and other methods get the usual answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Any

from fastapi import FastAPI
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engage.http.guard import admit
from engage.http.problems import ProblemError, problem, unavailable
from engage.http.protocol import told_whole
from engage.http.remembered import ACCOUNT, Remembered
from engage.http.shell import HEADERS, Shell, failure
from engage.http.short_way import ShortWay
from engage.http.watched import Watched, context_of
from engage.log.topics import BrokerUnavailableError
from engage.services import tracing
from engage.services.request_context import REQUEST

Answering = Callable[[Request], Awaitable[Response]]
Members = Callable[[int, str], dict[str, Any]]


class Application(FastAPI):
    """FastAPI, but for ``POST`` to ``direct_paths``, which ``direct`` answers, and accounts that are remembered."""

    direct: ASGIApp
    direct_paths: frozenset[str] = frozenset()
    again: Again | None = None
    short_way: ShortWay | None = None
    """Asked by ``engage.http.protocol`` before a request comes here."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http":
            if scope["method"] == "POST" and scope["path"] in self.direct_paths:
                scope["app"] = self
                await self.direct(scope, receive, send)
                return
            if self.again is not None and (answer := self.again.remembered.answer(scope)) is not None:
                scope["app"] = self
                if await self.again.told(scope, send, answer):
                    return
        await super().__call__(scope, receive, send)


class _Route(Struct, frozen=True):
    """What the figures of requests are named by, as FastAPI's own routes say it."""

    path: str


class Direct:
    """Answers ``routes`` (by path), to those who may publish, and does what ``shell`` and ``watched`` do of others.

    It has the whole answer in hand, so that it need not be put together from what comes by. ``members`` gives further
    members of the problems of a path, from their status and detail. ``alone``: nobody adds anything to the answers.
    """

    def __init__(
        self,
        routes: Mapping[str, Answering],
        members: Mapping[str, Members],
        *,
        shell: Shell,
        watched: Watched,
        alone: bool,
    ) -> None:
        self._members = members
        self._alone = alone
        self._routes = {path: (_Route(path), answering) for path, answering in routes.items()}
        self._shell = shell
        self._watched = watched

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        began = perf_counter()
        route, answering = self._routes[scope["path"]]
        context = context_of(scope)
        token, status, waited = REQUEST.set(context), 500, 0.0
        with tracing.request(scope["method"], context.traceparent) as span:
            try:
                response = self._shell.refused(scope) or await self._answer(route, answering, scope, receive)
                status, waited = response.status_code, perf_counter() - began
                headers = response.raw_headers
                headers += [*HEADERS, (b"x-request-id", context.request_id.encode())]
                if not (status == 200 and self._alone and told_whole(scope, headers, response.body)):
                    await response(scope, receive, send)
            finally:
                if span is not None:
                    tracing.answered(span, scope["method"], route.path, status)
                whole = perf_counter() - began
                self._watched.note(scope["method"], route.path, status, waited or whole, whole)
                REQUEST.reset(token)

    async def _answer(self, route: _Route, answering: Answering, scope: Scope, receive: Receive) -> Response:
        try:
            await admit(scope, "publish")
            return await answering(Request(scope, receive))
        except ProblemError as error:
            more = self._members.get(route.path, _nothing)(error.status, error.detail)
            return problem(error.status, error.detail, error.headers, **error.members, **more)
        except BrokerUnavailableError as error:
            return unavailable(error)
        except Exception as error:
            return failure(error)


class Again:
    """Answers once more what is ``remembered``, to those who may read, and does what ``shell`` and ``watched`` do."""

    def __init__(self, remembered: Remembered, *, shell: Shell, watched: Watched) -> None:
        self.remembered = remembered
        self._shell = shell
        self._watched = watched

    async def told(self, scope: Scope, send: Send, answer: tuple[Message, Message]) -> bool:
        """Whether the caller was given ``answer``; who may not have it is told so by those who are asked next."""
        began = perf_counter()
        context = context_of(scope)
        if tracing.traced() or self._shell.refused(scope) is not None or not await _may_read(scope):
            return False
        start, body = answer
        headers = [*start["headers"], *HEADERS, (b"x-request-id", context.request_id.encode())]
        token, waited = REQUEST.set(context), perf_counter() - began
        try:
            if not told_whole(scope, headers, body["body"]):
                await send({**start, "headers": headers})
                await send(body)
            self._watched.note("GET", ACCOUNT, start["status"], waited, perf_counter() - began)
        finally:
            REQUEST.reset(token)
        return True


async def _may_read(scope: Scope) -> bool:
    try:
        await admit(scope, "read")
    except ProblemError:
        return False
    return True


def _nothing(status: int, detail: str) -> dict[str, Any]:
    return {}
