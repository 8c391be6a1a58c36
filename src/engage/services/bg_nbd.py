"""The BG/NBD model of repeat buying, as the yardstick that a health score is held against.

P. S. Fader, B. G. S. Hardie, K. L. Lee: "Counting Your Customers" the Easy Way: An Alternative to the Pareto/NBD Model,
Marketing Science 24 (2), 2005: its likelihood (equation 6), expected purchases (equation 10), and the parameters that
the authors found for CDNOW. Time is in weeks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import exp, lgamma, log

from msgspec import Struct


class Parameters(Struct, frozen=True):
    """Buying rates are gamma(r, alpha) among customers, the chance of leaving after each purchase is beta(a, b)."""

    r: float
    alpha: float
    a: float
    b: float


PUBLISHED = Parameters(0.243, 4.414, 0.793, 2.426)


class History(Struct, frozen=True):
    """A customer: days with a purchase after the first one; weeks from the first to the last, and to now."""

    repeats: int
    last: float
    age: float


def expected_purchases(parameters: Parameters, history: History, ahead: float) -> float:
    """How many purchases to expect of the customer within ``ahead`` weeks."""
    p, x = parameters, history.repeats
    alive = 1.0
    if x > 0:
        alive += p.a / (p.b + x - 1) * ((p.alpha + history.age) / (p.alpha + history.last)) ** (p.r + x)
    return _if_alive(p, x, history.age, ahead) / alive


def fit(customers: Mapping[History, int]) -> Parameters:
    """The parameters that make these histories (with the number of customers of each) most likely."""

    def loss(logs: Sequence[float]) -> float:
        return -log_likelihood(Parameters(*map(exp, logs)), customers)

    return Parameters(*map(exp, _lowest(loss, [log(value) for value in (0.5, 5.0, 1.0, 2.0)])))


def log_likelihood(parameters: Parameters, customers: Mapping[History, int]) -> float:
    """The logarithm of the chance that the model gives to these histories, equation 6 of the paper."""
    r, alpha, a, b = parameters.r, parameters.alpha, parameters.a, parameters.b
    start = r * log(alpha) - lgamma(r) + lgamma(a + b) - lgamma(b)
    by_repeats = {
        x: start + lgamma(r + x) + lgamma(b + x) - lgamma(a + b + x) for x in {known.repeats for known in customers}
    }
    total = 0.0
    for known, count in customers.items():
        x = known.repeats
        stayed = -(r + x) * log(alpha + known.age)
        if x > 0:
            left = log(a / (b + x - 1)) - (r + x) * log(alpha + known.last)
            stayed = max(stayed, left) + log(1 + exp(-abs(stayed - left)))
        total += count * (by_repeats[x] + stayed)
    return total


def gauss(a: float, b: float, c: float, z: float) -> float:
    """Gauss's hypergeometric function ₂F₁(a, b; c; z) for 0 ≤ z < 1 and positive a, b, c, by its defining series.

    M. Abramowitz, I. A. Stegun: Handbook of Mathematical Functions, 15.1.1. Raises ValueError outside that range.
    """
    if not (0 <= z < 1 and min(a, b, c) > 0):
        raise ValueError(f"the series is for 0 <= z < 1 and positive a, b, c, not for {(a, b, c, z)}")
    term = total = 1.0
    n = 0
    while term > total * 1e-16 or (a + n) * (b + n) * z > (c + n) * (n + 1):
        term *= (a + n) * (b + n) / ((c + n) * (n + 1)) * z
        total += term
        n += 1
    return total


@lru_cache(maxsize=100_000)
def _if_alive(parameters: Parameters, repeats: int, age: float, ahead: float) -> float:
    p, x = parameters, repeats
    shrinks: float = ((p.alpha + age) / (p.alpha + age + ahead)) ** (p.r + x)
    grows = gauss(p.r + x, p.b + x, p.a + p.b + x - 1, ahead / (p.alpha + age + ahead))
    return (p.a + p.b + x - 1) / (p.a - 1) * (1 - shrinks * grows)


def _lowest(loss: Callable[[Sequence[float]], float], start: list[float]) -> list[float]:
    """Where ``loss`` is lowest, by the simplex of Nelder & Mead (1965) until its values differ by less than 1e-7."""
    corners = [start] + [[*start[:i], start[i] + 0.3, *start[i + 1 :]] for i in range(len(start))]
    simplex = sorted((loss(corner), corner) for corner in corners)
    while simplex[-1][0] - simplex[0][0] > abs(simplex[0][0]) * 1e-7:
        (worst, corner), rest = simplex[-1], simplex[:-1]
        middle = [sum(values) / len(rest) for values in zip(*(one for _, one in rest), strict=True)]

        def towards(
            step: float, middle: list[float] = middle, corner: list[float] = corner
        ) -> tuple[float, list[float]]:
            moved = [m + step * (c - m) for m, c in zip(middle, corner, strict=True)]
            return loss(moved), moved

        best = towards(-1.0)
        if best[0] < simplex[0][0]:
            best = min(best, towards(-2.0))
        elif best[0] >= rest[-1][0]:
            best = towards(0.5)
        if best[0] < worst:
            simplex = sorted([*rest, best])
        else:
            lowest = simplex[0][1]
            halves = [[(low + value) / 2 for low, value in zip(lowest, one, strict=True)] for _, one in simplex[1:]]
            simplex = sorted([simplex[0], *((loss(half), half) for half in halves)])
    return simplex[0][1]
