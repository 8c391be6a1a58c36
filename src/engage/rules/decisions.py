"""Decisions as events: what a rule asked for, or why not; deciding again gives the same id."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import UUID

import msgspec
from msgspec import Struct

from engage.events import codec
from engage.events.catalogue import type_of
from engage.events.catalogue.base import EventData
from engage.events.catalogue.follow_up import (
    URGENCY,
    Cause,
    Deferred,
    FollowUpRequested,
    FollowUpSkipped,
    Purpose,
)
from engage.events.envelope import Event
from engage.events.named_ids import named_id
from engage.rules.policy import No, Yes
from engage.rules.rule import MANAGER, FollowUpRequest, Wake

SOURCE = "engage/rules"
REQUESTED, SKIPPED = type_of(FollowUpRequested), type_of(FollowUpSkipped)
TYPES = frozenset({REQUESTED, SKIPPED})
_NAMESPACE = UUID("6f1d3c52-52f5-5d0b-9b0e-0d3b4f3a6c11").bytes

_TEXT, _REF = 1_000, 256
"""The longest ``Text`` and ``Ref``."""
_PLAIN_CHANNELS = frozenset({("email",), (MANAGER,)})
_PURPOSES = frozenset(get_args(Purpose))

_read_request = msgspec.json.Decoder(FollowUpRequest).decode


class Proposal(Struct, frozen=True, gc=False):
    """A rule's request on its way to the policy: what set it going, when it became due, and at which record.

    ``deferred_until`` is the end of the quiet hours that it has waited for, None if it is new.
    """

    rule: str
    rule_version: int
    account: str
    request: FollowUpRequest
    ordinal: int
    cause: Cause
    base: datetime
    now: datetime
    decided_at: int
    wake_due: datetime | None
    deferred_until: datetime | None = None


def proposed_again(waited: FollowUpSkipped, event: Event[Any], account: str) -> Proposal:
    """What was deferred, on its way to the policy once more at ``event``, the first record after the quiet hours."""
    request = waited.deferred
    assert request, "only what was deferred is proposed again"
    return Proposal(
        rule=waited.rule,
        rule_version=waited.rule_version,
        account=account,
        request=FollowUpRequest(
            what=waited.what,
            why=request.why,
            about=waited.about,
            purpose=request.purpose,
            channels=request.channels,
            priority=request.priority,
            due=request.due - request.base,
            expires=request.expires - request.base,
            matter=waited.matter,
        ),
        ordinal=request.ordinal,
        cause=waited.cause,
        base=request.base,
        now=event.now,
        decided_at=event.offset,
        wake_due=waited.wake_due,
        deferred_until=request.until,
    )


def decision(proposal: Proposal, verdict: Yes | No, matter: str) -> Event[Any]:
    """The event, its data typed, that records the policy's ``verdict`` on a proposal; ``matter`` is its matter."""
    request = proposal.request
    data: EventData
    if isinstance(verdict, No):
        kind = SKIPPED
        data = FollowUpSkipped(
            rule=proposal.rule,
            rule_version=proposal.rule_version,
            about=request.about,
            what=request.what,
            reason=verdict.reason,
            detail=verdict.detail,
            matter=matter,
            cause=proposal.cause,
            decided_at=proposal.decided_at,
            wake_due=proposal.wake_due,
            deferred=_deferred(proposal, verdict.until) if verdict.until else None,
        )
    else:
        kind = REQUESTED
        data = FollowUpRequested(
            rule=proposal.rule,
            rule_version=proposal.rule_version,
            about=request.about,
            what=request.what,
            why=request.why,
            purpose=request.purpose,
            priority=request.priority,
            channels=verdict.channels,
            matter=matter,
            due=_service_level(proposal),
            expires=proposal.base + request.expires,
            cause=proposal.cause,
            decided_at=proposal.decided_at,
            wake_due=proposal.wake_due,
        )
    return Event(
        specversion="1.0",
        id=_id_of(proposal, kind),
        source=SOURCE,
        type=kind,
        subject=proposal.account,
        time=proposal.now,
        data=data,
        dataversion=data.version,
        causationid=proposal.cause.id,
    )


def checked_wake(wake: Wake) -> tuple[datetime, str]:
    """When, in UTC, and what about, as a timer keeps it; TypeError or ValueError for what none could keep."""
    if not isinstance(wake.about, str):
        raise TypeError(f"a wake is about {wake.about!r}: name what it is about in a text")
    if wake.at.tzinfo is None:
        raise ValueError(f"a wake about {wake.about!r} has no time zone ({wake.at}): derive it from event.time")
    return wake.at.astimezone(UTC), str.__str__(wake.about)  # of a class of a rule's own, an enum say, the text


def checked_request(request: FollowUpRequest, base: datetime) -> FollowUpRequest:
    """The request as it is read back from the log: whatever a rule made it of, its texts are texts and nothing more.

    msgspec.ValidationError, OverflowError or TypeError if it could not be.
    """
    if not _plainly_fits(request):
        request = _read_request(codec.encode(request))
    _ = base + request.due, base + request.expires
    return request


def _plainly_fits(request: FollowUpRequest) -> bool:
    """Whether it can be read back as far as a glance tells, in half the time of trying: most requests are plain."""
    what, why, about, matter, channels = request.what, request.why, request.about, request.matter, request.channels
    purpose, priority = request.purpose, request.priority
    return (
        type(request) is FollowUpRequest
        and type(what) is str
        and type(why) is str
        and type(about) is str
        and what.isascii()
        and why.isascii()
        and about.isascii()
        and 0 < len(what) <= _TEXT
        and 0 < len(why) <= _TEXT
        and 0 < len(about) <= _REF
        and type(channels) is tuple
        and channels in _PLAIN_CHANNELS
        and type(channels[0]) is str
        and type(purpose) is str
        and purpose in _PURPOSES
        and type(priority) is str
        and priority in URGENCY
        and type(request.due) is timedelta
        and type(request.expires) is timedelta
        and (matter is None or (type(matter) is str and matter.isascii()))
    )


def _service_level(proposal: Proposal) -> datetime:
    """Nobody could come to it in quiet hours: the service level counts from their end, as far as it can still help."""
    if proposal.deferred_until is None:
        return proposal.base + proposal.request.due
    return min(proposal.deferred_until + proposal.request.due, proposal.base + proposal.request.expires)


def _deferred(proposal: Proposal, until: datetime) -> Deferred:
    request = proposal.request
    return Deferred(
        until=until,
        base=proposal.base,
        ordinal=proposal.ordinal,
        why=request.why,
        purpose=request.purpose,
        priority=request.priority,
        channels=request.channels,
        due=proposal.base + request.due,
        expires=proposal.base + request.expires,
    )


def _id_of(proposal: Proposal, kind: str) -> str:
    due = isoformat(proposal.wake_due) if proposal.wake_due else ""
    if proposal.deferred_until:
        # After the mark, so that it is no other decision's: a rule may be woken at the very moment the night ends.
        due += f"/{isoformat(proposal.deferred_until)}"
    cause = proposal.cause
    return named_id(
        _NAMESPACE,
        f"{proposal.rule}\x1f{proposal.account}\x1f{proposal.request.about}\x1f{cause.source}\x1f{cause.id}"
        f"\x1f{due}\x1f{kind}\x1f{proposal.ordinal}",
    )


def isoformat(moment: datetime) -> str:
    """``moment.isoformat()``, that of a UTC moment in 40 % of its time: one or two for each decision."""
    if moment.tzinfo is UTC:
        return codec.encode(moment)[1:-2].decode() + "+00:00"
    return moment.isoformat()
