"""What is each account interested in, going by what it looks at, buys, watches, reads and learns?

One row an account, with its tastes in it: an event may speak of several categories at once, and a share is of the
account's whole. A category of products and the topic of a video, tutorial, issue or document are the same thing here,
by the name that they were given. A purchase that is sent back was made out of interest all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

from msgspec import Struct, field

from engage.events.catalogue.base import EventData
from engage.events.catalogue.commerce import (
    OrderCompleted,
    ProductAdded,
    ProductAddedToWishlist,
    ProductListViewed,
    ProductsSearched,
    ProductViewed,
)
from engage.events.catalogue.newsletters import NewsletterClicked
from engage.events.catalogue.tutorials import TutorialCompleted, TutorialStarted
from engage.events.catalogue.video import VideoCompleted, VideoStarted
from engage.events.catalogue.web import FileDownloaded, FormSubmitted, PageViewed, ScreenViewed, SearchPerformed
from engage.events.envelope import EPOCH, Event
from engage.views.decay import half_life
from engage.views.projection import Projection, account_of

HALF_LIFE = half_life(timedelta(days=90))
KEPT = 24
"""Tastes that are kept of an account: the strongest."""

CATEGORY_POINTS: dict[type[EventData], float] = {
    PageViewed: 0.5,
    ScreenViewed: 0.5,
    ProductListViewed: 0.5,
    ProductViewed: 1.0,
    SearchPerformed: 1.0,
    ProductsSearched: 1.0,
    ProductAddedToWishlist: 2.0,
    ProductAdded: 3.0,
}
"""What an event of this type says for its ``category``: the more it takes to do it, the more."""
TOPIC_POINTS: dict[type[EventData], float] = {
    NewsletterClicked: 1.0,
    VideoStarted: 1.0,
    VideoCompleted: 1.0,
    FileDownloaded: 1.0,
    FormSubmitted: 1.0,
    TutorialStarted: 1.0,
    TutorialCompleted: 2.0,
}
"""What an event of this type says for its ``topic``."""
PURCHASE_POINTS = 5.0
"""What an order says for each category in it, however much of that it holds."""


class Taste(Struct, gc=False):
    """How much a category interests the account: ``weight`` in points as of ``as_of``, ``share`` of the whole, 0-1.

    ``purchases`` counts orders that hold it; ``last`` is the latest sign of it.
    """

    category: str
    weight: float = 0.0
    share: float = 0.0
    purchases: int = 0
    last: datetime = EPOCH


class Interests(Struct):
    """One account's tastes. Silence leaves their shares as they are; their weights halve every 90 days.

    account: the account's id
    favourite: the category it is most interested in; null while none is known
    favourite_share: that one's share of the whole, 0-1; null while none is known
    tastes: the 24 strongest, the strongest first: category, weight, share (0-1), purchases, last
    whole: all weights together, in points (a product looked at is 1, an order 5), as of as_of
    as_of: when the latest sign of any interest was given; every weight is as it was then
    """

    account: str
    favourite: str | None = None
    favourite_share: float | None = None
    tastes: list[Taste] = field(default_factory=list)
    whole: float = 0.0
    as_of: datetime = EPOCH


interests = Projection("interests", version=1, row=Interests, key=account_of, indexes=("favourite",))


@interests.on(*CATEGORY_POINTS)
def looked(row: Interests, event: Event[Any]) -> Interests | None:
    """They looked at something, searched for it or kept it."""
    category = event.data.category
    return _liked(row, event, (category,), CATEGORY_POINTS[type(event.data)]) if category else _kept(row)


@interests.on(*TOPIC_POINTS)
def learned(row: Interests, event: Event[Any]) -> Interests | None:
    """They watched, read or learned something."""
    topic = event.data.topic
    return _liked(row, event, (topic,), TOPIC_POINTS[type(event.data)]) if topic else _kept(row)


@interests.on(OrderCompleted)
def bought(row: Interests, event: Event[OrderCompleted]) -> Interests | None:
    """They bought something: each category of the order counts once."""
    categories = dict.fromkeys(product.category for product in event.data.products if product.category)
    return _liked(row, event, categories, PURCHASE_POINTS, 1) if categories else _kept(row)


def _kept(row: Interests) -> Interests | None:
    """A sign of nothing: it makes no row."""
    return row if row.tastes else None


def _liked(
    row: Interests, event: Event[Any], categories: Iterable[str], points: float, purchases: int = 0
) -> Interests:
    time = event.time
    if time >= row.as_of:
        left = 2.0 ** -((time - row.as_of).total_seconds() / HALF_LIFE)
        row.as_of = time.astimezone(UTC)
        row.whole *= left
        for taste in row.tastes:
            taste.weight *= left
    else:
        points *= 2.0 ** -((row.as_of - time).total_seconds() / HALF_LIFE)
    for category in categories:
        taste = _taste(row, category)
        taste.weight += points
        taste.purchases += purchases
        taste.last = max(taste.last, time)
        row.whole += points
    tastes = row.tastes
    tastes.sort(key=attrgetter("category"))
    tastes.sort(key=attrgetter("weight"), reverse=True)
    del tastes[KEPT:]
    for taste in tastes:
        taste.share = taste.weight / row.whole if row.whole > 0 else 0.0
    row.favourite, row.favourite_share = tastes[0].category, tastes[0].share
    return row


def _taste(row: Interests, category: str) -> Taste:
    for taste in row.tastes:
        if taste.category == category:
            return taste
    taste = Taste(category)
    row.tastes.append(taste)
    return taste
