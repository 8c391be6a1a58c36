"""Inbound webhooks: other systems send in their own form, signed, and a mapping says which events that means."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import structlog
from fastapi import APIRouter, Request, Response

from engage.events.validation import Fault
from engage.http.body import announced, parsed, read_body
from engage.http.documents import DOCUMENTS, JSON, problems
from engage.http.events import Result, Results, counted, result_of
from engage.http.guard import admit
from engage.http.paths import decoded
from engage.http.pressure import Pressure
from engage.http.problems import ProblemError, problem
from engage.services.callers import Caller, publish_as
from engage.services.hooks.mapping import Hook
from engage.services.hooks.signatures import SignatureError
from engage.services.platform import Platform

MAX_BYTES = 4_000_000
"""A foreign body may be this long."""

router = APIRouter(tags=["publish"])
_log = structlog.get_logger(__name__)

_TAKEN = {"results": [{"status": "taken", "token": "3:17"}], "taken": 1, "duplicate": 0, "refused": 0}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {JSON: {"schema": {}, "example": {"action": "opened", "issue": {"number": 17}}}},
    }
}


@router.post(
    "/v1/hooks/{name}",
    summary="Receive a webhook",
    openapi_extra=_BODY,
    response_class=Response,
    responses={
        200: DOCUMENTS.answer(Results, "All that it means is taken, or known already; it may mean nothing.", _TAKEN),
        **problems(
            _400="The body is not JSON, or not what its content coding makes.",
            _401="It is not signed by who should have, or too old; or no API key was brought where one is asked for.",
            _403="The bearer of the API key may not publish.",
            _404="No such webhook is configured.",
            _408="The body did not come in time.",
            _413="The body is too long.",
            _415="A content coding that is not gzip or zstd.",
            _422="Some of it fits neither mapping nor catalogue: `results` says what became of each event.",
            _429="More is being published than can be kept: come again after `Retry-After` seconds.",
            _503="The log cannot be reached; do the same again later.",
        ),
    },
)
async def receive(request: Request, name: str) -> Response:
    """Take a foreign system's message in, as `hooks.toml` says. The same message again changes nothing.

    It is signed with that system's secret, and needs no API key unless its mapping asks for one.
    """
    hooks: Mapping[str, Hook] = request.app.state.hooks
    platform: Platform = request.app.state.platform
    pressure: Pressure = request.app.state.pressure
    name = decoded(name, "webhook")
    hook = hooks.get(name)
    if hook is None:
        raise ProblemError(404, f"there is no webhook {name!r} here: hooks.toml names those there are")
    # Who signs is known by the secret alone; who brings a key publishes as its own sources, here as anywhere.
    sender = await admit(request.scope, "publish") if hook.verify is None else Caller(name, sources=(hook.source,))
    with pressure.hold(announced(request)) as held:
        body = await read_body(request, MAX_BYTES, held=held)
        headers = dict(request.headers)
        now = platform.clock()
        if hook.verify is not None:
            try:
                hook.verify(headers, body, now)
            except SignatureError as error:
                _log.warning("a webhook was not taken", hook=name, why=str(error))
                raise ProblemError(401, str(error), {"www-authenticate": "Signature"}) from error
        made = hook.events(parsed(body), hook.delivery(headers, body), now)
        told = counted(await _results(platform, sender, made))
    if not told.refused:
        return Response(msgspec.json.encode(told), media_type=JSON)
    _log.warning("part of a webhook was refused", hook=name, refused=told.refused, of=len(told.results))
    members = {field: getattr(told, field) for field in told.__struct_fields__}
    detail = f"{told.refused} of {len(told.results)} events are refused, `results` says why; the others are taken"
    return problem(422, detail, **members)


async def _results(platform: Platform, sender: Caller, made: list[bytes | Fault]) -> list[Result]:
    """What became of each event in order; one that the mapping could not make is refused too."""
    events = [one for one in made if isinstance(one, bytes)]
    answers = iter(await publish_as(sender, events, platform.gathering.publish) if events else ())
    return [
        Result("refused", reason="mapping", faults=(one,)) if isinstance(one, Fault) else result_of(next(answers))
        for one in made
    ]
