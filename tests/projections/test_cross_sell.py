"""What is taken together: lifts with their counts, and what an account keeps of what it has taken."""

from typing import Any

import pytest

from engage.events.catalogue.commerce import OrderCompleted, Product
from engage.events.catalogue.cross_sell import CrossSellOpeningFound
from engage.events.catalogue.profile import AccountIdentified
from engage.events.catalogue.training import CertificationEarned, CertificationLapsed, TrainingCompleted
from engage.events.envelope import Event
from engage.testing.events import happened
from engage.testing.projections import given
from projections.shared.cross_sell import cross_sell, offerings


def order(account: str, *categories: str | None, at: str = "2026-01-01") -> Event[Any]:
    products = tuple(Product(product_id=f"p-{name}", category=name) for name in categories)
    return happened(OrderCompleted(order_id=f"o-{at}", total=10.0, products=products), at=at, subject=account)


def test_lift_says_how_many_times_as_often_with_its_counts() -> None:
    told = given(
        cross_sell,
        order("a", "tents", "stoves"),
        order("b", "tents", "stoves"),
        order("c", "tents"),
        *(order(account, "shoes") for account in "defgh"),
    )
    told.then("category|tents|stoves", similar=3, support=2, opening_accounts=2, accounts=8)
    row = told.rows["category|tents|stoves"]
    assert row.share == pytest.approx(2 / 3)
    assert row.lift == pytest.approx((2 / 3) / (2 / 8))
    assert told.rows["category|stoves|tents"].lift == pytest.approx(row.lift)
    told.then_no_row("category|tents|shoes")


def test_an_account_counts_once_however_often_it_buys() -> None:
    told = given(cross_sell, order("a", "tents"), order("a", "tents", "stoves", at="2026-02-01"), order("a", "stoves"))
    told.then("category|tents|stoves", similar=1, support=1, accounts=1, lift=1.0)


def test_programmes_are_trainings_and_certifications_that_hold() -> None:
    passed, failed = (TrainingCompleted(training_id="basics", passed=one) for one in (True, False))
    told = given(
        cross_sell,
        happened(passed, at="2026-01-01", subject="a"),
        happened(CertificationEarned(certification="gold"), at="2026-01-02", subject="a"),
        happened(failed, at="2026-01-01", subject="b"),
    )
    told.then("programme|training basics|certification gold", support=1, accounts=1)
    told.when(happened(CertificationLapsed(certification="gold"), at="2026-06-01", subject="a"))
    told.then_no_row("programme|training basics|certification gold")


def test_an_older_lapse_ends_no_later_certification() -> None:
    lapse = happened(CertificationLapsed(certification="gold"), at="2026-01-01", recorded="2026-03-01")
    told = given(offerings, happened(CertificationEarned(certification="gold"), at="2026-02-01"), lapse)
    assert list(told.rows["acc-1"].programmes) == ["certification gold"]


def test_an_account_keeps_the_twelve_categories_bought_last() -> None:
    told = given(offerings, *(order("a", f"c-{n:02}", at=f"2026-01-{n:02}") for n in range(1, 21)))
    told.when(happened(order("a", "old").data, at="2020-01-01", recorded="2026-02-01", subject="a"))
    assert sorted(told.rows["a"].categories) == [f"c-{n:02}" for n in range(9, 21)]


def test_who_bought_nothing_with_a_category_has_no_row() -> None:
    assert given(offerings, order("a", None), order("a")).rows == {}


def test_what_was_found_is_remembered() -> None:
    found = CrossSellOpeningFound(kind="category", opening="stoves", support=5, similar=10, lift=2.0)
    told = given(offerings, happened(AccountIdentified(kind="reseller", manager="m-1"), at="2026-01-01"))
    told.when(happened(found, at="2026-01-02")).then("acc-1", kind="reseller", manager="m-1")
    assert list(told.rows["acc-1"].found) == ["category|stoves"]
