"""Consent: what an account said about being reached, by channel and purpose; its newest word counts.

Whoever is about to send something folds the same words and asks ``consents`` once more.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from engage.events.catalogue import type_of
from engage.events.catalogue.consent import ConsentGiven, ConsentWithdrawn
from engage.events.catalogue.newsletters import NewsletterReported, NewsletterSubscribed, NewsletterUnsubscribed
from engage.events.envelope import Event
from engage.rules.rule import MANAGER

_ANY = "*"


class Word(Struct, frozen=True, array_like=True, gc=False):
    """What the account said about a channel and purpose, and when: a late event does not overrule a newer word."""

    yes: bool
    at: datetime


Words = dict[str, Word]
"""An account's newest words, by ``channel|purpose``."""


def consents(words: Words, channel: str, purpose: str) -> bool:
    """Marketing needs a yes; anything else needs only that nobody said no. The manager's own queue needs neither."""
    if channel == MANAGER:
        return True
    said = words.get(f"{channel}|{purpose}") if words else None
    of_any = words.get(f"{_ANY}|{purpose}") if words else None
    newest = max(said, of_any, key=_newer) if said and of_any else said or of_any
    return newest.yes if newest else purpose != "marketing"


def keep_noes(words: Words) -> None:
    """Forget what was allowed: who once said no is not contacted while what they said is told once more."""
    for key in [key for key, word in words.items() if word.yes]:
        del words[key]


def _given(words: Words, event: Event[ConsentGiven]) -> None:
    _said(words, f"{event.data.channel}|{event.data.purpose}", Word(True, event.time))


def _withdrawn(words: Words, event: Event[ConsentWithdrawn]) -> None:
    _said(words, f"{event.data.channel}|{event.data.purpose}", Word(False, event.time))


def _subscribed(words: Words, event: Event[NewsletterSubscribed]) -> None:
    _said(words, "email|marketing", Word(True, event.time))


def _refused(words: Words, event: Event[NewsletterUnsubscribed | NewsletterReported]) -> None:
    _said(words, "email|marketing", Word(False, event.time))


def _said(words: Words, key: str, word: Word) -> None:
    known = words.get(key)
    words[key] = max(known, word, key=_newer) if known else word


def _newer(word: Word) -> tuple[datetime, bool]:
    """Of two words of the same moment the no counts."""
    return word.at, not word.yes


LISTENERS: dict[str, Any] = {
    type_of(ConsentGiven): _given,
    type_of(ConsentWithdrawn): _withdrawn,
    type_of(NewsletterSubscribed): _subscribed,
    type_of(NewsletterUnsubscribed): _refused,
    type_of(NewsletterReported): _refused,
}
"""What changes an account's words, by event type: ``(words, event)``."""
