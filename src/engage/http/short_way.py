"""The short way: events in a request that came whole are taken without a task, and without a request of ASGI's.

Those cost as much as everything else that is done for an event. What is not plainly in order here goes the usual way
(``engage.http.direct``), which says what is wrong with it: both answer the same, whatever the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter

from fastapi import FastAPI
from msgspec import Struct
from starlette.responses import Response

from engage.http.body import MAX_BYTES, media_of
from engage.http.documents import JSON
from engage.http.events import as_taken, opened, told
from engage.http.pressure import Held
from engage.http.problems import ProblemError, unavailable
from engage.http.shell import HEADERS, Shell, failure
from engage.http.watched import Watched, context_of
from engage.log.contract import Answer
from engage.log.topics import BrokerUnavailableError
from engage.services import tracing
from engage.services.gathering import MOST
from engage.services.request_context import REQUEST, RequestContext

PATH = "/v1/events"
_OTHERWISE = frozenset({b"content-encoding", b"ce-specversion", b"sec-fetch-site"})
"""Headers of requests that go the usual way."""

Headers = Sequence[tuple[bytes, bytes]]
Tell = Callable[[int, bytes, bytes], None]
"""Answers with a status, headers as they are sent and a body, at once."""


class _Asked(Struct, frozen=True):
    """What is to be known of a request when its events are taken."""

    context: RequestContext
    began: float
    batched: bool
    held: Held
    tell: Tell


class ShortWay:
    """Takes events in over ``app`` as its route does. Nobody may add anything to the answers, as CORS would."""

    def __init__(self, app: FastAPI, *, shell: Shell, watched: Watched) -> None:
        self._access = app.state.access
        self._state = app.state
        self._gathering = app.state.platform.gathering
        self._shell = shell
        self._watched = watched

    def begun(self, headers: Headers, body: bytes, tell: Tell) -> bool:
        """Whether the events are being taken in, and ``tell`` will be called; else nothing was done."""
        began = perf_counter()
        head, scope = dict(headers), {"headers": headers}
        if len(head) < len(headers) or not _OTHERWISE.isdisjoint(head) or len(body) > MAX_BYTES or tracing.traced():
            return False
        if self._shell.refused(scope) is not None:
            return False
        brought = head.get(b"authorization")
        caller = self._access.at_hand(None if brought is None else brought.decode("latin-1"))
        if caller is None or "publish" not in caller.scopes:
            return False
        try:
            events, batched = opened(media_of(head.get(b"content-type", b"").decode("latin-1")), body)
            held = self._state.pressure.hold(len(body))
        except ProblemError:
            return False
        if not 0 < len(events) <= MOST or caller.foreign(events) or self._access.wait(caller):
            return False
        held.begin(len(body))
        asked = _Asked(context_of(scope), began, batched, held, tell)
        self._gathering.begun(events).add_done_callback(partial(self._answer, asked))
        return True

    def _answer(self, asked: _Asked, answers: asyncio.Future[list[Answer]]) -> None:
        REQUEST.set(asked.context)  # for what is logged here: what waits for a future has a context of its own
        asked.held.end()
        identified = b"x-request-id: %b\r\n" % asked.context.request_id.encode()
        error = asyncio.CancelledError() if answers.cancelled() else answers.exception()
        if error is None and (taken := as_taken(answers.result())) is not None:
            status, body = 200, taken.encode()
            headers = b"content-length: %d\r\n%b%b" % (len(body), _TAKEN, identified)
        else:
            response = told(answers.result(), asked.batched) if error is None else _failed(error)
            status, body = response.status_code, bytes(response.body)
            headers = b"%b%b%b" % (_lines(response.raw_headers), _SURROUNDING, identified)
        waited = perf_counter() - asked.began
        asked.tell(status, headers, body)
        self._watched.note("POST", PATH, status, waited, perf_counter() - asked.began)


def _failed(error: BaseException) -> Response:
    return unavailable(error) if isinstance(error, BrokerUnavailableError) else failure(error)


def _lines(headers: Headers) -> bytes:
    return b"".join(b"%b: %b\r\n" % header for header in headers)


_SURROUNDING = _lines(HEADERS)
_TAKEN = b"content-type: %b\r\n%b" % (JSON.encode(), _SURROUNDING)
