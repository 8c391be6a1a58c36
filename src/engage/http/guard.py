"""The guard of every route: who asks, and may they? 401 and 403 say what to bring."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, Request
from fastapi.routing import RouteContext
from starlette.types import Scope as Asked

from engage.events.validation import Fault
from engage.http.audited import Audited, said_actor
from engage.http.documents import problems
from engage.http.done_once import Command
from engage.http.head import header_of
from engage.http.parameters import must_be_known
from engage.http.problems import ProblemError, faulty, too_often
from engage.scopes import Scope
from engage.services.access import Access, AccessUnavailableError, UnknownCallerError
from engage.services.callers import ANYBODY, Caller

_SAFE = ("GET", "HEAD", "OPTIONS")
_FROM_ELSEWHERE = (b"cross-site", b"same-site")


async def admit(asked: Asked, need: Scope) -> Caller:
    """Who makes the request ``asked`` (ASGI's scope), if they may do what ``need`` says; ProblemError if not.

    For routes below FastAPI, before anything is read of the body; it leaves the caller in ``request.state.caller``.
    """
    access: Access = asked["app"].state.access
    caller = await _known(access, asked)
    if wait := access.wait(caller):
        raise too_often(caller.name, wait)
    if need not in caller.scopes:
        challenge = {"www-authenticate": f'Bearer realm="engage", error="insufficient_scope", scope="{need}"'}
        raise ProblemError(403, f"{caller.name!r} may not {need} here: bring a key with the scope {need!r}", challenge)
    if caller is ANYBODY:
        _refuse_pages(asked)
    asked.setdefault("state", {})["caller"] = caller
    return caller


async def may(asked: Asked, need: Scope) -> bool:
    """Whether whoever makes the request may do what ``need`` says, as of now; it is not counted as asking."""
    try:
        return need in (await _known(asked["app"].state.access, asked)).scopes
    except ProblemError:
        return False


class Needs:
    """``admit`` as a FastAPI dependency; who is let in is told of parameters that the route does not know."""

    def __init__(self, need: Scope) -> None:
        self.need = need

    async def __call__(self, request: Request) -> None:
        """Let the request in, or not."""
        await admit(request.scope, self.need)
        must_be_known(request)


def scope_of(route: RouteContext) -> Scope | None:
    """What who asks a route must be allowed to do; None where anybody may ask."""
    found = [one.call.need for one in route.dependant.dependencies if isinstance(one.call, Needs)]
    return found[0] if found else None


def guarded(need: Scope, *, own_trail: bool = False) -> dict[str, Any]:
    """What a router takes to be guarded, and described so: ``APIRouter(**guarded("read"))``.

    What operators command through it is kept (``engage audit``), unless its routes see to that themselves.
    """
    kind = {"route_class": Command if own_trail else Audited} if need == "operate" else {}
    return {"dependencies": [Depends(Needs(need))], "responses": refusals(need), **kind}


def refusals(need: Scope) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of a guarded route's refusals."""
    return problems(
        _401="Nobody is known by the key or token, or none was brought.",
        _403=f"Its bearer may not {need}.",
        _422="A parameter is not known here, or is wrong: `faults` says which.",
        _429="Too many requests with this key; `Retry-After` says in how many seconds to go on.",
        _503="The keys cannot be read just now; do the same again later.",
    )


def caller(request: Request) -> Caller:
    """Who makes a guarded request."""
    found: Caller = request.state.caller
    return found


def actor(request: Request, said: str | None) -> str:
    """Who gives a command, for the log: the caller, or whom they say they act for; 422 where nobody can be told."""
    found = caller(request).actor(said or said_actor(request))
    if found is None:
        raise faulty("the body does not fit: /actor: is missing", [Fault("/actor", "is missing")])
    return found


async def _known(access: Access, asked: Asked) -> Caller:
    brought = header_of(asked, b"authorization")
    try:
        return await access.caller(None if brought is None else brought.decode("latin-1"))
    except UnknownCallerError as error:
        invalid = ', error="invalid_token"' if error.brought else ""
        raise ProblemError(401, str(error), {"www-authenticate": f'Bearer realm="engage"{invalid}'}) from None
    except AccessUnavailableError as error:
        raise ProblemError(503, str(error), {"retry-after": "5"}) from None


def _refuse_pages(asked: Asked) -> None:
    """Where nobody is asked for a key, a page from elsewhere must not act through the browser of who is let in.

    Browsers send what a plain form can send without asking, and say in Sec-Fetch-Site where the page is from; a page
    cannot change that. Where a key is needed no page has it.
    """
    if asked["method"] in _SAFE or header_of(asked, b"sec-fetch-site") not in _FROM_ELSEWHERE:
        return
    origin = header_of(asked, b"origin")
    if origin is None or origin.decode("latin-1") not in asked["app"].state.origins:
        raise ProblemError(403, "a page from elsewhere may not change anything here: see ENGAGE_CORS_ORIGINS")
