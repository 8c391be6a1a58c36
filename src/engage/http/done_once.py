"""Commands that bring an Idempotency-Key: done once however often they are asked, and answered the same for a day.

The key is claimed before anything is done: of two that ask at the same time one does it. What an aggregate is asked to
do keeps its answer with what was done (``services.once``); what operators do to engage itself keeps it here, behind it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import structlog
from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute
from msgspec import Struct
from starlette.types import Message

from engage.events.validation import Fault
from engage.http.body import received
from engage.http.documents import JSON, problems
from engage.http.problems import ProblemError, faulty, too_often
from engage.http.state import platform_of
from engage.services.access import Access, AccessUnavailableError, UnknownCallerError
from engage.services.callers import Caller
from engage.services.once import REUSED, once
from engage.services.platform import Platform

Handle = Callable[[Request], Coroutine[Any, Any, Response]]

KEY_HEADER: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A new text for each request: the same request with the same key is done once, and answered "
    "the same for a day.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "example": "8e03978e-40d5-43dd-bc93-6894a57f9324",
}
_KEY = re.compile(r"[\x20-\x7e]{1,255}")
_MOST_BYTES = 100_000
_READING = {"GET", "HEAD"}
_REFUSALS = problems(
    _408="The body did not come in time.",
    _409="A request with this Idempotency-Key is under way.",
    _413="The body is too long.",
)
_UNDER_WAY = (
    "a request with this Idempotency-Key is under way, or was cut off: ask again in a moment; if that does not help, "
    "see what became of it (`engage audit`), and take a new key to do it again"
)

_log = structlog.get_logger(__name__)


class Command(APIRoute):
    """A route of operators. Whoever may not operate is told so as if there were no key."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **said: Any) -> None:
        if not set(said.get("methods") or _READING) <= _READING:
            extra = said.get("openapi_extra") or {}
            said["openapi_extra"] = extra | {"parameters": [*extra.get("parameters", ()), KEY_HEADER]}
            said["responses"] = _REFUSALS | (said.get("responses") or {})
        super().__init__(path, endpoint, **said)

    def get_route_handler(self) -> Handle:
        """What answers a request."""
        handle = self.does()
        if self.reads:
            return handle

        async def answer(request: Request) -> Response:
            if (key := key_of(request)) is None or (who := await _operator(request)) is None:
                return await handle(request)
            return await _done(request, who, key, handle)

        return answer

    @property
    def reads(self) -> bool:
        """Whether it changes nothing, and so is no command."""
        return (self.methods or set()) <= _READING

    def does(self) -> Handle:
        """What answers a request that was not answered before."""
        return super().get_route_handler()


class _Kept(Struct, frozen=True):
    """An answer, without the secrets in it: they are shown once."""

    status: int
    location: str | None
    body: str


def key_of(request: Request) -> str | None:
    """The request's Idempotency-Key, quoted or not; None if it has none, 422 for what is none."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    key = key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key
    if not _KEY.fullmatch(key):
        message = "takes 1 to 255 printable ASCII characters"
        raise faulty(f"Idempotency-Key {message}", [Fault("/header/idempotency-key", message)])
    return key


def reused(detail: str) -> ProblemError:
    """422 for a key that another request came with."""
    return faulty(detail, [Fault("/header/idempotency-key", "another request came with this key")])


async def _done(request: Request, who: Caller, key: str, handle: Handle) -> Response:
    platform = platform_of(request)
    body = await received(request, _MOST_BYTES)
    scope = request.scope
    asked = once(who.name, key, [scope["method"], scope["path"], scope["query_string"].decode("latin-1"), body])
    kept = await run_in_threadpool(platform.relationships.claim, asked.key, asked.request, platform.clock())
    if kept is not None:
        access: Access = request.app.state.access
        if wait := access.wait(who):  # what is handed on is counted there
            raise too_often(who.name, wait)
        if kept.request != asked.request:
            raise reused(REUSED)
        if not kept.answer:
            raise ProblemError(409, _UNDER_WAY, {"retry-after": "1"})
        return _again(kept.answer)
    response = None
    try:
        response = await handle(Request(scope, _once_more(body, request)))
        return response
    finally:
        done = response is not None and response.status_code < 400
        try:
            await run_in_threadpool(_settle, platform, asked.key, response if done else None)
        except Exception as error:  # what was done is done: who asked hears of it, and only not a second time
            _log.error("answer not kept: its Idempotency-Key stays under way for a day", error=str(error))


def _settle(platform: Platform, key: str, response: Response | None) -> None:
    """Keep the answer; what was refused or failed may be asked with the same key again."""
    answer = None
    if response is not None:
        shape = msgspec.json.decode(response.body) if response.body else None
        if isinstance(shape, dict) and "secret" in shape:
            shape["secret"] = None
        body = "" if shape is None else msgspec.json.encode(shape).decode()
        answer = msgspec.json.encode(_Kept(response.status_code, response.headers.get("location"), body))
    platform.relationships.settle(key, answer)


def _again(answer: bytes) -> Response:
    kept = msgspec.json.decode(answer, type=_Kept)
    headers = {} if kept.location is None else {"location": kept.location}
    return Response(kept.body, kept.status, headers, JSON if kept.body else None)


async def _operator(request: Request) -> Caller | None:
    """Who asks, if they may operate."""
    access: Access = request.app.state.access
    try:
        who = await access.caller(request.headers.get("authorization"))
    except (UnknownCallerError, AccessUnavailableError):
        return None
    return who if "operate" in who.scopes else None


def _once_more(body: bytes, request: Request) -> Callable[[], Coroutine[Any, Any, Message]]:
    """Receives a body that was received before, then whatever comes behind it."""
    told = False

    async def receive() -> Message:
        nonlocal told
        if told:
            return await request.receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
