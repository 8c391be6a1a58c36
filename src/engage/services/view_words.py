"""What operators say on the log by which a read model goes on with an account that it could not fold."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from engage.events.envelope import Event
from engage.rules.mending import SKIPPED, is_word, opened

_OF_VIEW = "view "


def consumer_of(view: str) -> str:
    """How a read model is called as a consumer of the log."""
    return f"{_OF_VIEW}{view}"


def view_of(consumer: str) -> str | None:
    """The read model that a consumer is, None if it is none."""
    return consumer.removeprefix(_OF_VIEW) if consumer.startswith(_OF_VIEW) else None


def word_for(event: Event[Any], views: Collection[str]) -> Event[Any] | None:
    """The event with its data read if it is a word for one of these read models."""
    if not is_word(event) or (word := opened(event)) is None:
        return None
    return word if view_of(word.data.consumer) in views else None


def passed_over(events: Iterable[Event[Any]], view: str) -> frozenset[int]:
    """The offsets of what these events say that ``view`` is to go over; their partition is that of each."""
    words = (word for event in events if event.type == SKIPPED and (word := word_for(event, (view,))) is not None)
    return frozenset(word.data.offset for word in words)
