"""What every command to an aggregate shares over HTTP: at which version, once, and how a refusal is said.

An aggregate's own file has its table of verbs and what they take; see ``engage.http.follow_ups``.
"""

from __future__ import annotations

from typing import Any

from fastapi import Request

from engage.events.validation import Fault
from engage.http.documents import body_problems
from engage.http.done_once import KEY_HEADER, key_of, reused
from engage.http.guard import caller
from engage.http.problems import ProblemError, faulty
from engage.relationships.errors import (
    ClosedError,
    CommandError,
    ConflictError,
    InvalidError,
    KeyReusedError,
    NotFoundError,
)
from engage.services.once import Once, once

HEADERS: dict[str, Any] = {
    "parameters": [
        {
            "name": "If-Match",
            "in": "header",
            "required": False,
            "description": "The ETag that it was read with: done only if it is still the same.",
            "schema": {"type": "string", "pattern": r'^(\*|(W/)?"[0-9]{1,9}")$'},
            "example": '"2"',
        },
        KEY_HEADER,
    ]
}
REFUSALS = body_problems(
    _404="There is nothing with this id.",
    _409="It is closed, or others keep changing it.",
    _412="Its version is not that of If-Match.",
    _422="The body does not fit, or another request came with this Idempotency-Key.",
)


def if_version(request: Request) -> int | None:
    """The version that If-Match wants, None for any; 412 for what is no ETag of ours."""
    wanted = request.headers.get("if-match")
    if wanted is None or wanted == "*":
        return None
    version = wanted.removeprefix("W/").strip('"')
    if not (version.isascii() and version.isdecimal() and len(version) < 10):
        raise ProblemError(412, f"If-Match {wanted!r} is no ETag of ours: read it again, and send its ETag")
    return int(version)


def once_of(request: Request, asked: object) -> Once | None:
    """What makes ``asked`` be done once, if the request brings an Idempotency-Key, quoted or not; 422 for none such."""
    key = key_of(request)
    if key is None:
        return None
    return once(caller(request).name, key, asked)


def refused(error: CommandError) -> ProblemError:
    """A refusal as a problem."""
    if isinstance(error, NotFoundError):
        return ProblemError(404, str(error))
    if isinstance(error, ConflictError):
        return ProblemError(412, str(error))
    if isinstance(error, ClosedError):
        return ProblemError(409, str(error))
    if isinstance(error, KeyReusedError):
        return reused(str(error))
    field = error.field if isinstance(error, InvalidError) else "until"
    return faulty(str(error), [Fault(f"/{field}" if field else "", str(error))])
