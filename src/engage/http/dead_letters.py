"""Dead letters as operators see them: which there are and why, and the commands that let their consumers go on."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response
from msgspec import Struct, structs

from engage.events.catalogue.base import Text
from engage.events.envelope import Instant
from engage.http.audited import concerns, who_commands
from engage.http.body import read_struct
from engage.http.documents import DOCUMENTS, JSON, body_problems, problems
from engage.http.guard import guarded
from engage.http.parameters import Moment
from engage.http.paths import decoded
from engage.http.problems import ProblemError
from engage.http.state import platform_of
from engage.services.letters.acting import Command, act
from engage.services.letters.letter import Chosen, DeadLetter, Details, Done, NoSuchLetterError, Verb, WrongChoiceError

router = APIRouter(tags=["operate"], **guarded("operate"))


class LetterList(Struct):
    """Dead letters, in the order of the log by consumer."""

    dead_letters: list[DeadLetter]


class DoneList(Struct):
    """What came of each."""

    done: list[Done]


class Retrying(Struct, forbid_unknown_fields=True):
    """Which dead letters to retry: those with these ids that fit all that is given; ``all`` where nothing is given."""

    ids: list[str] = []
    all: bool = False
    fault: str | None = None
    consumer: str | None = None
    rule: str | None = None
    view: str | None = None
    account: str | None = None
    since: Instant | None = None


class Skipping(Retrying, kw_only=True):
    """Which dead letters to skip, as for a retry, and the ``reason``: it is kept on the log, so it names nobody."""

    reason: Text


_LETTER: dict[str, Any] = {
    "id": "3f9a2c7b10",
    "consumer": "rule win-back",
    "fault": "ZeroDivisionError: division by zero",
    "account": "customer-17",
    "partition": 3,
    "offset": 4711,
    "event_id": "order-1001",
    "since": "2026-03-01T10:00:00Z",
    "key": None,
    "missed": None,
    "cannot": {},
}
_DETAILS = {
    "letter": _LETTER,
    "error": "Traceback (most recent call last):\n  …\nZeroDivisionError: division by zero",
    "event": {"type": "Order Completed", "id": "order-1001", "subject": "customer-17", "data": {"order_id": "1001"}},
}
_DONE = {"done": [{"letter": _LETTER, "outcome": "goes_on", "detail": ""}]}
_WRONG = body_problems(
    _404="No such dead letter.",
    _422="The body does not fit, or which ones are meant cannot be told: `all` says all of them.",
)
_Given = Annotated[str | None, Query(max_length=256, pattern=r"^[^\x00]*$")]


@router.get(
    "/v1/dead-letters",
    summary="What consumers could not take",
    response_class=Response,
    responses={
        200: DOCUMENTS.answer(LetterList, "Those that fit.", {"dead_letters": [_LETTER]}),
        **problems(_422="A parameter is wrong."),
    },
)
async def listed(
    request: Request,
    fault: Annotated[_Given, Query(description="A part of the fault, or of its shape: ids and numbers as `…`.")] = None,
    consumer: _Given = None,
    rule: _Given = None,
    view: _Given = None,
    account: _Given = None,
    since: Annotated[Moment | None, Query(description="Only what was recorded then or later.")] = None,
) -> Response:
    """Where rules and read models stand still, events that intake refused, records that the desk cannot read."""
    chosen = Chosen(fault=fault, consumer=consumer, rule=rule, view=view, account=account, since=since)
    try:
        found = await platform_of(request).letters.listed(chosen)
    except WrongChoiceError as error:
        raise ProblemError(422, str(error)) from error
    return Response(msgspec.json.encode(LetterList(found)), media_type=JSON)


@router.get(
    "/v1/dead-letters/{letter:path}",
    summary="One dead letter",
    response_class=Response,
    responses={
        200: DOCUMENTS.answer(Details, "With the whole error, and the event as the log has it.", _DETAILS),
        **problems(_404="No such dead letter."),
    },
)
async def one(request: Request, letter: str) -> Response:
    """By its id or how that begins; what is personal in the event is sealed."""
    try:
        found = await platform_of(request).letters.one(decoded(letter, "letter"))
    except NoSuchLetterError as error:
        raise ProblemError(404, str(error)) from error
    return Response(msgspec.json.encode(found), media_type=JSON)


@router.post(
    "/v1/dead-letters/retry",
    summary="Retry dead letters",
    response_class=Response,
    responses={200: DOCUMENTS.answer(DoneList, "What came of each.", _DONE), **_WRONG},
    openapi_extra=DOCUMENTS.body(Retrying, {"consumer": "rule win-back"}),
)
async def retry(request: Request) -> Response:
    """A rule or a read model folds the account's past anew and goes on; intake reads anew. What fails again stays."""
    return await _acted(request, "retry", await read_struct(request, Retrying))


@router.post(
    "/v1/dead-letters/skip",
    summary="Skip dead letters",
    response_class=Response,
    responses={200: DOCUMENTS.answer(DoneList, "What came of each.", _DONE), **_WRONG},
    openapi_extra=DOCUMENTS.body(Skipping, {"ids": ["3f9a2c7b10"], "reason": "a test order of ours"}),
)
async def skip(request: Request) -> Response:
    """The consumer goes on as if that one event had not been: the log says so, and every fold of it heeds that."""
    asked = await read_struct(request, Skipping)
    return await _acted(request, "skip", asked, asked.reason)


async def _acted(request: Request, verb: Verb, asked: Retrying, reason: str = "") -> Response:
    platform = platform_of(request)
    given = structs.asdict(asked)
    chosen = Chosen(**{name: given[name] for name in structs.asdict(Chosen()) if name != "ids"}, ids=tuple(asked.ids))
    if not (chosen.says or asked.all) or (chosen.ids and asked.all):
        raise ProblemError(422, f"say which dead letters to {verb}: `ids`, what they have in common, or `all`")
    said = [f"{name}={value}" for name, value in structs.asdict(chosen).items() if value and name != "ids"]
    concerns(request, " ".join([*chosen.ids, *said]) or "all")
    command = Command(verb, who_commands(request), platform.clock(), reason)
    try:
        done = await act(platform.letters, chosen, command, platform.publish, platform.readers)
    except NoSuchLetterError as error:
        raise ProblemError(404, str(error)) from error
    except WrongChoiceError as error:
        raise ProblemError(422, str(error)) from error
    return Response(msgspec.json.encode(DoneList(done)), media_type=JSON)
