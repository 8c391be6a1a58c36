"""Publishing as Segment's and RudderStack's libraries do it: they need nothing but this host and a write key.

Paths, bodies and ``{"success": true}`` are those of Segment's HTTP Tracking API; the write key comes as the user name
of Basic authentication. The other members of an answer are ours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

import msgspec
import structlog
from fastapi import APIRouter, Request, Response
from msgspec import Struct

from engage.events.validation import Fault, Refusal
from engage.http.body import announced, media_type, must_not_be_more, parsed, read_body
from engage.http.documents import DOCUMENTS, JSON, problems
from engage.http.guard import caller, guarded
from engage.http.pressure import Pressure
from engage.http.problems import ProblemError, problem
from engage.http.taken_apart import batch_apart
from engage.log.contract import Taken
from engage.services.callers import publish_as
from engage.services.linking import LinkingError, link_known
from engage.services.platform import Platform
from engage.services.segment import SOURCE, TIMES, Shape, link_in, to_events

_TAKEN = (JSON, "text/plain", "application/x-www-form-urlencoded", "")
"""What libraries call their JSON: those in browsers something that no browser asks about before it is sent, and
RudderStack's for Node.js a form where it is packed."""

_log = structlog.get_logger(__name__)

router = APIRouter(tags=["publish"], **guarded("publish"))


class Refused(Struct):
    """A message that was not taken: its place in the batch (0 if it came alone), why, and each fault."""

    index: int
    reason: str
    faults: tuple[Fault, ...]


class Told(Struct):
    """``success`` as Segment says it: the request was taken. What was not taken of it is in ``messages``."""

    success: bool
    taken: int
    duplicate: int
    refused: int
    messages: list[Refused]


def members(status: int, detail: str) -> dict[str, Any]:
    """What the libraries look for in an answer that is no success."""
    return {"success": False, "code": str(status), "message": detail}


async def _take(request: Request, kind: str | None) -> Response:
    platform: Platform = request.app.state.platform
    pressure: Pressure = request.app.state.pressure
    who = caller(request)
    with pressure.hold(announced(request)) as held:
        if (media := media_type(request)) not in _TAKEN:
            raise ProblemError(415, f"Content-Type {media!r} is not taken: send {JSON}")
        shape = _object(await read_body(request, held=held))
        if kind is not None:
            shape["type"] = kind
        received = platform.clock().isoformat()
        for message in _messages(shape):
            _complete(message, shape, received)
        made = list(to_events(shape, who.sources[0] if who.sources else SOURCE))
        answers = iter(
            await publish_as(who, [event for event in made if isinstance(event, bytes)], platform.gathering.publish)
        )
    told = Told(True, 0, 0, 0, [])
    linking = request.app.state.segment_links
    batch = shape.get("batch")
    for index, (message, event) in enumerate(zip(batch if isinstance(batch, list) else [shape], made, strict=True)):
        answer = Refusal("envelope", (event,)) if isinstance(event, Fault) else next(answers)
        if isinstance(answer, Refusal):
            told.refused += 1
            told.messages.append(Refused(index, answer.reason, answer.faults))
            continue
        if isinstance(answer, Taken):
            told.taken += 1
        else:
            told.duplicate += 1
        if linking and (pair := link_in(message)) is not None:
            await _link(platform, *pair, who.name, str(message["messageId"]))
    if told.refused and told.refused == len(made):
        said = "; ".join(f"{fault.pointer or '/'}: {fault.message}" for fault in told.messages[0].faults)
        detail = f"nothing of it was taken: message {told.messages[0].index}: {said}"
        return problem(400, detail, **members(400, detail), messages=told.messages)
    return Response(msgspec.json.encode(told), media_type=JSON)


async def _link(platform: Platform, visitor: str, account: str, by: str, message: str) -> None:
    """Link them, unless somebody has parted them: what a library says at each visit does not overrule that."""
    if platform.embedded is not None and platform.embedded.links.was_parted(visitor):
        return
    try:
        await link_known(platform, visitor, account, by, message)
    except LinkingError as error:  # who shares a device stays who they were first
        _log.debug("visitor not linked", reason=str(error))


def _object(body: bytes) -> Shape:
    try:
        shape = parsed(body)
    except ProblemError:
        if (apart := batch_apart(body)) is None:
            raise
        items, rest = apart
        must_not_be_more(len(items))
        shape = parsed(rest)
        if not isinstance(shape, dict) or shape.get("batch") != []:  # that batch was within something else
            raise
        shape["batch"] = [_item(item) for item in items]
    if not isinstance(shape, dict):
        raise ProblemError(400, "the body is a message, or an object with a batch of them: it is neither")
    if isinstance(batch := shape.get("batch"), list):
        must_not_be_more(len(batch))
    return shape


def _item(item: bytes) -> Any:
    try:
        return parsed(item, "the message")
    except ProblemError as error:
        return Fault("", error.detail)


def _messages(shape: Shape) -> list[Shape]:
    batch = shape.get("batch", [shape])
    return [message for message in batch if isinstance(message, dict)] if isinstance(batch, list) else []


def _complete(message: Shape, batch: Shape, received: str) -> None:
    """What Segment itself adds to a message that lacks it: an id, and when it was received.

    The id is made from a message that says when it was made, so that the same again is a duplicate; of others nobody
    can tell, and each counts.
    """
    if not message.get("messageId"):
        dated = any(message.get(name) for name in TIMES)
        text = msgspec.json.encode(message, order="sorted").decode()
        message["messageId"] = str(uuid5(NAMESPACE_URL, text) if dated else uuid4())
    if not any(message.get(name) or batch.get(name) for name in TIMES):
        message["receivedAt"] = received


_PERSON = {"userId": "customer-17", "messageId": "m-1", "timestamp": "2026-03-01T10:00:00Z"}
_EXAMPLES: dict[str, Shape] = {
    "track": {
        **_PERSON,
        "event": "Order Completed",
        "properties": {"order_id": "order-1001", "total": 59.9, "currency": "EUR"},
    },
    "identify": {**_PERSON, "traits": {"name": "Ada Lovelace", "email": "ada@example.com"}},
    "group": {**_PERSON, "groupId": "team-3", "traits": {"plan": "gold"}},
    "page": {**_PERSON, "name": "Home", "properties": {"url": "https://shop.example/"}},
    "screen": {**_PERSON, "name": "Basket"},
    "alias": {**_PERSON, "previousId": "anonymous:7f3c"},
}
_BATCH = {"batch": [{"type": "track", **_EXAMPLES["track"]}]}
_DONE = {"success": True, "taken": 1, "duplicate": 0, "refused": 0, "messages": []}
_SHORT = {"t": "track", "i": "identify", "g": "group", "p": "page", "s": "screen", "a": "alias"}

ROUTES: dict[str, Callable[[Request], Awaitable[Response]]] = {}
"""What answers each path."""


def _route(path: str, kind: str | None, name: str, schema: Shape, example: Shape, *, told: bool) -> None:
    async def take(request: Request) -> Response:
        return await _take(request, kind)

    ROUTES[path] = take
    router.add_api_route(
        path,
        take,
        methods=["POST"],
        name=f"segment_{name}",
        summary=f"Segment: {name}",
        description="As Segment's and RudderStack's libraries send it; gzip and zstd are taken.",
        include_in_schema=told,
        response_class=Response,
        openapi_extra={"requestBody": {"required": True, "content": {JSON: {"schema": schema, "example": example}}}},
        responses={
            200: DOCUMENTS.answer(Told, "Taken; `messages` names those that were not.", _DONE),
            **problems(
                _400="It is no message, or nothing of it was taken: `messages` says why.",
                _408="The body did not come in time.",
                _413="The body is too long, or is when it is unpacked, or holds too many messages.",
                _415="Another media type, or a content coding that is not gzip or zstd.",
                _429="More is being published than can be kept: come again after `Retry-After` seconds.",
                _503="The log cannot be reached; do the same again later.",
            ),
        },
    )


_TEXT = {"type": "string"}
_OBJECT = {"type": "object"}
_MOMENT = {"type": "string", "format": "date-time"}
_COMMON: Shape = {
    "userId": _TEXT,
    "anonymousId": _TEXT,
    "messageId": _TEXT | {"description": "What makes it the same message: once taken, it is a duplicate."},
    "timestamp": _MOMENT,
    "context": _OBJECT,
}
_OWN: dict[str, Shape] = {
    "track": {"event": _TEXT, "properties": _OBJECT},
    "identify": {"traits": _OBJECT},
    "group": {"groupId": _TEXT, "traits": _OBJECT},
    "page": {"name": _TEXT, "category": _TEXT, "properties": _OBJECT},
    "screen": {"name": _TEXT, "category": _TEXT, "properties": _OBJECT},
    "alias": {"previousId": _TEXT},
}
_REQUIRED = {"track": ["event"], "group": ["groupId"], "screen": ["name"], "alias": ["previousId"]}
_SCHEMAS: dict[str, Shape] = {
    kind: {
        "type": "object",
        "description": "As Segment's specification says.",
        "required": _REQUIRED.get(kind, []),
        "anyOf": [{"required": ["userId"]}, {"required": ["anonymousId"]}],
        "properties": _COMMON | own,
    }
    for kind, own in _OWN.items()
}
_ANY = {"type": {"enum": list(_OWN)}} | _COMMON | {name: said for own in _OWN.values() for name, said in own.items()}
_BATCHED: Shape = {
    "type": "object",
    "required": ["batch"],
    "properties": {
        "batch": {
            "type": "array",
            "description": "Messages as the other paths take them, each with its `type`.",
            "items": {"type": "object", "required": ["type"], "properties": _ANY},
        },
        "context": _OBJECT,
        "sentAt": _MOMENT,
    },
}
for _name, _example in _EXAMPLES.items():
    _route(f"/v1/{_name}", _name, _name, _SCHEMAS[_name], _example, told=True)
for _letter, _name in _SHORT.items():
    _route(f"/v1/{_letter}", _name, _letter, _SCHEMAS[_name], _EXAMPLES[_name], told=False)
_route("/v1/batch", None, "batch", _BATCHED, _BATCH, told=True)
_route("/v1/import", None, "import", _BATCHED, _BATCH, told=False)
