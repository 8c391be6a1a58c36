"""What changes in a read model, as server-sent events: a browser's EventSource follows it, and comes back by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from time import monotonic
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.sse import format_sse_event

from engage.events.validation import Fault
from engage.http.documents import problems
from engage.http.guard import guarded, may
from engage.http.problems import ProblemError, faulty
from engage.http.spooled import PatientResponse
from engage.http.views import views_of, waited_for_view
from engage.services.platform import Platform
from engage.services.view_changes import NotFollowableError, Told, check_followable, follow
from engage.services.view_query import MOST_VALUES
from engage.views.asking import Condition

router = APIRouter(tags=["views"], **guarded("read"))

ASK_AGAIN_SECONDS = 10.0
"""A line may stay open for days: whoever follows it is asked again, so that a key that was revoked ends it."""
_MEDIA = "text/event-stream"
_RETRY_MS = 2_000
_ROW = {"account": "customer-17", "score": 38.5, "band": "slipping"}
_CHANGED = {
    "view": "account_health",
    "version": 3,
    "key": "customer-17",
    "account": "customer-17",
    "change": 4,
    "position": 812,
    "row": _ROW,
}
_EVENT = {
    "type": "object",
    "description": "One event of the stream; `data` is JSON.",
    "properties": {
        "event": {"type": "string", "enum": ["ready", "changed", "deleted", "stale", "reset"]},
        "data": {"type": "string"},
        "id": {"type": "string"},
        "retry": {"type": "integer"},
    },
}
_EXAMPLE = (
    'event: ready\ndata: {"view":"account_health","version":3}\nid: 5f2c:3,0,7,1\n\n'
    f"event: changed\ndata: {msgspec.json.encode(_CHANGED).decode()}\nid: 5f2c:4~customer-17,0,7,1\n\n: heartbeat\n\n"
)


@router.get(
    "/v1/changes/{name}",
    summary="Follow what changes",
    dependencies=[Depends(waited_for_view)],
    response_class=Response,
    responses={
        200: {
            "description": "Events without an end: `ready` at first; `changed` with the row; `deleted` with its key; "
            "`stale` where rows are merged when they are read: ask again; `reset` where what was seen is void, then "
            "every row comes again.",
            "content": {_MEDIA: {"schema": _EVENT, "example": _EXAMPLE}},
        },
        **problems(
            _404="No such view.",
            _409="It is merged when it is read, and has no keys of its own: follow all of it.",
            _422="A parameter is wrong.",
            _503="The view is not there yet, or is being folded anew.",
            _504="What was waited for is not there yet: `behind` says how far the view is.",
        ),
    },
)
async def changes(
    request: Request,
    name: str,
    key: Annotated[list[str] | None, Query(description="Only the rows of these keys; may be given again.")] = None,
    key__prefix: Annotated[str | None, Query(description="Only rows whose key begins so.")] = None,
    since: Annotated[
        Literal["now", "start"], Query(description="`start`: every row as it is first. Last-Event-ID goes before.")
    ] = "now",
    last_event_id: Annotated[str | None, Header(description="The id of the last event that was seen.")] = None,
) -> Response:
    """Each change once, as soon as it is there: a row's last state, or that it is gone.

    `Last-Event-ID` goes on behind that event, with nothing left out and nothing told again. A row that changes faster
    than it is read comes with its last state only. A comment comes at least every 15 seconds; who takes nothing for 30
    is let go.
    """
    platform: Platform = request.app.state.platform
    model = views_of(request).named(name)
    keys = _keys(key, key__prefix)
    try:
        check_followable(model, keys)
    except NotFollowableError as error:
        raise ProblemError(409, str(error)) from error
    told = follow(platform.store, platform.waiting, model, last_event_id, keys=keys, from_start=since == "start")
    first = await anext(told)  # before anything is said: what fails here is told as a problem
    headers = {"x-accel-buffering": "no"}
    return PatientResponse(_written(request, first, told), media_type=_MEDIA, headers=headers)


async def _written(request: Request, first: Told, rest: AsyncIterator[Told]) -> AsyncIterator[bytes]:
    yield _event(first, retry=_RETRY_MS)
    asked = monotonic()
    async for one in rest:
        if monotonic() - asked >= ASK_AGAIN_SECONDS:
            if not await may(request.scope, "read"):
                return
            asked = monotonic()
        yield _event(one)


def _event(told: Told, retry: int | None = None) -> bytes:
    if told.kind == "heartbeat":
        return format_sse_event(comment="heartbeat")
    return format_sse_event(event=told.kind, data_str=told.data.decode(), id=told.place, retry=retry)


def _keys(keys: list[str] | None, prefix: str | None) -> Condition | None:
    if keys and prefix is not None:
        raise faulty("key or key__prefix, not both", [Fault("/query/key__prefix", "not with key")])
    if prefix is not None:
        return Condition("key", "prefix", _storable("key__prefix", prefix))
    if not keys:
        return None
    if len(keys) > MOST_VALUES:
        raise faulty(f"{len(keys)} keys", [Fault("/query/key", f"at most {MOST_VALUES} are taken")])
    return Condition("key", "in", tuple(_storable("key", one) for one in keys))


def _storable(name: str, text: str) -> str:
    if "\x00" in text:
        raise faulty(f"{name} holds U+0000, which no key does", [Fault(f"/query/{name}", "holds U+0000")])
    return text
