"""Is it alive, is it ready, and how far has everything come?"""

from __future__ import annotations

import asyncio

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from msgspec import Struct

from engage.http.documents import DOCUMENTS, JSON, problems
from engage.http.ending import Ending
from engage.http.guard import Needs, may, refusals
from engage.http.problems import problem
from engage.services.owner import find_owner
from engage.services.platform import Platform
from engage.services.status import Status, read_status
from engage.store.pauses import Paused

READY_LAG = 10_000
"""Log records that a read model may be behind before readers are sent elsewhere."""
_PATIENCE_SECONDS = 5.0
"""A store that hangs is a reason too, which whoever probes is to hear before they give up."""

router = APIRouter(tags=["operate"])


class Alive(Struct):
    """The process answers."""

    alive: bool


class Ready(Struct, omit_defaults=True):
    """Requests are welcome; ``paused`` names the read models that stand still because somebody wanted it, if any."""

    ready: bool
    paused: dict[str, Paused] = {}


_STATUS = {
    "generation": "8c1f5a2b9d0e4f77",
    "log": [{"partition": 0, "end": 4711, "newest": "2026-03-01T10:00:00Z"}],
    "views": [{"name": "timeline", "version": 1, "positions": [4711], "behind": 0, "parked": 0, "paused": None}],
    "desk_behind": 0,
    "relay_waiting": 0,
    "next_wake": "2026-03-02T10:00:00Z",
    "dead_letters": 0,
    "files": {"log.db": 1048576},
    "disk_free": 75000000000,
    "disk_bytes": 270000000000,
    "missing": [],
    "owner": {"pid": 4242, "url": "http://127.0.0.1:8080"},
    "webhooks": [
        {
            "id": "we_5d0a9f0e3b1f6a2f",
            "host": "mailer.example",
            "disabled": None,
            "failing_since": "2026-03-01T10:00:00Z",
            "waiting": 3,
        }
    ],
}


@router.head("/livez", include_in_schema=False)
@router.get(
    "/livez",
    summary="Is it alive?",
    response_class=Response,
    responses={200: DOCUMENTS.answer(Alive, "It is.", {"alive": True})},
)
async def alive() -> Response:
    """Answers as long as the process can answer at all."""
    return Response(msgspec.json.encode(Alive(alive=True)), media_type=JSON)


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    summary="Is it ready?",
    response_class=Response,
    responses={
        200: DOCUMENTS.answer(Ready, "It is.", {"ready": True}),
        **problems(_503="It is not; `reasons` says what is not and why, to who may operate."),
    },
)
async def ready(request: Request) -> Response:
    """Whether what is read here is the truth of now: the log can be read, and the read models keep up with it."""
    # Who probes brings no key; what goes on inside is for those who may operate.
    operates = await may(request.scope, "operate")
    reasons = await _reasons(request)
    if reasons and operates:
        return problem(503, "; ".join(reasons), reasons=reasons)
    if reasons:
        return problem(503, "not ready: a key with the scope operate is told why, and engage's own log says it")
    paused = await asyncio.to_thread(request.app.state.platform.store.paused) if operates else {}
    return Response(msgspec.json.encode(Ready(ready=True, paused=paused)), media_type=JSON)


@router.get(
    "/v1/status",
    summary="How far has everything come?",
    dependencies=[Depends(Needs("operate"))],
    response_class=Response,
    responses={200: DOCUMENTS.answer(Status, "As `engage status --json`.", _STATUS), **refusals("operate")},
)
async def status(request: Request) -> Response:
    """Positions, lag, what waits and what failed."""
    platform: Platform = request.app.state.platform
    found = await read_status(
        platform.log,
        platform.store,
        platform.relationships,
        platform.projector.projections,
        home=request.app.state.home,
        owner=None if platform.owner is None else find_owner(platform.owner.home),
        next_wake=platform.embedded.next_due() if platform.embedded else None,
        webhooks=await asyncio.to_thread(platform.webhooks.standings),
    )
    return Response(msgspec.json.encode(found), media_type=JSON)


async def _reasons(request: Request) -> list[str]:
    platform: Platform = request.app.state.platform
    ending: Ending = request.app.state.ending
    if ending.announced:
        return ["it is ending: send what is new elsewhere"]
    work: asyncio.Task[None] | None = request.app.state.work
    reasons = []
    if work is not None and work.done():
        reasons.append("the work behind it has stopped: see engage's own log for why, then start it again")
    reasons += [f"{part} fails and is tried again: {why}" for part, why in platform.turns.troubles.items()]
    try:
        behind: dict[str, int] = {}
        async with asyncio.timeout(_PATIENCE_SECONDS):
            lags = await platform.projector.lag()
        for lag in lags:
            if lag.paused is None:
                behind[lag.projection] = behind.get(lag.projection, 0) + lag.behind
    except TimeoutError:
        hung = f"the log or the read models have not answered for {_PATIENCE_SECONDS:.0f} s: see that they run"
        return [*reasons, hung]
    except Exception as error:
        return [*reasons, f"the log or the read models cannot be read: {error}"]
    reasons += [
        f"the read model {name} is {records:,} records behind the log, and {READY_LAG:,} are allowed: wait, or see why"
        for name, records in behind.items()
        if records > READY_LAG
    ]
    return reasons
