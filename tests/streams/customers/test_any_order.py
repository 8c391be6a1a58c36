"""Whatever comes, however late and in whatever order: no rule fails, and what it remembers is read back as written."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as for_all
from hypothesis import strategies as st

from engage.events.catalogue.commerce import (
    CartViewed,
    ChargebackReceived,
    CheckoutStarted,
    OrderCompleted,
    OrderRefunded,
    Product,
    ProductAdded,
)
from engage.events.catalogue.loyalty import (
    PointsEarned,
    PointsExpiring,
    PointsRedeemed,
    ReferralMade,
    TierLost,
    TierReached,
)
from engage.events.catalogue.newsletters import (
    NewsletterBounced,
    NewsletterClicked,
    NewsletterOpened,
    NewsletterSent,
    NewsletterUnsubscribed,
)
from engage.events.catalogue.support import (
    TicketAnswered,
    TicketCommented,
    TicketEscalated,
    TicketOpened,
    TicketRated,
    TicketReopened,
    TicketResolved,
)
from engage.events.catalogue.surveys import ReviewPosted, SurveyAnswered
from engage.events.catalogue.tutorials import TutorialCompleted, TutorialStarted
from engage.events.catalogue.video import VideoCompleted, VideoPaused, VideoProgressed, VideoStarted
from engage.events.catalogue.web import SignedUp
from engage.rules.cells import Cells
from engage.testing.events import happened, moment
from engage.testing.rules import given
from streams import RULES

CUSTOMERS = [rule for rule in RULES if rule.state.__module__.startswith("streams.customers")]
START = moment("2026-01-01")
HOUR = timedelta(hours=1)
IDS = st.sampled_from(("1", "2", "x" * 200))
MAYBE = st.none() | IDS
TOTALS = st.sampled_from((0.0, 12.5, 400.0))
MOMENTS = st.integers(0, 24 * 90).map(lambda hours: START + hours * HOUR)


def of(kind, /, **fields):
    return st.builds(kind, **fields)


ANYTHING = {
    "commerce": st.one_of(
        of(CartViewed, cart_id=IDS, total=st.none() | TOTALS),
        of(ProductAdded, product_id=IDS, cart_id=MAYBE),
        of(CheckoutStarted, order_id=IDS, cart_id=MAYBE),
        of(
            OrderCompleted,
            order_id=IDS,
            cart_id=MAYBE,
            total=TOTALS,
            currency=st.sampled_from(("USD", "EUR")),
            products=st.lists(of(Product, product_id=IDS), max_size=2).map(tuple),
        ),
        of(OrderRefunded, order_id=IDS, total=TOTALS),
        of(ChargebackReceived, order_id=IDS, total=TOTALS),
        of(SignedUp),
    ),
    "newsletters": st.one_of(
        of(NewsletterSent, newsletter_id=st.integers(0, 30).map(str)),
        of(NewsletterOpened, newsletter_id=st.integers(0, 30).map(str)),
        of(NewsletterClicked, newsletter_id=st.integers(0, 30).map(str), link=st.just("/jazz")),
        of(NewsletterBounced, newsletter_id=st.integers(0, 30).map(str)),
        of(NewsletterUnsubscribed),
    ),
    "learning": st.one_of(
        of(TutorialStarted, tutorial_id=IDS),
        of(TutorialCompleted, tutorial_id=IDS),
        of(VideoStarted, video_id=IDS, length=st.just(100.0)),
        of(VideoProgressed, video_id=IDS, position=st.floats(0, 120)),
        of(VideoPaused, video_id=IDS, position=st.floats(0, 120), length=st.just(100.0)),
        of(VideoCompleted, video_id=IDS),
    ),
    "support": st.one_of(
        of(TicketOpened, ticket_id=IDS, priority=st.sampled_from(("low", "normal", "high", "urgent"))),
        of(TicketAnswered, ticket_id=IDS),
        of(TicketCommented, ticket_id=IDS),
        of(TicketEscalated, ticket_id=IDS, priority=st.sampled_from((None, "urgent"))),
        of(TicketReopened, ticket_id=IDS),
        of(TicketResolved, ticket_id=IDS),
        of(TicketRated, ticket_id=IDS, score=st.integers(1, 5)),
        of(SurveyAnswered, survey_id=IDS, kind=st.just("nps"), score=st.integers(0, 10), order_id=MAYBE),
        of(ReviewPosted, product_id=IDS, rating=st.sampled_from((1.0, 3.0, 5.0))),
    ),
    "loyalty": st.one_of(
        of(PointsEarned, points=st.integers(0, 300), expires=st.none() | MOMENTS),
        of(PointsExpiring, points=st.integers(0, 300), expires=MOMENTS),
        of(PointsRedeemed, points=st.integers(0, 300)),
        of(TierReached, tier=IDS),
        of(TierLost, tier=IDS),
        of(ReferralMade, referral_id=IDS),
        of(OrderCompleted, order_id=IDS, total=TOTALS),
    ),
}


@pytest.mark.parametrize("family", ANYTHING)
def test_no_rule_fails_whatever_comes_in_whatever_order(family):
    hours = st.integers(0, 12) | st.integers(0, 24 * 60)
    told = st.tuples(ANYTHING[family], hours, st.sampled_from((0, 0, 0, 1, 30, 24 * 20)))

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @for_all(st.lists(told, min_size=5, max_size=40))
    def holds(entries):
        events = [
            happened(data, at=START + at * HOUR, recorded=START + (at + late) * HOUR, id=str(number))
            for number, (data, at, late) in enumerate(entries)
        ]
        events.sort(key=lambda event: event.recorded)
        # A rule that raises on any of them fails the story.
        story = given(CUSTOMERS, *events)
        for rule in CUSTOMERS:
            state = story.state(rule)
            cells = Cells({rule.name: rule.state})
            cells.get((rule.name, "acc-1")).state = state
            cells.touch((rule.name, "acc-1"))
            again = Cells({rule.name: rule.state})
            again.load((name, account, value) for name, account, value in cells.changes() if value is not None)
            assert again.get((rule.name, "acc-1")).state == state
        story.when(time="2027-06-01")

    holds()
