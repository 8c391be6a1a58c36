"""The queue of follow-ups, and what people do with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from urllib.parse import unquote
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from msgspec import Struct, structs

from engage.events.validation import Fault
from engage.http.body import read_struct
from engage.http.commands import HEADERS, REFUSALS, if_version, once_of, refused
from engage.http.documents import DOCUMENTS, JSON, problems
from engage.http.guard import Needs, actor, refusals
from engage.http.problems import ProblemError, faulty
from engage.http.state import platform_of
from engage.http.waited import BEHIND, waited
from engage.near_names import meant
from engage.relationships.errors import CommandError
from engage.services.commanding import REQUESTS, Verb, command
from engage.services.once import FollowUpState
from engage.services.platform import Platform
from engage.services.reading import FollowUp, Reading, Which

router = APIRouter(tags=["follow-ups"])


class Queue(Struct):
    """Follow-ups in the order in which to see to them."""

    follow_ups: list[FollowUp]


_ID = "7f6b1a0e-2c53-5d0a-9f0e-3b1f6a2f9c11"
_FOLLOW_UP = {
    "follow_up": _ID,
    "account": "customer-17",
    "rule": "win-back",
    "about": "customer-17",
    "what": "win back",
    "why": "no order for 60 days, twice their own rhythm",
    "priority": "normal",
    "status": "open",
    "due": "2026-03-05T10:00:00Z",
    "expires": "2026-03-20T10:00:00Z",
    "overdue": False,
}
_STATE = {
    "id": _ID,
    "version": 2,
    "account": "customer-17",
    "status": "assigned",
    "assignee": "ada",
    "until": None,
    "outcome": None,
    "due": "2026-03-05T10:00:00Z",
    "expires": "2026-03-20T10:00:00Z",
}
_EXAMPLES: dict[Verb, dict[str, Any]] = {
    "assign": {"actor": "ada", "assignee": "grace"},
    "snooze": {"actor": "ada", "until": "2026-03-04T09:00:00Z"},
    "start": {"actor": "ada"},
    "complete": {"actor": "ada", "outcome": "reached"},
    "dismiss": {"actor": "ada", "reason": "already_solved"},
}
_NO_NUL = r"^[^\x00]*$"
Text = Annotated[str | None, Query(pattern=_NO_NUL, max_length=256)]


@router.get(
    "/v1/follow-ups",
    summary="The queue",
    dependencies=[Depends(Needs("read")), Depends(waited)],
    response_class=Response,
    responses={
        200: DOCUMENTS.answer(Queue, "The queue.", {"follow_ups": [_FOLLOW_UP]}),
        **refusals("read"),
        **problems(_422="A parameter is wrong.", _504=BEHIND),
    },
)
def queue(
    request: Request,
    status: Annotated[Which, Query(description="`open` is all that is not closed.")] = "open",
    account: Text = None,
    rule: Text = None,
    assignee: Text = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    as_of: Annotated[str | None, Query(include_in_schema=False)] = None,
) -> Response:
    """What is overdue first, then the more urgent, then the sooner due; closed ones latest first."""
    if as_of is not None:
        words = "the queue is that of now: ask /v1/views/follow_ups?as_of=… how follow-ups stood"
        raise faulty(f"as_of: {words}", [Fault("/query/as_of", words)])
    reading: Reading = request.app.state.reading
    found = reading.follow_ups(status, account=account, rule=rule, assignee=assignee, limit=limit)
    names = sorted(known.name for known in platform_of(request).rules.rules)
    if not found and rule is not None and rule not in names:
        words = f"there is no rule {rule!r}: {meant(rule, names)}"
        raise faulty(f"rule: {words}", [Fault("/query/rule", words)])
    return Response(msgspec.json.encode(Queue(found)), media_type=JSON)


@router.get(
    "/v1/follow-ups/{follow_up}",
    summary="One follow-up",
    dependencies=[Depends(Needs("read")), Depends(waited)],
    response_class=Response,
    responses={
        200: DOCUMENTS.answer(FollowUp, "The follow-up; its version is the ETag.", _FOLLOW_UP),
        **refusals("read"),
        **problems(_404="No such follow-up.", _504=BEHIND),
    },
)
def follow_up(request: Request, follow_up: str) -> Response:
    """A follow-up from the decision that asked for it to what came of it."""
    reading: Reading = request.app.state.reading
    platform: Platform = request.app.state.platform
    identity = _identity(follow_up)
    kept = platform.relationships.load([identity]).get(identity)
    found = reading.follow_up(str(identity), kept)
    if found is None:
        raise _unknown(follow_up)
    headers = {} if kept is None else {"etag": f'"{kept.version}"'}
    return Response(msgspec.json.encode(found), headers=headers, media_type=JSON)


def _route(verb: Verb) -> Callable[[Request, str], Awaitable[Response]]:
    kind = REQUESTS[verb][0]

    async def act(request: Request, follow_up: str) -> Response:
        platform: Platform = request.app.state.platform
        identity = _identity(follow_up)
        asked = await read_struct(request, kind)
        asked = structs.replace(asked, actor=actor(request, asked.actor))
        version = if_version(request)
        wanted = command(verb, identity, asked, platform.clock(), version)
        key = once_of(request, ["follow-up", identity, verb, asked, version])
        try:
            answer = (await run_in_threadpool(platform.desk.do, [wanted], once=key))[0]
        except CommandError as error:
            raise refused(error) from error
        if isinstance(answer, CommandError):
            raise refused(answer)
        return Response(msgspec.json.encode(answer), headers={"etag": f'"{answer.version}"'}, media_type=JSON)

    return act


for _verb, (_kind, _) in REQUESTS.items():
    router.add_api_route(
        f"/v1/follow-ups/{{follow_up}}/{_verb}",
        _route(_verb),
        methods=["POST"],
        dependencies=[Depends(Needs("work"))],
        name=_verb,
        summary=f"{_verb.capitalize()} a follow-up",
        description=f"{_kind.__doc__} With `If-Match`, only if its version is still that of the ETag.",
        openapi_extra={**DOCUMENTS.body(_kind, _EXAMPLES[_verb]), **HEADERS},
        response_class=Response,
        responses={
            200: DOCUMENTS.answer(FollowUpState, "Its state after the command.", _STATE),
            **refusals("work"),
            **REFUSALS,
        },
    )


def _identity(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise _unknown(text) from None


def _unknown(text: str) -> ProblemError:
    return ProblemError(404, f"there is no follow-up {unquote(text)!r}: GET /v1/follow-ups lists the open ones")
