"""What may be asked of a follow-up, by name: one table for HTTP, its client and the command line."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import Struct, structs

from engage.events.catalogue.base import Ref
from engage.events.envelope import Id, Instant
from engage.relationships import commands
from engage.relationships.commands import Command

Verb = Literal["assign", "snooze", "start", "complete", "dismiss"]


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who asks (``actor``, an id); whoever proved a name to the service may leave it out."""

    actor: Id | None = None


class AssignRequest(Request, frozen=True, kw_only=True):
    """``assignee`` is responsible from now on."""

    assignee: Ref


class SnoozeRequest(Request, frozen=True, kw_only=True):
    """Let it rest ``until`` a moment ahead and before its expiry."""

    until: Instant


class StartRequest(Request, frozen=True, kw_only=True):
    """Somebody works on it."""


class CompleteRequest(Request, frozen=True, kw_only=True):
    """It was done, with ``outcome`` as a short code; ``note`` is free text and kept sealed."""

    outcome: Ref
    note: str | None = None


class DismissRequest(Request, frozen=True, kw_only=True):
    """It is not needed, for ``reason`` as a short code; ``note`` is free text and kept sealed."""

    reason: Ref
    note: str | None = None


REQUESTS: dict[Verb, tuple[type[Request], type[Command]]] = {
    "assign": (AssignRequest, commands.Assign),
    "snooze": (SnoozeRequest, commands.Snooze),
    "start": (StartRequest, commands.Start),
    "complete": (CompleteRequest, commands.Complete),
    "dismiss": (DismissRequest, commands.Dismiss),
}


def command(verb: Verb, follow_up: UUID, request: Request, at: datetime, if_version: int | None = None) -> Command:
    """The command that the desk takes for a request."""
    made: Command = REQUESTS[verb][1](id=follow_up, at=at, if_version=if_version, **structs.asdict(request))
    return made


def request_from(verb: Verb, values: dict[str, Any]) -> Request:
    """The request with these values, None left out; msgspec.ValidationError names the one that is wrong."""
    return msgspec.convert({name: value for name, value in values.items() if value is not None}, REQUESTS[verb][0])
