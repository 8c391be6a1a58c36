"""What sells more is told from chance, and the market's own figures stand beside it."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from engage.events.catalogue.commerce import OrderCompleted, Product
from engage.events.catalogue.market import CategoryPriceReported, ExchangeRateReported, IndicatorReported
from engage.events.envelope import Event
from engage.testing.events import happened, moment
from engage.testing.projections import given
from projections.market.category_weeks import category_weeks, week_of
from projections.market.market_trends import market_trends

MONDAY = moment("2026-01-05T09:00")


def order(
    at: datetime, order_id: str, *categories: str, account: str = "acc-1", quantity: int = 1, currency: str = "EUR"
) -> Event[Any]:
    lines = tuple(Product(product_id="p", category=each, price=2.5, quantity=quantity) for each in categories)
    data = OrderCompleted(order_id=order_id, total=10, currency=currency, products=lines)
    return happened(data, at=at, subject=account)


def weekly(*counts: int, category: str = "coffee") -> list[Event[Any]]:
    return [
        order(MONDAY + timedelta(weeks=week, minutes=number), f"o-{week}-{number}", category, account=f"a-{number}")
        for week, count in enumerate(counts)
        for number in range(count)
    ]


def test_a_week_of_a_category_adds_up_what_its_accounts_ordered() -> None:
    given(
        market_trends,
        order(MONDAY, "o-1", "coffee", "coffee", "tea", quantity=2),
        order(MONDAY + timedelta(days=6), "o-2", "coffee", account="acc-2"),
        order(MONDAY + timedelta(days=1), "o-3", "coffee", currency="USD"),
    ).then("2026-W02|coffee", week="2026-W02", orders=3, units=6, customers=2, revenue={"EUR": 12.5, "USD": 2.5}).then(
        "2026-W02|tea", orders=1, units=2, customers=1, revenue={"EUR": 5.0}
    )


def test_an_order_that_is_told_twice_or_late_counts_once_and_in_its_week() -> None:
    late = happened(order(MONDAY, "o-1", "coffee").data, at=MONDAY, recorded=MONDAY + timedelta(days=40), id="late")
    given(market_trends, order(MONDAY, "o-1", "coffee"), late).then("2026-W02|coffee", orders=1, units=1)


def test_lines_without_a_category_or_a_price_add_what_they_say() -> None:
    lines = (Product(product_id="p", category="tea", quantity=3), Product(product_id="q", price=4))
    told = given(market_trends, happened(OrderCompleted(order_id="o", total=9, products=lines), at=MONDAY))
    told.then("2026-W02|tea", orders=1, units=3, revenue={})
    assert len(told.rows) == 1


def test_a_rise_that_chance_does_not_explain_is_flagged_with_its_size() -> None:
    told = given(market_trends, *weekly(10, 11, 9, 10, 20, 21, 19, 20, 5))
    told.then("2026-W09|coffee", trend="rising", change=pytest.approx(1.0))
    row = told.rows["2026-W09|coffee"]
    assert row.change_low is not None
    assert 0 < row.change_low < 1.0
    assert row.confidence is not None
    assert row.confidence > 0.95


def test_a_category_that_is_bought_no_more_falls_although_nothing_of_it_happens() -> None:
    told = given(market_trends, *weekly(20, 20, 20, 20), *weekly(*[1] * 10, category="tea"))
    told.then("2026-W09|coffee", orders=0, trend="falling")


def test_few_orders_make_no_trend() -> None:
    given(market_trends, *weekly(1, 1, 0, 1, 2, 1, 2, 1, 1)).then("2026-W09|coffee", trend="unclear")


def test_there_is_no_trend_before_eight_weeks_nor_of_the_newest_one() -> None:
    told = given(market_trends, *weekly(*[10] * 9))
    told.then("2026-W08|coffee", trend=None, change=None, confidence=None)
    told.then("2026-W09|coffee", trend="unclear").then("2026-W10|coffee", trend=None)


def test_outside_indicators_stand_beside_until_they_are_stale() -> None:
    told = given(
        market_trends,
        *weekly(*[1] * 16),
        happened(
            IndicatorReported(indicator="sentiment", value=90, unit="index", region="PT"), at=MONDAY, subject="market:a"
        ),
        happened(
            IndicatorReported(indicator="sentiment", value=100, unit="index", region="PT"),
            at=MONDAY,
            subject="market:b",
        ),
        happened(ExchangeRateReported(base="EUR", quote="USD", rate=1.1), at=MONDAY, subject="market:a"),
        happened(
            CategoryPriceReported(category="coffee", price=3.25, currency="EUR", unit="kg", at=MONDAY),
            at="2026-02-01",
            subject="market:a",
        ),
    )
    beside = {"sentiment, PT (index)": 95.0, "EUR/USD": 1.1}
    told.then("2026-W02|coffee", indicators=beside, market_price={"EUR/kg": 3.25})
    told.then("2026-W15|coffee", indicators=beside, market_price={"EUR/kg": 3.25})
    told.then("2026-W16|coffee", indicators={}, market_price={})


def test_what_is_no_number_is_left_out() -> None:
    odd = happened(IndicatorReported(indicator="odd", value=1e300, unit="x"), at=MONDAY, subject="market:a")
    given(market_trends, odd, *weekly(1)).then("2026-W02|coffee", indicators={})


def test_the_market_alone_is_no_account() -> None:
    assert (
        given(category_weeks, happened(OrderCompleted(order_id="o", total=1), at=MONDAY, subject="market:a")).rows == {}
    )
    assert week_of(moment("2027-01-01")) == "2026-W53"
