"""How long to wait before an attempt is made again, and when to give up: three days, ever more patiently."""

from __future__ import annotations

from datetime import timedelta

FIRST = timedelta(seconds=5)
FACTOR = 4
LONGEST = timedelta(hours=12)
SPREAD = 0.2
"""A wait is up to this share longer or shorter, so that those who failed together do not come back together."""
WINDOW = timedelta(days=3)
"""An attempt that fails so long after the first one was the last; an endpoint that fails so long is disabled."""
_STEPS = 10  # by then LONGEST is reached, and a power of more would not fit a timedelta


def wait_after(attempts: int, chance: float) -> timedelta:
    """How long to wait after so many attempts (from 1); ``chance`` (0-1) is where in its spread the wait lies."""
    plain: timedelta = min(FIRST * FACTOR ** min(attempts - 1, _STEPS), LONGEST)
    return plain * (1 - SPREAD + 2 * SPREAD * chance)
