"""Identities that are one: who is linked to whom, and what that makes of a record.

Each account's records are a stream. Linking takes what is in effect of the visitor's stream to that of its account, as
copies; from then on the visitor's own records are marked and passed over, and copied as they come. Unlinking copies
both again. What is in effect of a stream is what stands behind the last record that begins it anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from engage.events.catalogue import CATALOGUE, RESERVED, type_of
from engage.events.catalogue.identity import IdentityLinked, IdentityParted, IdentityUnlinked
from engage.events.envelope import Event, is_account

SOURCE = "engage/identity"
LINKED, UNLINKED, PARTED = type_of(IdentityLinked), type_of(IdentityUnlinked), type_of(IdentityParted)
BEGINS_ANEW = frozenset((LINKED, PARTED))
"""What is known of the subject of these is given up: what of it is in effect is told once more, there or elsewhere."""

_STAYS = frozenset(("account", "dead_letter", "identity"))
"""Families that are said of an account itself, or of its records where they stand."""
_FOLLOWS_FROM_ROWS = "engage/views"
"""What read models say of an account is said of what they hold of it, and is not true of another."""

_linked = msgspec.json.Decoder(IdentityLinked).decode


def follows(event: Event[Any]) -> bool:
    """Whether a record goes where its account's events belong."""
    kind = CATALOGUE.get(event.type)
    if kind is not None and kind.family in _STAYS and event.type in RESERVED:
        return False
    return event.source != _FOLLOWS_FROM_ROWS and is_account(event.subject)


def copied(event: Event[Raw], account: str, *, retold: bool) -> Event[Raw]:
    """The record as it is told of ``account``; what is sealed in it still needs the keys of its first subject."""
    origin = event.origin or event.subject
    return replace(
        event,
        subject=account,
        origin=None if origin == account else origin,
        linkedto=None,
        via=None,
        retold=retold,
        recorded=None,
        inboxoffset=None,
        partition=-1,
        offset=-1,
    )


def said(event: Event[Any]) -> dict[str, str | None]:
    """To which account a record says that its subject is linked, None for to none; nothing where it says neither."""
    if event.type == LINKED:
        return {event.subject: _linked(event.data).account}
    return {event.subject: None} if event.type == UNLINKED else {}


class Links:
    """Who is linked to whom: a forest, a fold of the log."""

    def __init__(self, known: Iterable[tuple[str, str | None]] = ()) -> None:
        self._direct: dict[str, str] = {}
        self._parted: set[str] = set()
        for visitor, account in known:
            self._say(visitor, account)

    def __bool__(self) -> bool:
        return bool(self._direct)

    def holder(self, account: str) -> str | None:
        """The account that a visitor's events belong to, at the end of the chain; None where it is linked to none."""
        found = None
        while (account := self._direct.get(account, "")) != "":
            found = account
        return found

    def home(self, account: str) -> str:
        """Where an account's events belong: its holder, or itself."""
        return self.holder(account) or account

    def was_parted(self, visitor: str) -> bool:
        """Whether it was linked, and that was taken back."""
        return visitor in self._parted

    def linked_to(self, visitor: str) -> str | None:
        """The account that the visitor was linked to itself."""
        return self._direct.get(visitor)

    def pairs(self) -> list[tuple[str, str]]:
        """Who is linked to whom itself, by name."""
        return sorted(self._direct.items())

    def of(self, account: str) -> Iterator[str]:
        """All whose events belong to ``account``, by name."""
        return (visitor for visitor in sorted(self._direct) if self.holder(visitor) == account)

    def why_not(self, visitor: str, account: str) -> str | None:
        """Why ``visitor`` cannot be linked to ``account``, and what to do; None if it can."""
        if (before := self._direct.get(visitor)) is not None:
            return f"{visitor!r} is linked to {before!r}: unlink it first"
        if visitor == account:
            return f"{visitor!r} cannot be linked to itself: name the account that it turned out to be"
        if self.holder(account) == visitor:
            return f"{account!r} is linked to {visitor!r} already: unlink it first, or both would belong to nobody"
        if not is_account(account):
            return f"{account!r} is no account: name the account that {visitor!r} turned out to be"
        return None

    def refuses(self, event: Event[Any]) -> str | None:
        """Why a word on who is linked to whom cannot be; None if it can, or is none."""
        if event.type == LINKED:
            return self.why_not(event.subject, _linked(event.data).account)
        if event.type == UNLINKED and event.subject not in self._direct:
            return f"{event.subject!r} is linked to no account: there is nothing to take back"
        return None

    def fold(self, event: Event[Any]) -> None:
        """Take in a record."""
        for visitor, account in said(event).items():
            self._say(visitor, account)

    def _say(self, visitor: str, account: str | None) -> None:
        if account is None:
            self._direct.pop(visitor, None)
            self._parted.add(visitor)
        else:
            self._direct[visitor] = account
            self._parted.discard(visitor)
