"""A cart left behind is reminded of once, unless an order settles it."""

from engage.events.catalogue.commerce import CartViewed, CheckoutStarted, OrderCompleted, ProductAdded
from engage.events.catalogue.consent import ConsentGiven
from engage.testing.events import happened
from engage.testing.rules import given, requested, skipped
from streams.customers.cart_left_behind import rule

CONSENT = happened(ConsentGiven(channel="email", purpose="marketing"), at="2024-01-01")


def viewed(at, cart="c-1", total=None, **more):
    return happened(CartViewed(cart_id=cart, total=total), at=at, **more)


def added(at, cart=None, product="cd-1", **more):
    return happened(ProductAdded(product_id=product, cart_id=cart), at=at, **more)


def checkout(at, order=None, cart=None, total=None, **more):
    return happened(CheckoutStarted(order_id=order, cart_id=cart, total=total), at=at, **more)


def ordered(at, order="o-1", cart=None, **more):
    return happened(OrderCompleted(order_id=order, total=20.0, cart_id=cart), at=at, **more)


def test_a_cart_is_reminded_of_four_hours_after_it_was_last_touched():
    (
        given(rule, CONSENT, added("2026-03-01T10:00", "c-1"), viewed("2026-03-01T11:30", total=42.5))
        .when(time="2026-03-01T15:29")
        .then_nothing()
        .when(time="2026-03-01T15:30")
        .then(
            requested(
                "cart reminder",
                about="c-1",
                purpose="marketing",
                channels=["email"],
                why="They left a cart behind on 2026-03-01 at 11:30, worth 42.50 USD and have not ordered since.",
                due="2026-03-01T19:30",
                expires="2026-03-04T15:30",
            )
        )
        .when(time="2026-06-01")
        .then_nothing()
    )


def test_an_order_settles_the_cart_whether_it_names_it_or_not():
    for order in (ordered("2026-03-01T11:00"), ordered("2026-03-01T11:00", cart="c-1")):
        given(rule, CONSENT, viewed("2026-03-01T10:00"), order).when(time="2026-04-01").then_nothing()


def test_an_order_that_the_log_learned_of_first_settles_the_cart():
    (
        given(rule, CONSENT, ordered("2026-03-01T11:00"), viewed("2026-03-01T10:00", recorded="2026-03-01T11:10"))
        .when(time="2026-04-01")
        .then_nothing()
    )


def test_a_named_cart_is_settled_even_if_it_is_looked_at_after_the_order():
    (
        given(rule, CONSENT, ordered("2026-03-01T11:00", cart="c-1"), viewed("2026-03-01T11:01"))
        .when(time="2026-04-01")
        .then_nothing()
    )


def test_what_is_put_into_a_cart_after_an_order_is_reminded_of():
    (
        given(rule, CONSENT, ordered("2026-03-01T11:00"), viewed("2026-03-01T12:00", "c-2"))
        .when(time="2026-03-02")
        .then(requested("cart reminder", about="c-2"))
    )


def test_an_old_order_that_we_learn_of_late_settles_no_newer_cart():
    (
        given(rule, CONSENT, viewed("2026-03-01T10:00"), ordered("2026-02-20", recorded="2026-03-01T11:00"))
        .when(time="2026-03-02")
        .then(requested("cart reminder", about="c-1"))
    )


def test_a_cart_is_reminded_of_once_however_often_it_is_looked_at():
    (
        given(rule, CONSENT, viewed("2026-03-01"))
        .when(time="2026-03-02")
        .then(requested("cart reminder"))
        .when(viewed("2026-03-20"), added("2026-03-21", "c-1"), time="2026-06-01")
        .then_nothing()
        .when(viewed("2026-06-02", "c-2"), time="2026-06-03")
        .then(requested("cart reminder", about="c-2"))
    )


def test_carts_without_an_id_are_one_cart_until_the_next_order():
    (
        given(rule, CONSENT, added("2026-03-01T10:00"), checkout("2026-03-01T11:00", order="o-1"))
        .when(time="2026-03-02")
        .then(requested("cart reminder", about="cart"))
        .when(added("2026-03-10"), time="2026-04-01")
        .then_nothing()
        .when(ordered("2026-04-02"), added("2026-04-10"), time="2026-04-11")
        .then(requested("cart reminder", about="cart"))
    )


def test_a_checkout_without_a_cart_is_about_the_cart_they_touched_last():
    (
        given(
            rule,
            CONSENT,
            viewed("2026-03-01T09:00", "c-1"),
            viewed("2026-03-01T10:00", "c-2"),
            checkout("2026-03-01T10:30", order="o-1", total=30),
        )
        .when(time="2026-03-01T14:30")
        .then(
            requested("cart reminder", about="c-1"),
            # The first reminder is still open: it is one matter.
            skipped("cart reminder", reason="duplicate", about="c-2"),
        )
    )


def test_an_emptied_cart_is_not_left_behind():
    given(rule, CONSENT, viewed("2026-03-01T10:00", total=12), viewed("2026-03-01T10:05", total=0)).when(
        time="2026-04-01"
    ).then_nothing()


def test_an_older_view_of_the_cart_changes_neither_its_value_nor_the_moment():
    (
        given(
            rule,
            CONSENT,
            viewed("2026-03-01T10:00", total=42),
            viewed("2026-03-01T09:30", total=0, recorded="2026-03-01T10:10"),
        )
        .when(time="2026-03-01T14:00")
        .then(
            requested(
                "cart reminder",
                why="They left a cart behind on 2026-03-01 at 10:00, worth 42.00 USD and have not ordered since.",
            )
        )
    )


def test_a_cart_that_we_learn_of_a_week_later_is_not_reminded_of():
    (
        given(rule, CONSENT)
        .when(viewed("2026-03-01", recorded="2026-03-10"), time="2026-03-20")
        .then(skipped("cart reminder", reason="stale", about="c-1"))
    )


def test_without_consent_to_marketing_nobody_is_reminded():
    (
        given(rule, viewed("2026-03-01"))
        .when(time="2026-03-10")
        .then(skipped("cart reminder", reason="consent", about="c-1"))
    )


def test_who_fills_a_thousand_carts_is_remembered_by_the_latest_ten():
    carts = [viewed(f"2026-03-01T10:{n // 60:02}:{n % 60:02}", f"c-{n}") for n in range(1_000)]
    late = viewed("2026-03-01T09:00", "c-late", recorded="2026-03-01T10:30")
    story = given(rule, CONSENT, *carts, late)
    assert set(story.state(rule).carts) == {*(f"c-{n}" for n in range(991, 1_000)), "c-late"}
    story.when(time="2026-03-02")
    assert {decision.data.about for decision in story.decisions} >= {"c-late"}
    assert story.state(rule).carts == {}
