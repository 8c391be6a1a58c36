"""What surrounds every request: who may come in, paths as they were sent, the headers of every answer, our failures."""

from __future__ import annotations

from functools import lru_cache

import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engage.http.ending import Ending
from engage.http.head import header_of
from engage.http.problems import problem

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})
HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
# Whoever keeps this connection would ask here again.
_GONE = {"connection": "close", "retry-after": "1"}

_log = structlog.get_logger(__name__)


class Shell:
    """ASGI middleware. ``local_only`` refuses requests whose Host is not this machine's loopback.

    A web page anywhere may point a name of its own at 127.0.0.1 and have the visitor's browser ask there: the Host
    header gives it away.
    """

    def __init__(self, app: ASGIApp, *, local_only: bool, ending: Ending) -> None:
        self._app = app
        self._ending = ending
        self._local_only = local_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                said = message["headers"] = list(message.get("headers", ()))
                names = {name for name, _ in said}
                said += [header for header in HEADERS if header[0] not in names]
            await send(message)

        if (refused := self.refused(scope)) is not None:
            await refused(scope, receive, send_with_headers)
            return
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            failed = failure(error)
            if begun:  # half an answer: the server cuts the connection, so that nobody takes it for a whole one
                raise
            await failed(scope, receive, send_with_headers)

    def refused(self, scope: Scope) -> Response | None:
        """Why nobody answers this request here, if so. Makes its path what it is routed by."""
        # Paths stay percent-encoded while they are routed, so that an id with a slash in it is one id.
        if raw := scope.get("raw_path"):
            scope["path"] = raw.decode("latin-1")
        if self._ending.closed:
            return problem(503, "engage is ending here: send the same again, it was not taken", _GONE)
        if self._local_only:
            host = _host_name(header_of(scope, b"host") or b"")
            if host not in LOOPBACK:
                said = f"engage answers on this machine only, and this was sent to {host!r}: ask 127.0.0.1"
                return problem(421, said)
        return None


def failure(error: BaseException) -> Response:
    """What is said of a failure of ours, which is logged."""
    _log.error("engage failed to answer a request", exc_info=error)
    return problem(500, "engage failed here, and its own log says how: report it, and try again")


@lru_cache(256)
def _host_name(said: bytes) -> str:
    host = said.decode("latin-1")
    return host if host.endswith("]") else host.rpartition(":")[0] or host
