"""Back-pressure: how much publishing may be under way at once; what comes too fast is sent away, not heaped up."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from engage.http.problems import ProblemError

MAX_BYTES = 64_000_000
"""Bytes of all bodies that are held at once; an event takes about three times as much until it is answered."""
MAX_REQUESTS = 2_000
"""Requests that are held at once."""
AGAIN_SECONDS = 1
"""When to come again: what may be held at once is taken in within a few seconds."""


class Pressure:
    """What is held now: ``requests`` and the ``size`` of their bodies in bytes."""

    def __init__(self, most_bytes: int = MAX_BYTES, most_requests: int = MAX_REQUESTS) -> None:
        self.requests = 0
        self.size = 0
        self._most_bytes = most_bytes
        self._most_requests = most_requests

    def hold(self, announced: int = 0) -> Held:
        """Room for a request that announces so many bytes; ProblemError with 429 where there is none."""
        if self.requests >= self._most_requests or (self.size and self.size + announced > self._most_bytes):
            raise self._too_much()
        return Held(self)

    def grow(self, size: int) -> None:
        """Hold so many bytes more; ProblemError with 429 if that is too many."""
        if self.size + size > self._most_bytes:
            raise self._too_much()
        self.size += size

    def _too_much(self) -> ProblemError:
        return ProblemError(
            429,
            f"more is being published than can be kept: {self.requests:,} requests of {self.size:,} bytes wait for "
            "the log; send the same again later, what was taken is not counted twice",
            {"retry-after": str(AGAIN_SECONDS)},
        )


class Held:
    """The room that one request has, as long as the block lasts."""

    def __init__(self, pressure: Pressure) -> None:
        self._pressure = pressure
        self._size = 0

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def begin(self, size: int = 0) -> None:
        """Take the room, and that for the ``size`` bytes that were asked for, which are there."""
        self._pressure.requests += 1
        self._pressure.size += size
        self._size = size

    def end(self) -> None:
        """Give it back."""
        self._pressure.requests -= 1
        self._pressure.size -= self._size

    def grow(self, size: int) -> None:
        """The body has so many bytes more; ProblemError with 429 if that is too many for all."""
        self._pressure.grow(size)
        self._size += size
