"""HTTP/1.1 as uvicorn speaks it, but nobody may take as long as they like, or send heads without end.

A whole answer may be told in one go (``told_whole``): bit by bit it costs more than to check an event. And a request
that comes whole may be answered without ASGI (``engage.http.short_way``).
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from engage.http.short_way import PATH, ShortWay

MAX_HEAD_BYTES = 64_000
"""The request line and all headers; or what comes without a byte of the body while that is waited for."""
HEAD_SECONDS = 10.0
"""How long they may take from the first byte on, or from when the connection was made."""
BODY_SECONDS = 30.0
"""How long the body may take to begin; after an early answer, how long its rest may take is ``LINGER_SECONDS``."""
LINGER_SECONDS = 5.0
_TELL_WHOLE = "engage.tell_whole"
"""What in a request's scope tells its answer in one go."""
_SHORT = PATH.encode()
"""Where requests may be answered without ASGI."""
Headers = Sequence[tuple[bytes, bytes]]


class Protocol(HttpToolsProtocol):
    """A connection. A head that does not come in time ends it; a body that does not is answered 408, if it can be."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    """What came since something else than a head did, or what stands around chunks and behind them."""
    _in_head = True
    _in_body = False
    _held: bytearray | None = None
    """The body of a request so far, while it is not known which way it goes."""

    def __init__(self, config: Config, *others: Any, **named: Any) -> None:
        super().__init__(config, *others, **named)
        self._short_way: ShortWay | None = None if self.root_path else getattr(config.app, "short_way", None)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody is there."""
        super().connection_made(transport)
        self._wait(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """They are gone."""
        self._unset()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._held is not None and not self.transport.is_closing():
            self._begin_usually(self._let_go())  # there is more to come
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(431, f"the head of a request may have {MAX_HEAD_BYTES:,} bytes")
        elif self._head_bytes > MAX_HEAD_BYTES:
            self.transport.close()
        elif self._in_head and self._head_bytes and self._timer is None:  # most come whole, and need no time limit
            self._wait(HEAD_SECONDS)
        elif self._in_body and self._timer is None:
            self._wait(BODY_SECONDS)

    def on_message_begin(self) -> None:
        """A request begins. What ASGI is told of it is put together for those alone that go there."""
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header came. Those behind the body prove nothing and ask for nothing: who stands in between passes them."""
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._in_head, self._in_body, self._head_bytes = False, True, 0
        self._unset()
        if self._may_be_short():
            self._held = bytearray()
        else:
            self._begin_usually()

    def on_body(self, body: bytes) -> None:
        """Some of the body is there."""
        self._head_bytes = 0
        if self._held is None:
            super().on_body(body)
        else:
            self._held += body

    def on_message_complete(self) -> None:
        """The body is there."""
        self._in_head, self._in_body, self._head_bytes = True, False, 0
        self._unset()
        if self._held is not None:
            body = self._let_go()
            asked = _Asked(self, self.parser.should_keep_alive())
            assert self._short_way is not None
            if self._short_way.begun(self.headers, body, asked.tell):
                cycle: Any = asked
                self.cycle = cycle
                return
            self._begin_usually(body)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is written, maybe before the body was there."""
        super().on_response_complete()
        lingers = self._in_body and self.cycle.response_complete  # else it is the next request's body that is awaited
        if lingers and not self.transport.is_closing():
            self._wait(LINGER_SECONDS)

    def _may_be_short(self) -> bool:
        """Whether the request is one that may be answered without ASGI, and nothing of the connection is against it."""
        return (
            self.url == _SHORT
            and self._short_way is not None
            and (self.cycle is None or self.cycle.response_complete)
            and not (self.expect_100_continue or self.flow.write_paused or self.parser.should_upgrade())
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
        )

    def _let_go(self) -> bytes:
        body, self._held = bytes(self._held or b""), None
        return body

    def _begin_usually(self, body: bytes = b"") -> None:
        """Hand the request over to ASGI, with what is there of its body."""
        url, headers, expected = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expected
        self.headers += headers
        super().on_headers_complete()
        scope: Any = self.scope
        # Weak, for the cycle holds the scope: else each request, its body with it, would lie there for the collector.
        scope[_TELL_WHOLE] = partial(_tell_whole, weakref.ref(self.cycle))
        if body:
            super().on_body(body)

    def _wait(self, seconds: float) -> None:
        self._unset()
        self._timer = self.loop.call_later(seconds, self._late)

    def _unset(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        cycle: Any = self.cycle
        if self._in_body and cycle is not None and not cycle.response_started and not cycle.body:
            cycle.disconnected = True
            cycle.message_event.set()
            self._refuse(408, f"the body did not come within {BODY_SECONDS:.0f} s: send it again")
        elif not self._in_body or cycle is None or cycle.response_complete:
            self.transport.close()

    def _refuse(self, status: int, detail: str) -> None:
        title = {408: "Request Timeout", 431: "Request Header Fields Too Large"}[status]
        body = msgspec.json.encode({"title": title, "status": status, "detail": detail})
        head = (
            f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


class _Asked:
    """A request that is answered the short way, as uvicorn knows those that it hands to ASGI."""

    message_event = asyncio.Event()
    """Nobody waits for more of its body."""

    def __init__(self, protocol: Protocol, keep_alive: bool) -> None:
        self.disconnected = self.response_started = self.response_complete = False
        self.keep_alive = keep_alive
        self.body = b""
        self._protocol: Protocol | None = protocol

    def tell(self, status: int, headers: bytes, body: bytes) -> None:
        """Answer it, if anybody is there; ``headers`` as they are sent, each with its end of line."""
        # It lets go of the connection, which holds it: they would lie there for the collector.
        protocol, self._protocol = self._protocol, None
        assert protocol is not None, "a request is answered once"
        self.response_started = self.response_complete = True
        if self.disconnected or protocol.transport.is_closing():
            return
        told: list[bytes] = [STATUS_LINE[status]]
        for name, value in protocol.server_state.default_headers:
            told += (name, b": ", value, b"\r\n")
        told.append(headers)
        if not self.keep_alive:
            told.append(b"connection: close\r\n")
        told += (b"\r\n", body)
        protocol.transport.write(b"".join(told))
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()


def told_whole(scope: Scope, headers: Headers, body: bytes | memoryview) -> bool:
    """Whether the request of ``scope`` was answered in one go, with 200; else it is to be answered as always.

    The headers say how long the body is, nothing of the connection, and are not looked through for what no header may
    hold. Whoever stands in between does not hear of it: it is for answers to which nobody adds anything.
    """
    tell: Callable[[Headers, bytes | memoryview], bool] | None = scope.get(_TELL_WHOLE)
    return tell is not None and tell(headers, body)


def _tell_whole(asked: weakref.ref[RequestResponseCycle], headers: Headers, body: bytes | memoryview) -> bool:
    cycle = asked()
    if cycle is None or cycle.disconnected or cycle.response_started or cycle.flow.write_paused:
        return False
    told: list[bytes | memoryview] = [STATUS_LINE[200]]
    for name, value in (*cycle.default_headers, *headers):
        told += (name, b": ", value, b"\r\n")
    if not cycle.keep_alive:
        told.append(b"connection: close\r\n")
    told += (b"\r\n", body)
    cycle.response_started = cycle.response_complete = True
    cycle.transport.write(b"".join(told))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True
