"""What is known of every request afterwards: its id in each line of the log, one access line, its share of the figures.

No path, query, header value or body is written down: they may hold names and addresses. A route is named by template.
"""

from __future__ import annotations

import re
import secrets
from itertools import count
from time import perf_counter

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engage.services import metrics, tracing
from engage.services.request_context import REQUEST, RequestContext

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Long enough for every id in use, and no e-mail address or sentence passes.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")

# Ids that nobody gave: to ask the system for chance each time takes as long as to check an event.
_PROCESS, _NUMBERS = secrets.token_hex(10), count()

_log = structlog.get_logger("engage.access")


class Watched:
    """ASGI middleware, the outermost. ``access``: say one line for each request, at the level of that name."""

    def __init__(self, app: ASGIApp, *, access: bool) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; ``x-request-id`` is echoed, or given."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        context = context_of(scope)
        status, waited = 500, 0.0

        async def noting(message: Message) -> None:
            nonlocal status, waited
            if message["type"] == "http.response.start":
                status, waited = message["status"], perf_counter() - began
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", context.request_id.encode())]
            await send(message)

        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        token = REQUEST.set(context)
        with tracing.request(method, context.traceparent) as span:
            try:
                await self._app(scope, receive, noting)
            finally:
                route = getattr(scope.get("route"), "path", "none")
                if span is not None:
                    tracing.answered(span, method, route, status)
                self.note(method, route, status, waited or perf_counter() - began, perf_counter() - began)
                REQUEST.reset(token)

    def note(self, method: str, route: str, status: int, waited: float, whole: float) -> None:
        """A request was answered: after ``waited`` seconds the answer began, after ``whole`` it was sent."""
        metrics.answered(method, route, status, waited)
        if self._access:
            milliseconds = round(whole * 1_000, 2)
            _log.info("request", level="access", method=method, route=route, status=status, ms=milliseconds)


def context_of(scope: Scope) -> RequestContext:
    """The id of a request, its sender's or a new one, and the trace that it belongs to."""
    request_id, traceparent = None, None
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            request_id = value.decode()
        elif name == b"traceparent" and _TRACEPARENT.fullmatch(value):
            traceparent = value[:55].decode()
    return RequestContext(request_id or f"{_PROCESS}{next(_NUMBERS):012x}", traceparent)
