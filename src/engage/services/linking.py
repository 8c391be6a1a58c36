"""Linking: a visitor turns out to be an account that we know; and taking that back.

In the embedded log it is judged and done here. On Kafka the read model of identities says what is known, the word goes
into the inbox, and intake of the visitor's partition has the last say.
"""

from __future__ import annotations

import uuid

from msgspec import Raw, Struct

from engage.events import codec
from engage.events.catalogue.base import EventData
from engage.events.catalogue.identity import IdentityLinked, IdentityParted, IdentityUnlinked
from engage.events.envelope import Event, is_account
from engage.events.linking import SOURCE
from engage.events.named_ids import named_id
from engage.events.validation import Refusal, text_fault
from engage.services.known_accounts import NoSuchAccountError
from engage.services.linked import links_of
from engage.services.log_search import Wanted, newest
from engage.services.platform import Platform

_LONGEST = 256
_NAMESPACE = uuid.UUID("6f0c0b3e-6a55-4f0e-9b53-0c8b9b0f0a41").bytes


class LinkingError(ValueError):
    """The two cannot be linked, or parted: the message says why and what to do."""


class NotLinkedError(LookupError):
    """The visitor is linked to no account."""


class Linked(Struct, frozen=True):
    """``visitor`` is linked to ``account``; its events belong to ``holder``, another one where that is linked itself.

    ``changed``: it was not before.
    """

    visitor: str
    account: str
    holder: str
    changed: bool


class Unlinked(Struct, frozen=True):
    """``visitor`` is no more linked to ``account``."""

    visitor: str
    account: str


async def link(platform: Platform, visitor: str, account: str, actor: str | None = None) -> Linked:
    """Link ``visitor`` to ``account``, and return when all that is known of it is there; on Kafka when that is said.

    Linked already, nothing is done. LinkingError if it is linked to another account, or the two would go in a ring;
    NoSuchAccountError if the log has nothing of one of them.
    """
    for name in (visitor, account):
        if not is_account(name) or not await newest(platform.log, Wanted(account=name), 1):
            raise NoSuchAccountError(name)
    done = await link_known(platform, visitor, account, actor)
    await _moved(platform)
    return done


async def link_known(
    platform: Platform, visitor: str, account: str, actor: str | None = None, cause: str | None = None
) -> Linked:
    """``link`` without a look whether the two are there, which returns when it is on the log, or in the inbox.

    ``cause`` is the id of the event that says so, if one does: it overrules nobody who said otherwise.
    """
    for name in (visitor, account):
        if (fault := text_fault(name)) or not 0 < len(name) <= _LONGEST:
            raise LinkingError(f"{name[:40]!r} is no account id: it {fault or f'has more than {_LONGEST} characters'}")
    links = await links_of(platform, visitor, account)
    holder = links.home(account)
    if links.linked_to(visitor) is not None and links.home(visitor) == holder:
        return Linked(visitor, account, holder, changed=False)
    if (why := links.why_not(visitor, account)) is not None:
        raise LinkingError(why)
    said = _event(platform, visitor, IdentityLinked(account=account), _times(platform, visitor), actor)
    said.causationid = cause
    await _publish(platform, [said])
    return Linked(visitor, account, holder, changed=True)


async def unlink(platform: Platform, visitor: str, actor: str | None = None) -> Unlinked:
    """Take back that ``visitor`` is linked, and return when both have what is theirs; on Kafka when that is said.

    NotLinkedError if it is linked to none.
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
    await _publish(platform, [said] if platform.embedded is None else [said, parted])
    await _moved(platform)
    return Unlinked(visitor, account)


async def _moved(platform: Platform) -> None:
    if platform.mover is not None:
        await platform.mover.settle()


def _times(platform: Platform, visitor: str) -> int:
    return 0 if platform.embedded is None else platform.embedded.log.times_linked(visitor)


def _event(platform: Platform, subject: str, data: EventData, times: int, actor: str | None) -> Event[Raw]:
    """When, and how often it was said before, are part of its id: so the same said twice at once is one record."""
    now = platform.clock()
    told = "\n".join((subject, codec.encode(data).decode(), str(times), now.isoformat()))
    return codec.new_event(data, id=named_id(_NAMESPACE, told), source=SOURCE, subject=subject, time=now, actor=actor)


async def _publish(platform: Platform, events: list[Event[Raw]]) -> None:
    for answer in await platform.publish(events):
        if isinstance(answer, Refusal):
            raise LinkingError(f"the log refused it: {answer}; nothing was changed")
