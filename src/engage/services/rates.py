"""How often a caller may ask: a token bucket each, told as the moment when it is full again."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

BURST_SECONDS = 5.0
"""A bucket holds what flows into it in this time, and one token at least."""
_ROUNDING = 1e-9


def take(full_at: float, now: float, rate: float) -> tuple[float, float]:
    """Take a token from a bucket that is full at ``full_at`` and gets ``rate`` tokens a second.

    Returns when it will be full, and 0; or the same as before, and for how many seconds there is none.
    """
    holds = max(1.0, rate * BURST_SECONDS)
    after = max(full_at, now) + 1 / rate
    missing = after - now - holds / rate
    return (full_at, missing) if missing > _ROUNDING else (after, 0.0)


class Rates:
    """The buckets of all callers; at most ``most`` are kept, and a full one need not be."""

    def __init__(self, clock: Callable[[], float] = monotonic, most: int = 10_000) -> None:
        self._clock = clock
        self._most = most
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def wait(self, name: str, rate: float) -> float:
        """For how many seconds ``name`` has to wait before it asks again; 0: it has asked now."""
        now = self._clock()
        if name not in self._full_at and len(self._full_at) >= self._most:
            self._forget(now)
        self._full_at[name], missing = take(self._full_at.get(name, now), now, rate)
        return missing

    def _forget(self, now: float) -> None:
        """Forget the full ones; if there are none, the tenth that is nearest to it, whom it makes a little richer."""
        kept = {name: full_at for name, full_at in self._full_at.items() if full_at > now}
        if len(kept) >= self._most:
            kept = dict(sorted(kept.items(), key=lambda one: one[1])[self._most // 10 + 1 :])
        self._full_at = kept
