"""What an account is interested in follows from what it does, and fades."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from engage.events.catalogue.commerce import OrderCompleted, Product, ProductAdded, ProductViewed
from engage.events.catalogue.tutorials import TutorialCompleted
from engage.events.catalogue.video import VideoCompleted, VideoStarted
from engage.testing.events import happened, moment
from engage.testing.projections import given
from projections.customers.interests import KEPT, interests


def seen(category: str | None, at: str = "2026-03-01", **how: Any) -> Any:
    return happened(ProductViewed(product_id="p", category=category), at=at, **how)


def bought(*categories: str | None, at: str = "2026-03-01") -> Any:
    products = tuple(Product(product_id=f"p-{n}", category=category) for n, category in enumerate(categories))
    return happened(OrderCompleted(order_id="o-1", total=9.0, products=products), at=at)


def test_to_buy_says_more_than_to_look() -> None:
    row = given(interests, seen("music"), bought("books"), seen("music")).rows["acc-1"]
    assert row.favourite == "books"
    assert row.favourite_share == pytest.approx(5 / 7)
    assert [(taste.category, taste.purchases) for taste in row.tastes] == [("books", 1), ("music", 0)]


def test_an_order_of_several_categories_speaks_for_each_once() -> None:
    row = given(interests, bought("books", "music", "books", None)).rows["acc-1"]
    assert [(taste.category, taste.share, taste.purchases) for taste in row.tastes] == [
        ("books", 0.5, 1),
        ("music", 0.5, 1),
    ]


def test_a_taste_fades_as_others_come() -> None:
    row = given(interests, seen("music"), seen("garden", "2026-05-30")).rows["acc-1"]
    assert row.favourite == "garden"
    assert row.whole == pytest.approx(1.5)
    assert row.tastes[1].share == pytest.approx(1 / 3)
    assert row.tastes[1].last == moment("2026-03-01")


def test_what_we_hear_late_counts_as_if_we_had_heard_it_in_time() -> None:
    early, later = seen("music"), seen("garden", "2026-05-30")
    late = seen("music", recorded="2026-05-30")
    row, late_row = given(interests, early, later).rows["acc-1"], given(interests, later, late).rows["acc-1"]
    assert [(one.category, one.last) for one in late_row.tastes] == [(one.category, one.last) for one in row.tastes]
    assert late_row.whole == pytest.approx(row.whole)
    assert late_row.as_of == moment("2026-05-30")


def test_videos_and_tutorials_speak_for_their_topic() -> None:
    learned = (
        happened(VideoStarted(video_id="v", topic="garden"), at="2026-03-01"),
        happened(VideoCompleted(video_id="v", topic="garden"), at="2026-03-01"),
        happened(TutorialCompleted(tutorial_id="t", topic="music"), at="2026-03-01"),
    )
    given(interests, *learned).then("acc-1", whole=4.0, favourite="garden", favourite_share=0.5)


def test_what_has_no_category_says_nothing() -> None:
    given(interests, seen(None), bought(None), happened(VideoStarted(video_id="v"), at="2026-03-01")).then_no_row(
        "acc-1"
    )
    given(interests, seen("music"), seen(None, "2026-04-01")).then("acc-1", as_of=moment("2026-03-01"))


def test_only_the_strongest_are_kept_and_shares_are_of_the_whole() -> None:
    row = given(interests, *(seen(f"c-{n}") for n in range(2 * KEPT)), seen("c-10")).rows["acc-1"]
    assert len(row.tastes) == KEPT
    assert row.whole == 2 * KEPT + 1
    assert row.favourite == "c-10"
    assert row.favourite_share == pytest.approx(2 / (2 * KEPT + 1))


SIGNS = st.one_of(
    st.builds(ProductViewed, product_id=st.just("p"), category=st.sampled_from("abc")),
    st.builds(ProductAdded, product_id=st.just("p"), category=st.sampled_from("abc")),
)


@for_all(st.lists(st.tuples(SIGNS, st.integers(0, 1_000)), min_size=1, max_size=20), st.randoms())
def test_the_order_in_which_we_hear_of_it_does_not_matter(told: list[tuple[Any, int]], chance: Any) -> None:
    events = [
        happened(data, at=moment("2026-01-01") + timedelta(days=day), recorded="2030-01-01") for data, day in told
    ]
    row = given(interests, *events).rows["acc-1"]
    chance.shuffle(events)
    other = given(interests, *events).rows["acc-1"]
    assert {one.category: pytest.approx(one.share) for one in row.tastes} == {
        one.category: one.share for one in other.tastes
    }
    assert sum(one.share for one in row.tastes) == pytest.approx(1.0)
    assert row.as_of == other.as_of
