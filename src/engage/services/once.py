"""Commands that are done once however often they are asked: their answers are kept with what they did, and said again.

An answer is written in the transaction of what was done, under a key that only one can have: so of two that ask at the
same time one does it, and after a crash either both are there or neither is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from engage.events.catalogue.follow_up import Status
from engage.events.envelope import to_micros
from engage.relationships.commands import Command
from engage.relationships.errors import CommandError, ConflictError, KeyReusedError
from engage.relationships.recorder import Answered

REUSED = "another request came with this key within a day: take a new key for a new request"


class FollowUpState(Struct, frozen=True, kw_only=True):
    """A follow-up as it stands after a command; ``until`` says how long it rests, ``outcome`` how it ended."""

    id: UUID
    version: int
    account: str
    status: Status
    assignee: str | None
    until: datetime | None
    outcome: str | None
    due: datetime
    expires: datetime


class Once(Struct, frozen=True):
    """A ``key`` under which a ``request`` is done once, each as a digest."""

    key: str
    request: str


def once(who: str, key: str, request: object) -> Once:
    """What ``who`` asks under ``key`` of their own; ``request`` is whatever tells one request from another."""
    told = msgspec.json.encode(request, order="deterministic")
    return Once(_digest(msgspec.json.encode([who, key])), _digest(told))


def kept_of(asked: Once | None, answers: Sequence[FollowUpState | CommandError], now: datetime) -> Answered | None:
    """What is kept of the answers: nothing if all were refused, for then nothing was done."""
    if asked is None or all(isinstance(answer, CommandError) for answer in answers):
        return None
    told = [None if isinstance(answer, CommandError) else answer for answer in answers]
    return Answered(asked.key, asked.request, msgspec.json.encode(told), to_micros(now))


def again(kept: Answered, asked: Once, commands: Sequence[Command]) -> list[FollowUpState | CommandError]:
    """The answers that were kept; KeyReusedError if they were those of another request."""
    if kept.request != asked.request:
        raise KeyReusedError(REUSED)
    answers: list[FollowUpState | CommandError] = []
    for command, answer in zip(
        commands, msgspec.json.decode(kept.answer, type=list[FollowUpState | None]), strict=True
    ):
        refused = f"follow-up {command.id} refused this command when it was first asked: ask again with a new key"
        answers.append(ConflictError(refused) if answer is None else answer)
    return answers


def _digest(told: bytes) -> str:
    return hashlib.blake2b(told, digest_size=24).hexdigest()
