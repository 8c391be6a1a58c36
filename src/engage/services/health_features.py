"""What the learned peers of the health score see of a customer: 19 numbers of recency, frequency, money and rhythm.

Days are counted back from the end of the calibration. Counts, money and lengths enter as log(1 + x): what matters is
their proportion, and a model that was trained on a shorter past meets no number it has never seen.

- recency: days since the last purchase day, since the one before it and since the first (of one day, all three are its
  own); the share of the time since the first that has been silent.
- frequency: purchase days; purchases; purchase days within the last 30 and the last 90; bought on one day only (0, 1);
  purchase days decayed with a half-life of 60 days.
- money, dollars: all of it; a purchase day's mean; the largest purchase; the last day's; log(1 + amount) decayed with a
  half-life of 60 days, the shipped score's own evidence.
- rhythm: mean gap between purchase days (since the first, of one day only); the gaps' standard deviation as a share of
  their mean; the longest gap; today's silence in mean gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from math import log1p
from statistics import fmean, pstdev

from engage.services.purchase_history import Purchase, days_of

COUNT = 19
_HALF_LIFE = 60.0


def features(history: Sequence[Purchase], today: date) -> list[float]:
    """The customer's ``COUNT`` numbers, in the docstring's order; ``history`` is in order and ends by ``today``."""
    days = days_of(history)
    return [*_recency(days, today), *_frequency(history, days, today), *_money(history, today), *_rhythm(days, today)]


def _recency(days: Sequence[date], today: date) -> list[float]:
    silent, age = (today - days[-1]).days, (today - days[0]).days
    return [log1p(silent), log1p((today - days[-2:][0]).days), log1p(age), silent / max(age, 1)]


def _frequency(history: Sequence[Purchase], days: Sequence[date], today: date) -> list[float]:
    return [
        log1p(len(days)),
        log1p(len(history)),
        *(log1p(sum((today - day).days < within for day in days)) for within in (30, 90)),
        float(len(days) == 1),
        log1p(sum(_weight(day, today) for day in days)),
    ]


def _money(history: Sequence[Purchase], today: date) -> list[float]:
    spent: dict[date, float] = {}
    for purchase in history:
        spent[purchase.day] = spent.get(purchase.day, 0.0) + purchase.amount
    return [
        log1p(sum(spent.values())),
        log1p(fmean(spent.values())),
        log1p(max(purchase.amount for purchase in history)),
        log1p(spent[history[-1].day]),
        log1p(sum(log1p(purchase.amount) * _weight(purchase.day, today) for purchase in history)),
    ]


def _rhythm(days: Sequence[date], today: date) -> list[float]:
    gaps = [(later - earlier).days for earlier, later in pairwise(days)] or [max((today - days[0]).days, 1)]
    mean = fmean(gaps)
    return [log1p(mean), pstdev(gaps) / mean, log1p(max(gaps)), log1p((today - days[-1]).days / mean)]


def _weight(day: date, today: date) -> float:
    weight: float = 0.5 ** ((today - day).days / _HALF_LIFE)
    return weight
