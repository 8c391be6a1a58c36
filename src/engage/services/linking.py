"""Linking: a visitor turns out to be an account that we know; and taking that back.

In the embedded log it is judged and done here. On Kafka the read model of identities says what is known, the word goes
into the inbox, and intake of the visitor's partition has the last say, which the read model tells in turn.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress

from msgspec import Raw, Struct, structs

from engage.events import codec
from engage.events.catalogue.base import EventData
from engage.events.catalogue.identity import IdentityLinked, IdentityParted, IdentityUnlinked
from engage.events.envelope import Event, is_account
from engage.events.linking import SOURCE
from engage.events.named_ids import named_id
from engage.events.validation import Refusal, text_fault
from engage.log.contract import Token
from engage.services.known_accounts import NoSuchAccountError
from engage.services.linked import goes_round, links_of
from engage.services.log_search import Wanted, newest
from engage.services.platform import Platform
from projections.shared.identities import identities

WAIT_SECONDS = 10.0
"""How long intake and the read models are waited for, on Kafka."""
_LOOK_SECONDS = 0.25
_LONGEST = 256
_RING = "{0!r} is not linked to {1!r}: the two were about to be linked in a ring, so intake took it back"
_NAMESPACE = uuid.UUID("6f0c0b3e-6a55-4f0e-9b53-0c8b9b0f0a41").bytes


class LinkingError(ValueError):
    """The two cannot be linked, or parted: the message says why and what to do."""


class NotLinkedError(LookupError):
    """The visitor is linked to no account."""


class Linked(Struct, frozen=True, omit_defaults=True):
    """``visitor`` is linked to ``account``; its events belong to ``holder``, another one where that is linked itself.

    ``changed``: it was not before. ``pending``: it is only asked for; the read model of identities, read with this
    token, says whether it came about, and the dead letters why it did not.
    """

    visitor: str
    account: str
    holder: str
    changed: bool
    pending: str | None = None


class Unlinked(Struct, frozen=True, omit_defaults=True):
    """``visitor`` is no more linked to ``account``; ``pending`` as of ``Linked``."""

    visitor: str
    account: str
    pending: str | None = None


class _Word(Struct, frozen=True):
    """What was said of a visitor: the id of the event, and where it was taken."""

    id: str
    token: Token


async def link(
    platform: Platform, visitor: str, account: str, actor: str | None = None, *, seconds: float = WAIT_SECONDS
) -> Linked:
    """Link ``visitor`` to ``account``, and return when all that is known of it is there.

    On Kafka when readers see that it is linked, or after ``seconds``, with what is ``pending``. Linked already, nothing
    is done. LinkingError if it is linked to another account, or the two would go in a ring; NoSuchAccountError if the
    log has nothing of one of them.
    """
    for name in (visitor, account):
        if not is_account(name) or not await newest(platform.log, Wanted(account=name), 1):
            raise NoSuchAccountError(name)
    done, word = await _link(platform, visitor, account, actor)
    if platform.mover is not None:
        await platform.mover.settle()
    elif word is not None:
        if not await _answered(platform, visitor, word, seconds):
            return structs.replace(done, pending=str(word.token))
        links = await links_of(platform, visitor)
        if links.linked_to(visitor) != account:
            raise LinkingError(await _why_not(platform, word) or _RING.format(visitor, account))
        return structs.replace(done, holder=links.home(visitor))
    return done


async def link_known(
    platform: Platform, visitor: str, account: str, actor: str | None = None, cause: str | None = None
) -> Linked:
    """``link`` without a look whether the two are there, which returns when it is on the log, or in the inbox.

    ``cause`` is the id of the event that says so, if one does: it overrules nobody who said otherwise.
    """
    return (await _link(platform, visitor, account, actor, cause))[0]


async def _link(
    platform: Platform, visitor: str, account: str, actor: str | None, cause: str | None = None
) -> tuple[Linked, _Word | None]:
    for name in (visitor, account):
        if (fault := text_fault(name)) or not 0 < len(name) <= _LONGEST:
            raise LinkingError(f"{name[:40]!r} is no account id: it {fault or f'has more than {_LONGEST} characters'}")
    links = await links_of(platform, visitor, account)
    holder = links.home(account)
    if links.linked_to(visitor) is not None and links.home(visitor) == holder:
        return Linked(visitor, account, holder, changed=False), None
    if (why := links.why_not(visitor, account)) is not None:
        raise LinkingError(why)
    said = _event(platform, visitor, IdentityLinked(account=account), _times(platform, visitor), actor)
    said.causationid = cause
    return Linked(visitor, account, holder, changed=True), await _publish(platform, [said])


async def unlink(
    platform: Platform, visitor: str, actor: str | None = None, *, seconds: float = WAIT_SECONDS
) -> Unlinked:
    """Take back that ``visitor`` is linked, and return when both have what is theirs.

    On Kafka when readers see that it is parted, or after ``seconds``, with what is ``pending``. NotLinkedError if it is
    linked to none; LinkingError if somebody linked it otherwise meanwhile.
    """
    links = await links_of(platform, visitor)
    account, holder = links.linked_to(visitor), links.holder(visitor)
    if account is None or holder is None:
        raise NotLinkedError(f"{visitor!r} is linked to no account: there is nothing to take back")
    times = _times(platform, visitor)
    said = _event(platform, visitor, IdentityUnlinked(account=account), times, actor)
    parted = _event(platform, holder, IdentityParted(visitor=visitor), times, actor)
    parted.causationid = parted.correlationid = said.id
    # On Kafka intake says it of whoever has what was handed on.
    word = await _publish(platform, [said] if platform.embedded is None else [said, parted])
    if platform.mover is not None:
        await platform.mover.settle()
    elif not await _answered(platform, visitor, word, seconds):
        return Unlinked(visitor, account, str(word.token))
    elif (why := await _why_not(platform, word)) is not None:
        raise LinkingError(why)
    return Unlinked(visitor, account)


async def _answered(platform: Platform, visitor: str, word: _Word, seconds: float) -> bool:
    """Whether readers see what intake made of ``word``, and no ring that it is about to open, within ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            await platform.waiting.until(str(word.token), [identities], seconds)
            while await asyncio.to_thread(goes_round, platform.store, visitor):
                with suppress(TimeoutError):
                    await asyncio.wait_for(platform.waiting.moved().wait(), _LOOK_SECONDS)
    except TimeoutError:
        return False
    return True


async def _why_not(platform: Platform, word: _Word) -> str | None:
    """Why intake refused the ``word``; None if it did not."""
    for _, refused in await platform.letters.refused():
        if word.id.encode() in (refused.value or b""):
            return refused.faults.removeprefix("/data: ")
    return None


def _times(platform: Platform, visitor: str) -> int:
    return 0 if platform.embedded is None else platform.embedded.log.times_linked(visitor)


def _event(platform: Platform, subject: str, data: EventData, times: int, actor: str | None) -> Event[Raw]:
    """When, and how often it was said before, are part of its id: so the same said twice at once is one record."""
    now = platform.clock()
    told = "\n".join((subject, codec.encode(data).decode(), str(times), now.isoformat()))
    return codec.new_event(data, id=named_id(_NAMESPACE, told), source=SOURCE, subject=subject, time=now, actor=actor)


async def _publish(platform: Platform, events: list[Event[Raw]]) -> _Word:
    answers = await platform.publish(events)
    for answer in answers:
        if isinstance(answer, Refusal):
            raise LinkingError(f"the log refused it: {answer}; nothing was changed")
    assert not isinstance(answers[0], Refusal), "it was looked for"
    return _Word(events[0].id, answers[0].token)
