"""The routes that every event comes by: answered before FastAPI, whose layers cost more than taking an event in.

They are FastAPI's routes as well: so the OpenAPI document tells of them, and other methods get the usual answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from engage.http.guard import admit
from engage.http.problems import ProblemError, problem, unavailable
from engage.log.topics import BrokerUnavailableError

Answering = Callable[[Request], Awaitable[Response]]
Members = Callable[[int, str], dict[str, Any]]


class Application(FastAPI):
    """FastAPI, but for ``POST`` to ``direct_paths``, which ``direct`` answers."""

    direct: ASGIApp
    direct_paths: frozenset[str] = frozenset()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and scope["path"] in self.direct_paths and scope["method"] == "POST":
            scope["app"] = self
            await self.direct(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class _Route(Struct, frozen=True):
    """What the figures of requests are named by, as FastAPI's own routes say it."""

    path: str


class Direct:
    """Answers ``routes`` (by path), to those who may publish.

    ``members`` gives further members of the problems of a path, from their status and detail.
    """

    def __init__(self, routes: Mapping[str, Answering], members: Mapping[str, Members]) -> None:
        self._members = members
        self._routes = {path: (_Route(path), answering) for path, answering in routes.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        route, answering = self._routes[scope["path"]]
        scope["route"] = route
        try:
            await admit(scope, "publish")
            response = await answering(Request(scope, receive))
        except ProblemError as error:
            more = self._members.get(route.path, _nothing)(error.status, error.detail)
            response = problem(error.status, error.detail, error.headers, **error.members, **more)
        except BrokerUnavailableError as error:
            response = unavailable(error)
        await response(scope, receive, send)


def _nothing(status: int, detail: str) -> dict[str, Any]:
    return {}
