"""What surrounds every request: who may come in, paths as they were sent, the headers of every answer, our failures."""

from __future__ import annotations

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engage.http.ending import Ending
from engage.http.problems import problem

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})
_HEADERS = (
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
        # Paths stay percent-encoded while they are routed, so that an id with a slash in it is one id.
        if raw := scope.get("raw_path"):
            scope["path"] = raw.decode("latin-1")
        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                said = message["headers"] = list(message.get("headers", ()))
                names = {name for name, _ in said}
                said += [header for header in _HEADERS if header[0] not in names]
            await send(message)

        if self._ending.closed:
            gone = problem(503, "engage is ending here: send the same again, it was not taken", _GONE)
            await gone(scope, receive, send_with_headers)
            return
        host = _host_name(next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1"))
        if self._local_only and host not in LOOPBACK:
            refused = problem(421, f"engage answers on this machine only, and this was sent to {host!r}: ask 127.0.0.1")
            await refused(scope, receive, send_with_headers)
            return
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            _log.error("engage failed to answer a request", exc_info=error)
            if begun:  # half an answer: the server cuts the connection, so that nobody takes it for a whole one
                raise
            failed = problem(500, "engage failed here, and its own log says how: report it, and try again")
            await failed(scope, receive, send_with_headers)


def _host_name(host: str) -> str:
    return host if host.endswith("]") else host.rpartition(":")[0] or host
