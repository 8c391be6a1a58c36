"""Linked identities as the owner of one partition knows them: a fold of that partition's records alone.

It knows of each subject to whom it is linked itself, and nothing of what that one is linked to: what goes there is
handed on by whoever owns it. What an account got from a visitor it gives up when it is parted from it (``gone``); what
a visitor has stands in its own stream, marked or not, behind the last record from which it was told anew.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, field

from engage.events.catalogue.identity import IdentityParted, IdentityUnlinked
from engage.events.envelope import Event, is_account
from engage.events.linking import LINKED, PARTED, UNLINKED, follows, said

WORDS = frozenset((LINKED, UNLINKED, PARTED))

_parted = msgspec.json.Decoder(IdentityParted).decode
_unlinked = msgspec.json.Decoder(IdentityUnlinked).decode


class Tie(Struct):
    """What the log said of one subject.

    ``account`` is whom it is linked to, ``was_parted`` whether that was taken back last. ``word`` is where the last
    word on it stands, ``anew`` the last one from which its stream is told anew, ``gone`` where each visitor parted.
    """

    account: str | None = None
    was_parted: bool = False
    word: int = -1
    anew: int = 0
    gone: dict[str, int] = field(default_factory=dict)


class Move(Struct):
    """What a word of type ``kind`` at ``end`` has told once more: of ``subject``, the records from ``start`` on."""

    kind: str
    subject: str
    start: int
    end: int


class Ties:
    """The ties of a partition's subjects, and what is to be moved because of them, by where that was said."""

    def __init__(self) -> None:
        self.ties: dict[str, Tie] = {}
        self.moves: dict[int, Move] = {}

    def linked_to(self, subject: str) -> str | None:
        """The account that the subject is linked to itself."""
        tie = self.ties.get(subject)
        return None if tie is None else tie.account

    def was_parted(self, subject: str) -> bool:
        """Whether it was linked, and that was taken back."""
        tie = self.ties.get(subject)
        return tie is not None and tie.was_parted

    def why_not(self, event: Event[Any]) -> str | None:
        """Why a word on who is linked to whom cannot be; None if it can, or is none."""
        before = self.linked_to(event.subject)
        if event.type == LINKED:
            account = said(event)[event.subject]
            if before is not None:
                return f"{event.subject!r} is linked to {before!r}: unlink it first"
            if account == event.subject:
                return f"{account!r} cannot be linked to itself: name the account that it turned out to be"
            if account is None or not is_account(account):
                return f"{account!r} is no account: name the account that {event.subject!r} turned out to be"
        elif event.type == UNLINKED and before != (named := _unlinked(event.data).account):
            return f"{event.subject!r} is not linked to {named!r}: there is nothing to take back"
        return None

    def say(self, event: Event[Any]) -> None:
        """Take in a word before it stands on the log, so that what comes behind it is taken by it."""
        for subject, account in said(event).items():
            tie = self.ties.setdefault(subject, Tie())
            tie.account, tie.was_parted = account, account is None

    def fold(self, event: Event[Any]) -> Tie | None:
        """Take in a record at its offset; the tie that it changed."""
        if event.type not in WORDS or event.is_copy:
            return None
        self.say(event)
        subject, here = event.subject, event.offset
        tie = self.ties.setdefault(subject, Tie())
        self.moves[here] = Move(event.type, subject, tie.anew, here)
        tie.word = here
        if event.type != LINKED:
            tie.anew = here
        if event.type == PARTED:
            tie.gone[_parted(event.data).visitor] = here
        return tie

    def told_to(self, move: Move, event: Event[Any]) -> str | None:
        """To whom a record of the move's subject is told once more by now; None where to nobody."""
        if not move.start <= event.offset < move.end or not follows(event):
            return None
        tie = self.ties[move.subject]
        if (visitor := came_from(event)) is not None and event.offset < tie.gone.get(visitor, -1):
            return None
        if move.kind != LINKED:
            return move.subject
        # Where another word came since, what is its own by now is told because of that one.
        return tie.account if tie.word == move.end and event.origin != tie.account else None


def came_from(event: Event[Any]) -> str | None:
    """Who handed a copy to its subject; None where it is its own."""
    return event.via or event.origin
