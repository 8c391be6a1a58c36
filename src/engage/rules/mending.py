"""Mending: how a rule goes on with an account on which it failed, once an operator says so on the log.

The account's whole past is folded anew for that rule, in silence, up to the operator's word: by the rule as it is now
(``dead_letter.retried``), or without the events that it is to go over (``dead_letter.skipped``). So the word means the
same wherever it is heard: by the engine that failed, by one that folds the log again, with code that was mended or not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec
from msgspec import Raw, Struct

from engage.events import codec
from engage.events.catalogue import type_of
from engage.events.catalogue.dead_letter import DeadLetterRetried, DeadLetterSkipped
from engage.events.catalogue.follow_up import FollowUpCompleted, FollowUpDismissed, FollowUpExpired
from engage.events.envelope import Event

RETRIED, SKIPPED = type_of(DeadLetterRetried), type_of(DeadLetterSkipped)
WORDS = frozenset((RETRIED, SKIPPED))
"""The types by which operators say how a consumer goes on."""
CLOSING = frozenset(type_of(kind) for kind in (FollowUpCompleted, FollowUpDismissed, FollowUpExpired))
_OF_RULE = "rule "


class Passed(Struct, frozen=True):
    """What ``rule`` is not told of an account: the event ``event_id`` at ``offset``, or what it had set going by then.

    A wake that failed is found by the record at which it fired and by the event that had armed it.
    """

    rule: str
    account: str
    offset: int
    event_id: str


OfEvent = tuple[str, str, str]
"""What a rule makes of an event, or of a wake that it armed: rule, account, and the event's id."""


class PassedOver:
    """What rules are not told, looked up by the record at which they would be."""

    def __init__(self, passed: Iterable[Passed] = ()) -> None:
        self._at: dict[int, set[OfEvent]] = {}
        for one in passed:
            self._at.setdefault(one.offset, set()).add((one.rule, one.account, one.event_id))

    def at(self, offset: int) -> Collection[OfEvent]:
        """What is passed over at a record."""
        return self._at.get(offset, ())


class Hushed:
    """Where a rule says nothing of an account: it stood still there, whatever it makes of the same records today."""

    def __init__(self) -> None:
        self._spans: dict[tuple[str, str], list[tuple[int, int]]] = {}

    def __bool__(self) -> bool:
        return bool(self._spans)

    def add(self, word: Event[Any]) -> None:
        """From the record at which the rule failed up to the operator's word, typed."""
        if (rule := rule_of(word.data.consumer)) is not None:
            self._spans.setdefault((rule, word.subject), []).append((word.data.offset, word.offset))

    def covers(self, rule: str, account: str, offset: int) -> bool:
        """Whether the rule is silent on the account at this record."""
        return any(first <= offset <= last for first, last in self._spans.get((rule, account), ()))


def consumer_of(rule: str) -> str:
    """How a rule is called as a consumer of the log."""
    return f"{_OF_RULE}{rule}"


def rule_of(consumer: str) -> str | None:
    """The rule that a consumer is, None if it is none."""
    return consumer.removeprefix(_OF_RULE) if consumer.startswith(_OF_RULE) else None


def is_word(event: Event[Any]) -> bool:
    """Whether an operator says here how a consumer goes on; a copy of the past only tells that it was said."""
    return event.type in WORDS and not event.is_copy


def opened(word: Event[Any]) -> Event[Any] | None:
    """The word, or a decision, with its data read; None if it cannot be, and then nobody acts by it."""
    if not isinstance(word.data, Raw):
        return word
    try:
        found = codec.open_data(word)
    except (msgspec.MsgspecError, ValueError):
        return None
    return None if isinstance(found.data, Raw) else found


def passed_by(word: Event[Any]) -> Passed | None:
    """What a typed word lets a rule go over, if it does."""
    rule = rule_of(word.data.consumer)
    if word.type != SKIPPED or rule is None:
        return None
    return Passed(rule, word.subject, word.data.offset, word.data.event_id)
