"""Query parameters: those that a route does not know are refused, not passed over, and so is a moment that is none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import AwareDatetime, BeforeValidator
from pydantic_core import PydanticCustomError

from engage.events.validation import Fault
from engage.http.problems import faulty
from engage.near_names import meant

_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def _written_out(said: object) -> object:
    """Refuses numbers, which pydantic takes for seconds since 1970: nobody who writes 2026 means those."""
    if isinstance(said, str) and not _DAY.match(said):
        raise PydanticCustomError("datetime_parsing", "is no moment")
    return said


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out)]
"""A moment as a parameter: `2026-03-01T09:00:00Z`."""


def must_be_known(request: Request) -> None:
    """ProblemError (422) for parameters that the route's OpenAPI does not tell of; read models judge their own."""
    if not request.scope["query_string"]:
        return
    route: APIRoute = request.scope["route"]
    described = [one for one in (route.openapi_extra or {}).get("parameters", ()) if one["in"] == "query"]
    if any("additionalProperties" in one["schema"] for one in described):
        return
    known = sorted({*_declared(route.dependant), *(one["name"] for one in described)})
    faults = [
        Fault(f"/query/{name}", _words(name, known))
        for name in dict.fromkeys(request.query_params)
        if name not in known
    ]
    if faults:
        raise faulty("; ".join(f"{fault.pointer.removeprefix('/query/')}: {fault.message}" for fault in faults), faults)


def _declared(dependant: Any) -> Iterable[str]:
    """What FastAPI reads for the route, and for what it depends on."""
    yield from (one.alias for one in dependant.query_params)
    for one in dependant.dependencies:
        yield from _declared(one)


def _words(name: str, known: list[str]) -> str:
    if not known:
        return "is not known here, and nothing else is"
    return f"is not known here: {meant(name, known)}"
