"""Is the health score right? Whether it ranks, on real purchases, who comes back; and how its parameters were chosen.

The file holds what every customer of a shop bought (CDNOW: 23,570 customers, 69,659 purchases). The shipped projection
folds the purchases up to a day, and is asked who buys again after it. The half-life and the prior of purchasing are
chosen on ``EARLIER``, whose outcome ends before the first day that ``HELD_OUT`` asks for.
"""

from __future__ import annotations

import gzip
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from math import log, log1p
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from engage.events.catalogue import type_of
from engage.events.catalogue.commerce import OrderCompleted
from engage.events.envelope import Event
from engage.services.bg_nbd import PUBLISHED, History, expected_purchases, fit
from engage.views.decay import Decayed, half_life
from projections.customers.health.purchasing import PURCHASING
from projections.shared.account_health import AccountHealth, account_health, score_at

HALF_LIVES = (20, 30, 45, 60, 75, 90, 120, 150, 180)
"""Days, tried on ``EARLIER``."""
PRIORS = (1, 2, 3, 4, 6, 8, 10, 12, 16, 24)
"""Tried on ``EARLIER`` with the best half-life: whose value/100 is the best guess of the chance of coming back."""

_WEEK = timedelta(weeks=1)
_FOLD = account_health.folds[type_of(OrderCompleted)]


class Purchase(Struct, frozen=True):
    """One line of the file: who bought, when, for how many dollars; ``line`` counts from 1."""

    line: int
    customer: str
    day: date
    amount: float


class Period(Struct, frozen=True):
    """What is known up to and with ``calibration``, and who buys after it up to and with ``outcome``."""

    calibration: date
    outcome: date


EARLIER = Period(date(1997, 6, 30), date(1997, 9, 30))
HELD_OUT = (Period(date(1997, 9, 30), date(1998, 6, 30)), Period(date(1997, 12, 31), date(1998, 6, 30)))


class Decile(Struct, frozen=True):
    """A tenth of the customers by score: its lowest and highest score, and the share (0-1) that came back."""

    lowest: float
    highest: float
    customers: int
    came_back: float


class Ranked(Struct, frozen=True):
    """How well each way to rank customers told who comes back: AUC, ½ is chance and 1 is never wrong."""

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
    shipped parameters were chosen by, on the earlier period alone.
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

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        result: dict[str, Any] = msgspec.to_builtins(self)
        return result


def run(path: Path) -> HealthBenchmark:
    """The benchmark on the purchases in ``path``; ValueError when it cannot be read as such, naming the line."""
    purchases = sorted(read(path), key=lambda purchase: (purchase.day, purchase.line))
    histories = {
        customer: list(group)
        for customer, group in groupby(sorted(purchases, key=lambda p: p.customer), key=lambda p: p.customer)
    }
    periods = (EARLIER, *HELD_OUT)
    ranked = [
        _rank(period, histories, scores)
        for period, scores in zip(periods, _shipped_scores(purchases, [p.calibration for p in periods]), strict=True)
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
    )


def read(path: Path) -> Iterator[Purchase]:
    """The file's purchases: customer, YYYYMMDD, pieces, dollars between blanks, gzipped if so named, header skipped."""
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
            for number, line in enumerate(lines, start=1):
                fields = line.split()
                if not fields or (number == 1 and not fields[0].isdigit()):
                    continue
                try:
                    customer, day, _, amount = fields
                    yield Purchase(number, customer, datetime.strptime(day, "%Y%m%d").date(), float(amount))
                except ValueError as error:
                    wanted = "customer, day, pieces and dollars between blanks"
                    raise ValueError(f"{path}, line {number} is not {wanted}: {error}") from None
    except (EOFError, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def auc(scores: Sequence[float], came_back: Sequence[bool]) -> float:
    """The chance that one who came back has a higher score than one who did not, a tie counting half.

    The Mann-Whitney statistic by mid-ranks (Hanley & McNeil 1982). ValueError unless there are both kinds.
    """
    positives = sum(came_back)
    negatives = len(came_back) - positives
    if not positives or not negatives:
        raise ValueError("AUC compares those who came back with those who did not: here are none of one kind")
    ranks = 0.0
    below = 0
    for _, tied in groupby(sorted(zip(scores, came_back, strict=True)), key=lambda pair: pair[0]):
        back = [outcome for _, outcome in tied]
        ranks += sum(back) * (below + (len(back) + 1) / 2)
        below += len(back)
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def _shipped_scores(purchases: Sequence[Purchase], days: Sequence[date]) -> Iterator[dict[str, float]]:
    """What the shipped projection says of each customer at the end of each of the days, which are in order."""
    rows: dict[str, AccountHealth] = {}
    folded = 0
    for day in days:
        while folded < len(purchases) and purchases[folded].day <= day:
            purchase = purchases[folded]
            row = rows.get(purchase.customer) or AccountHealth(purchase.customer)
            rows[purchase.customer] = _FOLD(row, _event(purchase))
            folded += 1
        scores = {customer: score_at(row, _end_of(day)).score for customer, row in rows.items()}
        yield {customer: score for customer, score in scores.items() if score is not None}


def _event(purchase: Purchase) -> Event[OrderCompleted]:
    time = datetime(purchase.day.year, purchase.day.month, purchase.day.day, tzinfo=UTC)
    order = f"line-{purchase.line}"
    return Event(
        specversion="1.0",
        id=order,
        source="cdnow",
        type=type_of(OrderCompleted),
        subject=purchase.customer,
        time=time,
        recorded=time,
        data=OrderCompleted(order_id=order, total=purchase.amount),
    )


def _rank(period: Period, histories: Mapping[str, list[Purchase]], shipped: Mapping[str, float]) -> Ranked:
    known, came_back = _split(period, histories)
    ahead = (period.outcome - period.calibration) / _WEEK
    days = [sorted({purchase.day for purchase in history}) for history in known.values()]
    seen = [
        History(len(bought) - 1, (bought[-1] - bought[0]) / _WEEK, (period.calibration - bought[0]) / _WEEK)
        for bought in days
    ]
    fitted = fit(Counter(seen))
    ways = {
        "shipped score": [shipped[customer] for customer in known],
        "BG/NBD": [expected_purchases(fitted, one, ahead) for one in seen],
        "BG/NBD, published parameters": [expected_purchases(PUBLISHED, one, ahead) for one in seen],
        "recency": [float(bought[-1].toordinal()) for bought in days],
        "frequency": [float(len(bought)) for bought in days],
    }
    return Ranked(
        period=period,
        customers=len(known),
        came_back=sum(came_back) / len(came_back),
        auc={way: auc(scores, came_back) for way, scores in ways.items()},
        deciles=_deciles(ways["shipped score"], came_back),
    )


def _split(period: Period, histories: Mapping[str, list[Purchase]]) -> tuple[dict[str, list[Purchase]], list[bool]]:
    """Each known customer's purchases up to the calibration's end, and whether they bought again in the period."""
    known: dict[str, list[Purchase]] = {}
    came_back: list[bool] = []
    for customer, history in histories.items():
        first_after = bisect_right(history, period.calibration, key=lambda purchase: purchase.day)
        if first_after:
            known[customer] = history[:first_after]
            came_back.append(first_after < len(history) and history[first_after].day <= period.outcome)
    return known, came_back


def _deciles(scores: Sequence[float], came_back: Sequence[bool]) -> list[Decile]:
    pairs = sorted(zip(scores, came_back, strict=True))
    tenths = [pairs[len(pairs) * i // 10 : len(pairs) * (i + 1) // 10] for i in range(10)]
    return [
        Decile(tenth[0][0], tenth[-1][0], len(tenth), sum(back for _, back in tenth) / len(tenth))
        for tenth in tenths
        if tenth
    ]


def _decayed(days: float, known: Mapping[str, list[Purchase]]) -> list[float]:
    """Each customer's decayed sum of log(1 + amount) at the end of the earlier calibration, half-life in days."""
    seconds = half_life(timedelta(days=days))
    moment = _end_of(EARLIER.calibration).timestamp()
    sums = []
    for history in known.values():
        bought = Decayed()
        for purchase in history:
            bought.add(log1p(purchase.amount), _event(purchase).time.timestamp(), seconds)
        sums.append(bought.total_at(moment, seconds))
    return sums


def _auc_of_half_life(days: float, histories: Mapping[str, list[Purchase]]) -> float:
    known, came_back = _split(EARLIER, histories)
    return auc(_decayed(days, known), came_back)


def _log_loss(prior: float, days: float, histories: Mapping[str, list[Purchase]]) -> float:
    """Mean of −log(the chance given to what happened), the value x/(x + prior) being read as the chance of a return."""
    known, came_back = _split(EARLIER, histories)
    chances = [min(max(x / (x + prior), 1e-6), 1 - 1e-6) for x in _decayed(days, known)]
    return -sum(log(p if back else 1 - p) for p, back in zip(chances, came_back, strict=True)) / len(chances)


def _end_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
