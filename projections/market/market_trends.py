"""What sells more and what less, week by week and category by category, and what went on outside meanwhile?

Orders are looked at as they were placed, for they show the demand: what is cancelled or sent back later was wanted too.
A trend compares a week and the three before it with the four before those, by the number of orders, since the pieces of
one order are not bought independently; how sure it is, ``engage.views.intervals.count_change`` says. With many
categories and weeks, one interval in twenty misses by chance: a trend that lasts for weeks is worth more than one
week's.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Literal

from msgspec import Struct, field

from engage.events.catalogue.market import CategoryPriceReported, ExchangeRateReported, IndicatorReported
from engage.events.envelope import Event
from engage.views.aggregate import Aggregate
from engage.views.intervals import Change, count_change
from projections.market.category_weeks import CategoryWeek, category_weeks, week_of

Trend = Literal["rising", "falling", "unclear"]

_MILLION = 1_000_000
_LARGEST = 1e12
"""What is reported beyond it, or is no number at all, is left out: millionths of it could not be added up."""
_BLOCK = 4
_STALE_WEEKS = 13
"""For how many weeks a report of the market stands beside the sales: some come once a quarter."""


class WeekShard(Struct):
    """Sums of one category in one week over accounts; without a category, what the market reported of that week.

    week_category: the week and the category, such as 2026-W09|coffee
    week: the ISO week
    category: the category; empty for what concerns all
    orders: orders that held it
    units: pieces ordered
    customers: accounts that ordered it
    revenue_cents: what they cost by currency, in hundredths
    reported_micros: by what was reported (price, indicator, rate), the sum of its values, in millionths
    reports: by what was reported, how often
    """

    week_category: str
    week: str = ""
    category: str = ""
    orders: int = 0
    units: int = 0
    customers: int = 0
    revenue_cents: dict[str, int] = field(default_factory=dict)
    reported_micros: dict[str, int] = field(default_factory=dict)
    reports: dict[str, int] = field(default_factory=dict)


class MarketWeek(Struct):
    """One category in one week; the newest week of all may not be over, so it has no trend.

    week_category: the week and the category, such as 2026-W09|coffee
    week: the ISO week, UTC
    category: the category
    orders: orders that held it
    units: pieces ordered
    customers: accounts that ordered it in that week
    revenue: what they cost by currency, in major units, as far as the orders' lines say a price
    market_price: what a unit of it costs in the market, by currency ("EUR", or "EUR/kg"): the week's mean, or the last
        one known from the 13 weeks before
    indicators: outside indicators by name, region and unit, and exchange rates: the week's mean, or the last one known
        from the 13 weeks before
    change: how orders changed in four weeks against the four before, 0.25: a quarter more; null without eight weeks
    change_low: lower end of its 95 % interval
    change_high: upper end of its 95 % interval
    confidence: how sure the direction is, 0-1 (1 less the two-sided p value)
    trend: rising or falling where the interval leaves out 0, unclear where it does not; null without eight weeks
    """

    week_category: str
    week: str
    category: str
    orders: int
    units: int
    customers: int
    revenue: dict[str, float]
    market_price: dict[str, float]
    indicators: dict[str, float]
    change: float | None
    change_low: float | None
    change_high: float | None
    confidence: float | None
    trend: Trend | None


market_trends = Aggregate("market_trends", version=1, row=WeekShard, reads=MarketWeek, of=category_weeks)


@market_trends.of_row
def sold(row: CategoryWeek) -> list[WeekShard]:
    """What one account bought in one week."""
    return [
        WeekShard(f"{row.week}|{category}", row.week, category, bought.orders, bought.units, 1, bought.cents)
        for category, bought in row.categories.items()
    ]


@market_trends.on(IndicatorReported)
def indicator(event: Event[IndicatorReported]) -> list[WeekShard]:
    """An outside indicator."""
    data = event.data
    region = "" if data.region is None else f", {data.region}"
    return _reported(data.at or event.time, "", f"{data.indicator}{region} ({data.unit})", data.value)


@market_trends.on(ExchangeRateReported)
def rate(event: Event[ExchangeRateReported]) -> list[WeekShard]:
    """An exchange rate: what one unit of the first currency is worth in the second."""
    return _reported(event.time, "", f"{event.data.base}/{event.data.quote}", event.data.rate)


@market_trends.on(CategoryPriceReported)
def price(event: Event[CategoryPriceReported]) -> list[WeekShard]:
    """What a category costs outside."""
    data = event.data
    unit = data.currency if data.unit is None else f"{data.currency}/{data.unit}"
    return _reported(data.at or event.time, data.category, unit, data.price)


@market_trends.read
def market_weeks(shards: list[WeekShard]) -> list[MarketWeek]:
    """Every category in every week from its first sale on, those without a sale included while it may come back."""
    by_category: dict[str, dict[str, WeekShard]] = {}
    for shard in shards:
        by_category.setdefault(shard.category, {})[shard.week] = shard
    outside = by_category.pop("", {})
    newest = max((shard.week for shard in shards if shard.orders), default="")
    rows: list[MarketWeek] = []
    for category, weeks in by_category.items():
        if any(shard.orders for shard in weeks.values()):
            rows += _category(category, weeks, outside, newest)
    return sorted(rows, key=lambda row: row.week_category)


def _reported(at: datetime, category: str, name: str, value: float) -> list[WeekShard]:
    if not abs(value) <= _LARGEST:
        return []
    week = week_of(at)
    micros = round(value * _MILLION)
    return [WeekShard(f"{week}|{category}", week, category, reported_micros={name: micros}, reports={name: 1})]


def _category(
    category: str, weeks: dict[str, WeekShard], outside: dict[str, WeekShard], newest: str
) -> Iterator[MarketWeek]:
    sales = [week for week, shard in weeks.items() if shard.orders]
    first, last = min(sales), max(sales)
    run = _weeks(first, min(newest, _later(last, 2 * _BLOCK)))
    counts = [weeks[week].orders if week in weeks else 0 for week in run]
    for place, week in enumerate(run):
        known = place + 1 >= 2 * _BLOCK and week != newest
        change = count_change(counts[place - 7 : place - 3], counts[place - 3 : place + 1]) if known else None
        shard = weeks.get(week) or WeekShard(f"{week}|{category}", week, category)
        yield MarketWeek(
            week_category=shard.week_category,
            week=week,
            category=category,
            orders=shard.orders,
            units=shard.units,
            customers=shard.customers,
            revenue={currency: amount / 100 for currency, amount in sorted(shard.revenue_cents.items())},
            market_price=_beside(weeks, week),
            indicators=_beside(outside, week),
            change=None if change is None else change.value,
            change_low=None if change is None else change.low,
            change_high=None if change is None else change.high,
            confidence=None if change is None else change.confidence,
            trend=None if change is None else _trend(change),
        )


def _trend(change: Change) -> Trend:
    if change.low > 0:
        return "rising"
    return "falling" if change.high < 0 else "unclear"


def _beside(weeks: dict[str, WeekShard], week: str) -> dict[str, float]:
    """The newest mean of each thing reported up to this week, by its name."""
    found: dict[str, float] = {}
    for back in range(_STALE_WEEKS + 1):
        shard = weeks.get(_later(week, -back))
        if shard is not None:
            for name, count in shard.reports.items():
                found.setdefault(name, shard.reported_micros.get(name, 0) / count / _MILLION)
    return dict(sorted(found.items()))


def _weeks(first: str, last: str) -> list[str]:
    weeks = [first]
    while weeks[-1] < last:
        weeks.append(_later(weeks[-1], 1))
    return weeks


@lru_cache(maxsize=10_000)
def _later(week: str, weeks: int) -> str:
    monday = date.fromisocalendar(int(week[:4]), int(week[6:]), 1) + timedelta(weeks=weeks)
    year, number, _ = monday.isocalendar()
    return f"{year:04}-W{number:02}"
