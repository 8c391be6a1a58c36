"""Publishing: CloudEvents 1.0 over HTTP, structured, batched or binary, with an answer for each event."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal
from urllib.parse import unquote_to_bytes

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import Raw, Struct

from engage.events.validation import Fault, Refusal
from engage.http.body import announced, header, media_type, must_not_be_more, read_body
from engage.http.documents import DOCUMENTS, JSON, problems
from engage.http.guard import caller, guarded
from engage.http.pressure import Held, Pressure
from engage.http.problems import ProblemError, problem
from engage.http.taken_apart import taken_apart
from engage.log.contract import Answer, Taken
from engage.services.callers import publish_as
from engage.services.platform import Platform

SINGLE, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"

_split = msgspec.json.Decoder(list[Raw]).decode
_whole = msgspec.json.Decoder(Raw).decode
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)

router = APIRouter(tags=["publish"], **guarded("publish"))


class Result(Struct, omit_defaults=True):
    """What became of an event: ``token`` says where it was taken, ``reason`` and ``faults`` why it was refused."""

    status: Literal["taken", "duplicate", "refused"]
    token: str | None = None
    reason: str | None = None
    faults: tuple[Fault, ...] = ()


class Results(Struct):
    """A result for each event in the order of the request, and how many there are of each kind."""

    results: list[Result]
    taken: int
    duplicate: int
    refused: int


_EVENT = {
    "specversion": "1.0",
    "id": "order-1001",
    "source": "urn:shop",
    "type": "Order Completed",
    "subject": "customer-17",
    "time": "2026-03-01T10:00:00Z",
    "data": {"order_id": "order-1001", "total": 59.9, "currency": "EUR"},
}
_FAULT = {"pointer": "/subject", "message": "is missing"}
_TAKEN = {"results": [{"status": "taken", "token": "3:17"}], "taken": 1, "duplicate": 0, "refused": 0}
_PART = {
    "results": [*_TAKEN["results"], {"status": "refused", "reason": "envelope", "faults": [_FAULT]}],  # type: ignore[misc]
    "taken": 1,
    "duplicate": 0,
    "refused": 1,
}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["specversion", "id", "source", "type", "subject", "time", "data"],
    "properties": {"specversion": {"const": "1.0"}}
    | {name: {"type": "string", "minLength": 1, "maxLength": 256} for name in ("id", "source", "type", "subject")}
    | {"time": {"type": "string", "format": "date-time"}, "data": {"description": "As the type's schema says."}},
}
_BODIES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            SINGLE: {"schema": _SCHEMA, "example": _EVENT},
            BATCH: {"schema": {"type": "array", "items": _SCHEMA}, "example": [_EVENT]},
            JSON: {"schema": {"oneOf": [_SCHEMA, {"type": "array", "items": _SCHEMA}]}, "example": _EVENT},
        },
    }
}


@router.post(
    "/v1/events",
    summary="Publish events",
    openapi_extra=_BODIES,
    response_class=Response,
    responses={
        200: DOCUMENTS.answer(Results, "Every event is taken, or known already.", _TAKEN),
        207: DOCUMENTS.answer(Results, "Some are refused, all others are taken.", _PART),
        **problems(
            _400="The body is not JSON, or not what its content coding makes.",
            _408="The body did not come in time.",
            _413="The body is too long, or is when it is unpacked, or holds too many events.",
            _415="Another media type, or a content coding that is not gzip or zstd.",
            _422="Every event is refused: `faults` says why, and in a batch `results`.",
            _429="More is being published than can be kept: come again after `Retry-After` seconds.",
            _503="The log cannot be reached; do the same again later.",
        ),
    },
)
async def publish(request: Request) -> Response:
    """Take events in: what is answered `taken` survives a crash and will be counted once.

    The same `subject`, `source` and `id` again is a `duplicate` and changes nothing, so a request may be repeated.
    A body may be packed with gzip or zstd; `Content-Encoding` says so.
    """
    platform: Platform = request.app.state.platform
    pressure: Pressure = request.app.state.pressure
    with pressure.hold(announced(request)) as held:
        events, batched = await _events(request, held)
        answers = await publish_as(caller(request), events, platform.gathering.publish)
    return told(answers, batched)


def counted(results: list[Result]) -> Results:
    """How many of each kind there are."""
    taken, refused = (sum(result.status == status for result in results) for status in ("taken", "refused"))
    return Results(results, taken, len(results) - taken - refused, refused)


def told(answers: Sequence[Answer], batched: bool) -> Response:
    """What became of the events of a request."""
    if (taken := as_taken(answers)) is not None:
        return Response(taken.encode(), media_type=JSON)
    results = [result_of(answer) for answer in answers]
    summed = counted(results)
    refused = summed.refused
    if refused == 0 or refused < len(results):
        return Response(msgspec.json.encode(summed), 207 if refused else 200, media_type=JSON)
    if batched:
        members = {name: getattr(summed, name) for name in summed.__struct_fields__}
        return problem(422, f"all {refused} events are refused: see what `results` says of each", **members)
    detail = f"the event is refused: {answers[0]}"
    return problem(422, detail, reason=results[0].reason, faults=results[0].faults)


def as_taken(answers: Sequence[Answer]) -> str | None:
    """``Results`` as it would be written where every event was taken, as nearly always; None if one was not."""
    tokens = [answer.token for answer in answers if isinstance(answer, Taken)]
    # As ``str`` writes a token, which to call takes as long as all else of it.
    taken = [f'{{"status":"taken","token":"{token.partition}:{token.offset}"}}' for token in tokens]
    if len(taken) < len(answers):
        return None
    return f'{{"results":[{",".join(taken)}],"taken":{len(taken)},"duplicate":0,"refused":0}}'


def result_of(answer: Answer) -> Result:
    """What became of one event."""
    if isinstance(answer, Refusal):
        return Result("refused", reason=answer.reason, faults=answer.faults)
    return Result("taken" if isinstance(answer, Taken) else "duplicate", token=str(answer.token))


async def _events(request: Request, held: Held) -> tuple[list[bytes], bool]:
    """The events of a request, each as structured JSON, and whether they came as a batch."""
    media = media_type(request)
    if header(request, b"ce-specversion") and media not in (SINGLE, BATCH):
        return [_from_headers(request, media, await read_body(request, held=held))], False
    _must_be_taken(media)  # before the body is read
    return opened(media, await read_body(request, held=held))


def opened(media: str, body: bytes) -> tuple[list[bytes], bool]:
    """The events of a body of this media type, each by itself, and whether they came as a batch."""
    _must_be_taken(media)
    listed = body.lstrip(b" \t\r\n").startswith(b"[")
    if media != JSON and listed != (media == BATCH):
        raise ProblemError(
            400, f"{media} is {'an array of events' if media == BATCH else 'one event'}: the body is not"
        )
    try:
        items = _split(body) if listed else [_whole(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        apart = taken_apart(body) if listed else None
        if apart is None:
            raise ProblemError(400, f"the body is not JSON in UTF-8: {error}") from error
        must_not_be_more(len(apart))
        return apart, True
    must_not_be_more(len(items))
    return [bytes(item) for item in items], listed


def _must_be_taken(media: str) -> None:
    if media not in (SINGLE, BATCH, JSON):
        raise ProblemError(415, f"Content-Type {media!r} is not taken: send {SINGLE}, {BATCH} or {JSON}")


def _from_headers(request: Request, media: str, body: bytes) -> bytes:
    """CloudEvents' binary mode: attributes are ``ce-`` headers, percent-encoded; the body is the data."""
    said = {name[3:].decode("latin-1"): value for name, value in request.scope["headers"] if name.startswith(b"ce-")}
    shape: dict[str, Any] = {name: _attribute(name, value) for name, value in said.items()}
    if media:
        shape["datacontenttype"] = media
    if "dataversion" in shape and shape["dataversion"].isdecimal():
        shape["dataversion"] = int(shape["dataversion"])
    try:
        if body:
            shape["data"] = _whole(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(400, f"the body is not JSON in UTF-8: {error}") from error
    return msgspec.json.encode(shape)


def _attribute(name: str, value: bytes) -> str:
    """What a header says: quotes of older senders and percent-encoding taken off; 422 for what is no UTF-8 then.

    Libraries that encode nothing send UTF-8, or Latin-1 as headers once were.
    """
    if len(value) > 1 and value[:1] == value[-1:] == b'"':
        value = _ESCAPED.sub(rb"\1", value[1:-1])
    try:
        said = value.decode()
    except UnicodeDecodeError:
        said = value.decode("latin-1")
    try:
        return unquote_to_bytes(said).decode()
    except UnicodeDecodeError:
        fault = Fault(f"/{name}", "is not UTF-8: percent-encode its bytes in UTF-8")
        raise ProblemError(
            422, f"the event is refused: {fault.pointer}: {fault.message}", reason="envelope", faults=[fault]
        ) from None
