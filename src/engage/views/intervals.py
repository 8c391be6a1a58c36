"""How sure a share or a change is: intervals, so that nobody takes chance for a result."""

from __future__ import annotations

from collections.abc import Sequence
from math import atan, cos, exp, log, sin, sqrt

from msgspec import Struct

Z95 = 1.959963984540054
"""The normal distribution's 0.975 quantile: for two-sided 95 % intervals."""


class Difference(Struct, frozen=True):
    """A difference with the two ends of its 95 % interval."""

    value: float
    low: float
    high: float


class Change(Struct, frozen=True):
    """A relative change (0.25: a quarter more), the ends of its 95 % interval, and how sure its direction is, 0-1."""

    value: float
    low: float
    high: float
    confidence: float


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95 % score interval of the share ``hits`` of ``of``, which must be above 0.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    share, z2 = hits / of, Z95 * Z95
    middle = share + z2 / (2 * of)
    spread = Z95 * sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    return (middle - spread) / (1 + z2 / of), (middle + spread) / (1 + z2 / of)


def share_difference(hits: int, of: int, other_hits: int, other_of: int) -> Difference | None:
    """The share ``hits`` of ``of`` minus the other one, with its 95 % interval; None when a group is empty.

    R. G. Newcombe, "Interval estimation for the difference between independent proportions: comparison of eleven
    methods", Statistics in Medicine 17 (1998), method 10: the hybrid score interval, without continuity correction.
    """
    if of <= 0 or other_of <= 0:
        return None
    one, other = hits / of, other_hits / other_of
    (low, high), (other_low, other_high) = wilson(hits, of), wilson(other_hits, other_of)
    difference = one - other
    below = sqrt((one - low) ** 2 + (other_high - other) ** 2)
    above = sqrt((high - one) ** 2 + (other - other_low) ** 2)
    return Difference(difference, max(difference - below, -1.0), min(difference + above, 1.0))


def count_change(before: Sequence[int], after: Sequence[int]) -> Change | None:
    """How the mean count per period changed from the periods ``before`` to those ``after``, four of each.

    The log-linear model of counts with a step between the two, its dispersion estimated by Pearson's X² and taken to be
    at least Poisson's (P. McCullagh and J. A. Nelder, "Generalized Linear Models", 2nd ed. 1989, section 6.2); for two
    groups its estimate is the log of the ratio of the totals, with the variance φ(1/total + 1/total). The interval is
    Student's, with as many degrees of freedom as there are periods, less 2. Where one total is 0, a half is added to
    both (F. J. Anscombe, "On estimating binomial response relations", Biometrika 43, 1956). None when both are.
    """
    if len(before) != 4 or len(after) != 4:
        raise ValueError(f"four periods are compared with four, not {len(before)} with {len(after)}")
    if not any(before) and not any(after):
        return None
    half = 0.0 if any(before) and any(after) else 0.5
    old, new = sum(before) + half, sum(after) + half
    means = [(block, sum(block) / 4) for block in (before, after) if any(block)]
    spread = sum((count - mean) ** 2 / mean for block, mean in means for count in block)
    error = sqrt(max(1.0, spread / _DEGREES) * (1 / old + 1 / new))
    size = log(new / old)
    return Change(
        exp(size) - 1, exp(size - _T95 * error) - 1, exp(size + _T95 * error) - 1, _student(abs(size) / error)
    )


_DEGREES = 6
_T95 = 2.446911851144969
"""Student's 0.975 quantile at six degrees of freedom."""


def _student(t: float) -> float:
    """The probability of a smaller deviation than ``t`` at six degrees of freedom.

    M. Abramowitz and I. A. Stegun, "Handbook of Mathematical Functions" (1964), 26.7.4.
    """
    angle = atan(t / sqrt(_DEGREES))
    square = cos(angle) ** 2
    return sin(angle) * (1 + square / 2 + 3 * square * square / 8)
