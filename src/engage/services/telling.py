"""What waits in a store to be told to the log: of what is published together one that is refused sinks no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from engage.events.envelope import Event
from engage.events.validation import Refusal
from engage.log.contract import Publisher

T = TypeVar("T")


async def tell(
    publisher: Publisher, waiting: Sequence[T], event_of: Callable[[T], Event[Any]]
) -> tuple[list[T], list[tuple[T, Refusal]]]:
    """Publish an event for each; what the log has by now, and what it refused, each with why, both in order."""
    told: list[T] = []
    refused: list[tuple[T, Refusal]] = []
    answers = await publisher.publish([event_of(one) for one in waiting])
    for one, answer in zip(waiting, answers, strict=True):
        if isinstance(answer, Refusal):
            refused.append((one, answer))
        else:
            told.append(one)
    return told, refused
