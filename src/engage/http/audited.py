"""Routes by which operators command: each request that may change something leaves its trace before it is answered."""

from __future__ import annotations

from urllib.parse import unquote

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool

from engage.events.catalogue.command import Outcome
from engage.http.done_once import Command, Handle
from engage.services.callers import Caller
from engage.services.platform import Platform

ACTOR_HEADER = "x-engage-actor"
"""On whose behalf somebody asks, percent-encoded; a command with an ``actor`` in its body needs it not."""


class Audited(Command):
    """Keeps who gave the command, which, of what, and what came of it; who was not let in gave none."""

    def does(self) -> Handle:
        """What answers a request that was not answered before."""
        handle = super().does()
        if self.reads:
            return handle

        async def audited(request: Request) -> Response:
            outcome: Outcome = "failed"
            try:
                response = await handle(request)
                outcome = "done" if response.status_code < 400 else "failed"
                return response
            finally:
                if hasattr(request.state, "caller"):
                    await run_in_threadpool(_keep, request, f"{request.method} {self.path}", outcome)

        return audited


def concerns(request: Request, thing: str) -> None:
    """Say of what thing a command is, where its path does not."""
    request.state.thing = thing


def said_actor(request: Request) -> str | None:
    """On whose behalf the request says it is made."""
    return unquote(request.headers.get(ACTOR_HEADER, "")) or None


def who_commands(request: Request) -> str:
    """Who makes a guarded request, as far as that is known: a name on whose behalf goes behind one that was proven."""
    caller: Caller = request.state.caller
    return caller.actor(said_actor(request)) or caller.name


def _keep(request: Request, command: str, outcome: Outcome) -> None:
    platform: Platform = request.app.state.platform
    named = "/".join(unquote(str(value)) for value in request.path_params.values())
    thing = named or getattr(request.state, "thing", request.url.path)
    platform.trail.keep(who_commands(request), command, thing, outcome)
