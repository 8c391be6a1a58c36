"""What waits in a store to be told to the log: of what is published together one that is refused sinks no other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from engage.events.envelope import Event
from engage.events.validation import Refusal
from engage.log.contract import Publisher
from engage.services.turns import LeftBehindError

T = TypeVar("T")
_AGAIN_SECONDS = 30.0
"""What was refused is tried again after so long; until then only what waits behind it is looked at."""


class Telling(Generic[T]):
    """Publishes what waits as ``event_of`` makes it, then has ``let_go``: a crash in between publishes the same again.

    However many are refused, they stay where they are, and what waits behind them is told. ``refused`` says of the
    first of them what is to be done; ``let_go`` may block.
    """

    def __init__(
        self,
        publisher: Publisher,
        event_of: Callable[[T], Event[Any]],
        let_go: Callable[[Sequence[T]], object],
        refused: Callable[[T, Refusal], LeftBehindError],
    ) -> None:
        self._publisher = publisher
        self._event_of = event_of
        self._let_go = let_go
        self._error = refused
        self._passed = 0
        self._first: tuple[T, Refusal] | None = None
        self._again = 0.0

    def anew(self) -> None:
        """What is waiting is something else by now: look at all of it."""
        self._again = 0.0

    async def step(self, waiting: Callable[[int], Sequence[T]]) -> int:
        """Tell some of what is ``waiting`` behind so many, in order; how many, 0 when none are left.

        LeftBehindError as long as the log refuses some, with how many were told nevertheless. ``waiting`` may block.
        """
        now = asyncio.get_running_loop().time()
        if now >= self._again:
            self._passed, self._first, self._again = 0, None, now + _AGAIN_SECONDS
        told = list[T]()
        while not told and (found := await asyncio.to_thread(waiting, self._passed)):
            answers = await self._publisher.publish([self._event_of(one) for one in found])
            for one, answer in zip(found, answers, strict=True):
                if isinstance(answer, Refusal):
                    self._passed += 1
                    self._first = self._first or (one, answer)
                else:
                    told.append(one)
        if told:
            await asyncio.to_thread(self._let_go, told)
        if self._first is not None:
            error = self._error(*self._first)
            error.done = len(told)
            raise error
        return len(told)
