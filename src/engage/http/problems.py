"""What goes wrong, as problem details (RFC 9457): said in words, with what to do, and never with a stack trace."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from math import ceil
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import Match

from engage.events.validation import Fault
from engage.log.topics import BrokerUnavailableError
from engage.services.as_of import AheadError
from engage.services.past import BusyError
from engage.services.snapshots import SnapshotGoneError
from engage.services.view_query import QueryError
from engage.services.views import UnknownViewError
from engage.services.waiting import BadTokenError, NotYetError
from engage.store.views import ViewMissingError

MEDIA_TYPE = "application/problem+json"
_AGAIN_SECONDS = "5"


class ProblemError(Exception):
    """An answer that is not what was asked for: ``status`` (HTTP's), ``detail`` what happened and what to do."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.members = members


def problem(status: int, detail: str, headers: dict[str, str] | None = None, **members: Any) -> Response:
    """The response; ``members`` are further fields of its body, as RFC 9457 allows."""
    body = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail, **members}
    return Response(msgspec.json.encode(body), status, headers, MEDIA_TYPE)


def _said(error: Any) -> str:
    """What pydantic found, in its words, and how to write what people get wrong most."""
    if error["type"].startswith(("datetime_", "timezone_")):
        return f"{error['input']!r} is no moment with a time zone: write 2026-03-01T09:00:00Z (and + as %2B)"
    return str(error["msg"])


def faulty(detail: str, faults: Sequence[Fault]) -> ProblemError:
    """422 with every fault, each with a pointer to it."""
    return ProblemError(422, detail, faults=list(faults))


def too_often(name: str, seconds: float) -> ProblemError:
    """429: ``name`` has to wait for so long before it asks again."""
    again = str(ceil(seconds))
    return ProblemError(429, f"{name!r} asks too often: try again in {again} s", {"retry-after": again})


def unavailable(error: BrokerUnavailableError) -> Response:
    """503: Kafka does not answer, come again."""
    return problem(503, str(error), {"retry-after": _AGAIN_SECONDS})


def _allowed(request: Request) -> list[str]:
    """The methods of all routes of the request's path."""
    routes = iter_route_contexts(request.app.routes)
    found = [route.methods or () for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for methods in found for method in methods})


def install(app: FastAPI) -> None:
    """Let every failure of ``app`` be told this way."""

    @app.exception_handler(ProblemError)
    async def of_ours(_: Request, error: ProblemError) -> Response:
        return problem(error.status, error.detail, error.headers, **error.members)

    @app.exception_handler(HTTPException)
    async def of_routing(request: Request, error: HTTPException) -> Response:
        said = {
            404: f"there is nothing at {request.url.path}: /docs lists what there is",
            405: f"{request.method} is not for {request.url.path}: see the Allow header",
        }
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers = {"allow": ", ".join(_allowed(request))}  # the router names the methods of one route alone
        return problem(error.status_code, said.get(error.status_code, str(error.detail)), headers)

    @app.exception_handler(RequestValidationError)
    async def of_parameters(_: Request, error: RequestValidationError) -> Response:
        faults = [Fault("/".join(("", *map(str, one["loc"]))), _said(one)) for one in error.errors()]
        return problem(422, "; ".join(f"{fault.pointer}: {fault.message}" for fault in faults), faults=faults)

    @app.exception_handler(ViewMissingError)
    async def of_views(_: Request, error: ViewMissingError) -> Response:
        return problem(503, str(error), {"retry-after": _AGAIN_SECONDS})

    @app.exception_handler(UnknownViewError)
    async def of_no_view(_: Request, error: UnknownViewError) -> Response:
        return problem(404, str(error))

    @app.exception_handler(QueryError)
    async def of_queries(_: Request, error: QueryError) -> Response:
        return problem(422, str(error), faults=error.faults)

    @app.exception_handler(NotYetError)
    async def of_waiting(_: Request, error: NotYetError) -> Response:
        return problem(504, str(error), behind=error.behind)

    @app.exception_handler(AheadError)
    async def of_what_comes(_: Request, error: AheadError) -> Response:
        return problem(422, f"as_of: {error}", faults=[Fault("/query/as_of", str(error))])

    @app.exception_handler(SnapshotGoneError)
    @app.exception_handler(BusyError)
    async def of_the_past(_: Request, error: Exception) -> Response:
        return problem(503, str(error), {"retry-after": "1"})

    @app.exception_handler(BadTokenError)
    async def of_tokens(_: Request, error: BadTokenError) -> Response:
        return problem(422, str(error))

    @app.exception_handler(BrokerUnavailableError)
    async def of_kafka(_: Request, error: BrokerUnavailableError) -> Response:
        return unavailable(error)
