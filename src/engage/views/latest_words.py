"""What is open and what is closed: the newest word on each thing, however late an older one comes."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

KEPT = 32
"""Things that are remembered of an account; closed ones are forgotten first, then those last heard of longest ago."""


class Word(Struct, frozen=True, array_like=True):
    """The newest word on a thing, said ``at``: whether it is ``open``, and ``until`` when, if that is known."""

    at: datetime
    open: bool
    until: datetime | None = None


def said(words: dict[str, Word], name: str, at: datetime, *, open: bool, until: datetime | None = None) -> None:  # noqa: A002
    """Note a word on ``name``; what was said of an earlier moment changes nothing."""
    known = words.get(name)
    if known is not None and at < known.at:
        return
    words[name] = Word(at, open, until)
    if len(words) > KEPT:
        del words[min(words, key=lambda one: (words[one].open, words[one].at, one))]


def count_open(words: dict[str, Word]) -> int:
    """How many things are open."""
    return sum(word.open for word in words.values())
