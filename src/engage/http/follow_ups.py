"""The queue of follow-ups, and what people do with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from msgspec import Struct, structs

from engage.events.validation import Fault
from engage.http.body import read_struct
from engage.http.documents import DOCUMENTS, JSON, problems
from engage.http.guard import actor, needs, refusals
from engage.http.problems import ProblemError, faulty
from engage.http.waited import waited
from engage.relationships.errors import ClosedError, CommandError, ConflictError, InvalidError, NotFoundError
from engage.services.commanding import REQUESTS, Verb, command
from engage.services.desk import FollowUpState
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
    dependencies=[Depends(needs("read")), Depends(waited)],
    response_class=Response,
    responses={
        200: DOCUMENTS.answer(Queue, "The queue.", {"follow_ups": [_FOLLOW_UP]}),
        **refusals("read"),
        **problems(_422="A parameter is wrong."),
    },
)
def queue(
    request: Request,
    status: Annotated[Which, Query(description="`open` is all that is not closed.")] = "open",
    account: Text = None,
    rule: Text = None,
    assignee: Text = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> Response:
    """What is overdue first, then the more urgent, then the sooner due; closed ones latest first."""
    reading: Reading = request.app.state.reading
    found = reading.follow_ups(status, account=account, rule=rule, assignee=assignee, limit=limit)
    return Response(msgspec.json.encode(Queue(found)), media_type=JSON)


@router.get(
    "/v1/follow-ups/{follow_up}",
    summary="One follow-up",
    dependencies=[Depends(needs("read")), Depends(waited)],
    response_class=Response,
    responses={
        200: DOCUMENTS.answer(FollowUp, "The follow-up; its version is the ETag.", _FOLLOW_UP),
        **refusals("read"),
        **problems(_404="No such follow-up."),
    },
)
def follow_up(request: Request, follow_up: str) -> Response:
    """A follow-up from the decision that asked for it to what came of it."""
    reading: Reading = request.app.state.reading
    platform: Platform = request.app.state.platform
    identity = _identity(follow_up)
    found = reading.follow_up(str(identity))
    if found is None:
        raise _unknown(follow_up)
    kept = platform.relationships.load([identity]).get(identity)
    headers = {} if kept is None else {"etag": f'"{kept.version}"'}
    return Response(msgspec.json.encode(found), headers=headers, media_type=JSON)


def _route(verb: Verb) -> Callable[[Request, str], Awaitable[Response]]:
    kind = REQUESTS[verb][0]

    async def act(request: Request, follow_up: str) -> Response:
        platform: Platform = request.app.state.platform
        identity = _identity(follow_up)
        asked = await read_struct(request, kind)
        asked = structs.replace(asked, actor=actor(request, asked.actor))
        wanted = command(verb, identity, asked, platform.clock(), _if_version(request))
        answer = (await run_in_threadpool(platform.desk.do, [wanted]))[0]
        if isinstance(answer, CommandError):
            raise _refused(answer)
        return Response(msgspec.json.encode(answer), headers={"etag": f'"{answer.version}"'}, media_type=JSON)

    return act


for _verb, (_kind, _) in REQUESTS.items():
    router.add_api_route(
        f"/v1/follow-ups/{{follow_up}}/{_verb}",
        _route(_verb),
        methods=["POST"],
        dependencies=[Depends(needs("work"))],
        name=_verb,
        summary=f"{_verb.capitalize()} a follow-up",
        description=f"{_kind.__doc__} With `If-Match`, only if its version is still that of the ETag.",
        openapi_extra=DOCUMENTS.body(_kind, _EXAMPLES[_verb]),
        response_class=Response,
        responses={
            200: DOCUMENTS.answer(FollowUpState, "Its state after the command.", _STATE),
            **refusals("work"),
            **problems(
                _400="The body is not JSON.",
                _404="No such follow-up.",
                _409="It is closed, or others keep changing it.",
                _412="Its version is not that of If-Match.",
                _413="The body is too long.",
                _415="Another media type.",
                _422="The body does not fit.",
            ),
        },
    )


def _identity(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise _unknown(text) from None


def _unknown(text: str) -> ProblemError:
    return ProblemError(404, f"there is no follow-up {text!r}: GET /v1/follow-ups lists the open ones")


def _if_version(request: Request) -> int | None:
    wanted = request.headers.get("if-match")
    if wanted is None or wanted == "*":
        return None
    version = wanted.removeprefix("W/").strip('"')
    if not (version.isdecimal() and len(version) < 10):
        raise ProblemError(412, f"If-Match {wanted!r} is no ETag of ours: read the follow-up, and send its ETag")
    return int(version)


def _refused(error: CommandError) -> ProblemError:
    if isinstance(error, NotFoundError):
        return ProblemError(404, str(error))
    if isinstance(error, ConflictError):
        return ProblemError(412, str(error))
    if isinstance(error, ClosedError):
        return ProblemError(409, str(error))
    field = error.field if isinstance(error, InvalidError) else "until"
    return faulty(str(error), [Fault(f"/{field}" if field else "", str(error))])
