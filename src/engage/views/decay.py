"""What happened fades: sums and means in which an event counts half as much after each half-life.

Forward decay (G. Cormode, V. Shkapenyuk, D. Srivastava, B. Xu: "Forward Decay: A Practical Time Decay Model for
Streaming Systems", ICDE 2009): with exponential decay the weights of any two events keep their ratio for ever, so a
sum, the moment it stands at and one multiplication are all that an update needs, however late the event arrives. The
landmark moves along with the newest event (their section VI.A), so no exponent grows with the years and nothing
overflows; what is some thousand half-lives old becomes exactly 0.
"""

from __future__ import annotations

from datetime import timedelta

from msgspec import Struct

_NEVER = -1e18


def half_life(period: timedelta) -> float:
    """A half-life in seconds, the unit of this module's arithmetic; ValueError unless it is longer than nothing."""
    seconds = period.total_seconds()
    if seconds <= 0:
        raise ValueError(f"a half-life must be longer than nothing, not {period}")
    return seconds


def faded(age: float, half_life: float) -> float:
    """What is left of 1 after ``age`` seconds: ½ after one half-life (seconds), more than 1 before its time."""
    return 2.0 ** (-age / half_life)  # type: ignore[no-any-return]


class Decayed(Struct, array_like=True, gc=False):
    """Σ wᵢ·xᵢ·2^(−ageᵢ/h) and Σ wᵢ·2^(−ageᵢ/h), as they stand at ``as_of`` (seconds since 1970-01-01 UTC).

    The half-life h is not kept with it: pass the same one, in seconds, to every call.
    """

    total: float = 0.0
    weight: float = 0.0
    as_of: float = _NEVER

    def add(self, x: float, at: float, half_life: float, weight: float = 1.0) -> None:
        """Count ``x``, which happened ``at`` (seconds since 1970); the order of arrival does not matter.

        A negative ``weight`` takes back what was counted before at the same moment.
        """
        if at > self.as_of:
            kept = 2.0 ** ((self.as_of - at) / half_life)
            self.total = self.total * kept + x * weight
            self.weight = self.weight * kept + weight
            self.as_of = at
        else:
            counts = weight * 2.0 ** ((at - self.as_of) / half_life)
            self.total += x * counts
            self.weight += counts

    def total_at(self, moment: float, half_life: float) -> float:
        """The decayed sum at ``moment``, which must not lie a thousand half-lives before ``as_of`` (OverflowError)."""
        return self.total * faded(moment - self.as_of, half_life)

    def weight_at(self, moment: float, half_life: float) -> float:
        """How much evidence is left at ``moment``: the decayed sum of the weights."""
        return self.weight * faded(moment - self.as_of, half_life)
