"""Is the health score right? Whether it ranks, on real purchases, who comes back; and how its parameters were chosen.

The file holds what every customer of a shop bought (CDNOW: 23,570 customers, 69,659 purchases). The shipped projection
folds the purchases up to a day, and is asked who buys again after it. The half-life and the prior of purchasing are
chosen on ``EARLIER``, whose outcome ends before the first day that ``HELD_OUT`` asks for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from math import log, log1p
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from engage.events.catalogue import type_of
from engage.events.catalogue.commerce import OrderCompleted
from engage.services import health_learners
from engage.services.bg_nbd import PUBLISHED, History, expected_purchases, fit
from engage.services.purchase_history import (
    EARLIER,
    HELD_OUT,
    Period,
    Purchase,
    by_customer,
    days_of,
    end_of,
    in_order,
    order_of,
    read,
    split,
)
from engage.services.ranking import Decile, auc, deciles
from engage.views.decay import Decayed, half_life
from projections.customers.health.purchasing import PURCHASING
from projections.shared.account_health import AccountHealth, account_health, score_at

SHIPPED = "shipped score"
HALF_LIVES = (20, 30, 45, 60, 75, 90, 120, 150, 180)
"""Days, tried on ``EARLIER``."""
PRIORS = (1, 2, 3, 4, 6, 8, 10, 12, 16, 24)
"""Tried on ``EARLIER`` with the best half-life: whose value/100 is the best guess of the chance of coming back."""

_WEEK = timedelta(weeks=1)
_FOLD = account_health.folds[type_of(OrderCompleted)]


class Ranked(Struct, frozen=True):
    """How well each way to rank customers told who comes back: AUC, ½ is chance and 1 is never wrong.

    ``came_back`` is the share (0-1) that did; ``deciles`` are those of the shipped score.
    """

    period: Period
    customers: int
    came_back: float
    auc: dict[str, float]
    deciles: list[Decile]


class Tried(Struct, frozen=True):
    """A parameter's value and what came of it on the earlier period."""

    value: float
    result: float


class HealthBenchmark(Struct, frozen=True):
    """What ``engage benchmark health`` shows.

    ``half_lives`` (days → AUC, the higher the better) and ``priors`` (→ log loss, the lower the better) are what the
    shipped parameters were chosen by, on the earlier period alone. ``not_measured``: which peers are missing, what for.
    """

    purchases: int
    held_out: list[Ranked]
    earlier: Ranked
    half_lives: list[Tried]
    priors: list[Tried]
    best_half_life: float
    best_prior: float
    shipped_half_life: float
    shipped_prior: float
    not_measured: str | None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        result: dict[str, Any] = msgspec.to_builtins(self)
        return result


def run(path: Path) -> HealthBenchmark:
    """The benchmark on the purchases in ``path``; ValueError when it cannot be read as such, naming the line."""
    purchases = in_order(read(path))
    histories = by_customer(purchases)
    peers: list[dict[str, list[float]]] = [{} for _ in HELD_OUT]
    if health_learners.are_there():
        peers = health_learners.learned(histories, EARLIER, HELD_OUT)
    periods = (EARLIER, *HELD_OUT)
    shipped = _shipped_scores(purchases, [period.calibration for period in periods])
    ranked = [
        _rank(period, histories, scores, learned)
        for period, scores, learned in zip(periods, shipped, [{}, *peers], strict=True)
    ]
    half_lives = [Tried(days, _auc_of_half_life(days, histories)) for days in HALF_LIVES]
    best = max(half_lives, key=lambda tried: tried.result).value
    priors = [Tried(prior, _log_loss(prior, best, histories)) for prior in PRIORS]
    return HealthBenchmark(
        purchases=len(purchases),
        held_out=ranked[1:],
        earlier=ranked[0],
        half_lives=half_lives,
        priors=priors,
        best_half_life=best,
        best_prior=min(priors, key=lambda tried: tried.result).value,
        shipped_half_life=PURCHASING.half_life / timedelta(days=1),
        shipped_prior=PURCHASING.prior,
        not_measured=None if health_learners.are_there() else health_learners.MISSING,
    )


def _shipped_scores(purchases: Sequence[Purchase], days: Sequence[date]) -> Iterator[dict[str, float]]:
    """What the shipped projection says of each customer at the end of each of the days, which are in order."""
    rows: dict[str, AccountHealth] = {}
    folded = 0
    for day in days:
        while folded < len(purchases) and purchases[folded].day <= day:
            purchase = purchases[folded]
            row = rows.get(purchase.customer) or AccountHealth(purchase.customer)
            rows[purchase.customer] = _FOLD(row, order_of(purchase))
            folded += 1
        scores = {customer: score_at(row, end_of(day)).score for customer, row in rows.items()}
        yield {customer: score for customer, score in scores.items() if score is not None}


def _rank(
    period: Period,
    histories: Mapping[str, list[Purchase]],
    shipped: Mapping[str, float],
    learned: Mapping[str, list[float]],
) -> Ranked:
    known, came_back = split(period, histories)
    ahead = (period.outcome - period.calibration) / _WEEK
    days = [days_of(history) for history in known.values()]
    seen = [
        History(len(bought) - 1, (bought[-1] - bought[0]) / _WEEK, (period.calibration - bought[0]) / _WEEK)
        for bought in days
    ]
    fitted = fit(Counter(seen))
    ways = {
        SHIPPED: [shipped[customer] for customer in known],
        "BG/NBD": [expected_purchases(fitted, one, ahead) for one in seen],
        "BG/NBD, published parameters": [expected_purchases(PUBLISHED, one, ahead) for one in seen],
        "recency": [float(bought[-1].toordinal()) for bought in days],
        "frequency": [float(len(bought)) for bought in days],
        **learned,
    }
    return Ranked(
        period=period,
        customers=len(known),
        came_back=sum(came_back) / len(came_back),
        auc={way: auc(scores, came_back) for way, scores in ways.items()},
        deciles=deciles(ways[SHIPPED], came_back),
    )


def _decayed(days: float, known: Mapping[str, list[Purchase]]) -> list[float]:
    """Each customer's decayed sum of log(1 + amount) at the end of the earlier calibration, half-life in days."""
    seconds = half_life(timedelta(days=days))
    moment = end_of(EARLIER.calibration).timestamp()
    sums = []
    for history in known.values():
        bought = Decayed()
        for purchase in history:
            bought.add(log1p(purchase.amount), order_of(purchase).time.timestamp(), seconds)
        sums.append(bought.total_at(moment, seconds))
    return sums


def _auc_of_half_life(days: float, histories: Mapping[str, list[Purchase]]) -> float:
    known, came_back = split(EARLIER, histories)
    return auc(_decayed(days, known), came_back)


def _log_loss(prior: float, days: float, histories: Mapping[str, list[Purchase]]) -> float:
    """Mean of −log(the chance given to what happened), the value x/(x + prior) being read as the chance of a return."""
    known, came_back = split(EARLIER, histories)
    chances = [min(max(x / (x + prior), 1e-6), 1 - 1e-6) for x in _decayed(days, known)]
    return -sum(log(p if back else 1 - p) for p, back in zip(chances, came_back, strict=True)) / len(chances)
