"""Which request is being answered, for the lines that are logged on the way."""

from __future__ import annotations

from contextvars import ContextVar

from msgspec import Struct


class RequestContext(Struct, frozen=True, gc=False):
    """The request's id, and the trace it belongs to if its caller said so (W3C Trace Context)."""

    request_id: str
    trace_id: str | None = None


REQUEST: ContextVar[RequestContext | None] = ContextVar("engage_request", default=None)
