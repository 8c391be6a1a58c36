"""Which request is being answered, for the lines that are logged on the way."""

from __future__ import annotations

from contextvars import ContextVar

from msgspec import Struct


class RequestContext(Struct, frozen=True, gc=False):
    """The request's id, and the span that it belongs to if its caller said so (W3C Trace Context)."""

    request_id: str
    traceparent: str | None = None

    @property
    def trace_id(self) -> str | None:
        """The trace that the request belongs to: 32 hexadecimal digits."""
        return None if self.traceparent is None else self.traceparent[3:35]


REQUEST: ContextVar[RequestContext | None] = ContextVar("engage_request", default=None)
