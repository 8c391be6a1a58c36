"""The guard of every route: who asks, and may they? 401 and 403 say what to bring."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import ceil
from typing import Any

from fastapi import Depends, Request
from starlette.types import Scope as Asked

from engage.events.validation import Fault
from engage.http.documents import problems
from engage.http.problems import ProblemError, faulty
from engage.scopes import Scope
from engage.services.access import Access, AccessUnavailableError, UnknownCallerError
from engage.services.callers import Caller

_AUTHORIZATION = b"authorization"


async def admit(asked: Asked, need: Scope) -> Caller:
    """Who makes the request ``asked`` (ASGI's scope), if they may do what ``need`` says; ProblemError if not.

    For routes below FastAPI, before anything is read of the body; it leaves the caller in ``request.state.caller``.
    """
    access: Access = asked["app"].state.access
    brought = next((value for name, value in asked["headers"] if name == _AUTHORIZATION), None)
    try:
        caller = await access.caller(None if brought is None else brought.decode("latin-1"))
    except UnknownCallerError as error:
        invalid = ', error="invalid_token"' if error.brought else ""
        raise ProblemError(401, str(error), {"www-authenticate": f'Bearer realm="engage"{invalid}'}) from None
    except AccessUnavailableError as error:
        raise ProblemError(503, str(error), {"retry-after": "5"}) from None
    if wait := access.wait(caller):
        again = str(ceil(wait))
        raise ProblemError(429, f"{caller.name!r} asks too often: try again in {again} s", {"retry-after": again})
    if need not in caller.scopes:
        challenge = {"www-authenticate": f'Bearer realm="engage", error="insufficient_scope", scope="{need}"'}
        raise ProblemError(403, f"{caller.name!r} may not {need} here: bring a key with the scope {need!r}", challenge)
    asked.setdefault("state", {})["caller"] = caller
    return caller


def needs(need: Scope) -> Callable[[Request], Awaitable[None]]:
    """The same as a FastAPI dependency."""

    async def check(request: Request) -> None:
        await admit(request.scope, need)

    return check


def guarded(need: Scope) -> dict[str, Any]:
    """What a router or a route takes to be guarded, and described so: ``APIRouter(**guarded("read"))``."""
    return {"dependencies": [Depends(needs(need))], "responses": refusals(need)}


def refusals(need: Scope) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of a guarded route's refusals."""
    return problems(
        _401="Nobody is known by the key or token, or none was brought.",
        _403=f"Its bearer may not {need}.",
        _429="Too many requests with this key; `Retry-After` says in how many seconds to go on.",
        _503="The keys cannot be read just now; do the same again later.",
    )


def caller(request: Request) -> Caller:
    """Who makes a guarded request."""
    found: Caller = request.state.caller
    return found


def actor(request: Request, said: str | None) -> str:
    """Who gives a command, for the log: the caller, or whom they say they act for; 422 where nobody can be told."""
    found = caller(request).actor(said)
    if found is None:
        raise faulty("the body does not fit: /actor: is missing", [Fault("/actor", "is missing")])
    return found
