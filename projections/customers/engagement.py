"""How much does each account take part, by channel: how often did we reach it, and how often did it respond?

What counts is a thing, not an event: an issue that is opened three times was opened, an advert that is shown all day
reached somebody once. What a thing is, and what it takes to respond to it, depends on the channel:

| channel | reached | responded |
|---|---|---|
| ads | a campaign's adverts shown on a day | followed on that day |
| newsletters | an issue sent and not come back | opened, or a link in it followed |
| videos | a video begun | watched to its end |
| tutorials | a tutorial begun | worked through |
| surveys | a survey sent, by the order or ticket that it asks about | answered |
| site | a day with a visit, to sites, apps or the shop | more than looking around that day: a search, a cart, a form |
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from msgspec import Struct, field

from engage.events.catalogue import type_of
from engage.events.catalogue.advertising import AdvertClicked, AdvertConverted, AdvertShown
from engage.events.catalogue.base import EventData
from engage.events.catalogue.commerce import (
    CartViewed,
    CheckoutStarted,
    ProductAdded,
    ProductAddedToWishlist,
    ProductListViewed,
    ProductsSearched,
    ProductViewed,
    PromotionClicked,
    PromotionViewed,
)
from engage.events.catalogue.newsletters import (
    NewsletterBounced,
    NewsletterClicked,
    NewsletterDelivered,
    NewsletterOpened,
    NewsletterSent,
)
from engage.events.catalogue.surveys import SurveyAnswered, SurveySent
from engage.events.catalogue.tutorials import TutorialCompleted, TutorialStarted, TutorialStepCompleted
from engage.events.catalogue.video import VideoCompleted, VideoProgressed, VideoStarted
from engage.events.catalogue.web import (
    FeatureUsed,
    FileDownloaded,
    FormSubmitted,
    PageViewed,
    ScreenViewed,
    SearchPerformed,
    SignedIn,
    SignedUp,
)
from engage.events.envelope import Event, is_account
from engage.views.decay import Decayed, half_life
from engage.views.projection import Projection

Channel = Literal["ads", "newsletters", "videos", "tutorials", "surveys", "site"]

HALF_LIFE = half_life(timedelta(days=60))
"""After this time a thing counts half as much in ``rate``."""
REMEMBERED = 20
"""Things of which is known that they were counted; what comes of an older one counts as a new thing."""
ANOTHER_TIME = timedelta(days=30)
"""So much later, the same video, tutorial or survey is not the same any more: it is watched again, or asked anew."""

_CALLED_OFF, _REACHED, _RESPONDED = 0, 1, 2


class Thing(Struct, array_like=True, gc=False):
    """Something that the account was reached with ``at`` (seconds since 1970), and how far that went (0-2)."""

    name: str
    at: float
    stage: int


class Engagement(Struct):
    """How one account takes part in one channel.

    account_channel: "account|channel"
    account: the account's id
    channel: ads, newsletters, videos, tutorials, surveys or site
    reached: how many things reached it, each once: see the file for what a thing is in each channel
    responded: how many of them it responded to
    last_reached: when it was last reached; null if it never was
    last_responded: when it last responded; null if it never did
    rate: the share of what reached it that it responded to, 0-1, each thing half after 60 days; null if nothing did
    recent: how many things that amounts to at last_reached, each half after 60 days: the rate of few says little
    things: the latest things, by which nothing is counted twice: name, seconds since 1970, and
        2 responded, 1 reached, 0 came back
    reached_sum: the decayed sum of what reached it, half after 60 days
    responded_sum: the same of what it responded to; rate is this by that
    """

    account_channel: str
    account: str = ""
    channel: Channel = "site"
    reached: int = 0
    responded: int = 0
    last_reached: datetime | None = None
    last_responded: datetime | None = None
    rate: float | None = None
    recent: float = 0.0
    things: list[Thing] = field(default_factory=list)
    reached_sum: Decayed = field(default_factory=Decayed)
    responded_sum: Decayed = field(default_factory=Decayed)


def _day(event: Event[Any]) -> str:
    return event.time.astimezone(UTC).date().isoformat()


def _asked(event: Event[SurveySent] | Event[SurveyAnswered]) -> str:
    data = event.data
    return f"{data.survey_id}|{data.order_id or data.ticket_id or ''}"


_NAMES: dict[Channel, Callable[[Event[Any]], str]] = {
    "ads": lambda event: f"{event.data.campaign}|{_day(event)}",
    "newsletters": lambda event: event.data.newsletter_id,
    "videos": lambda event: event.data.video_id,
    "tutorials": lambda event: event.data.tutorial_id,
    "surveys": _asked,
    "site": _day,
}
_REPEATED: frozenset[Channel] = frozenset({"videos", "tutorials", "surveys"})

_REACHES: dict[Channel, tuple[type[EventData], ...]] = {
    "ads": (AdvertShown,),
    "newsletters": (NewsletterSent,),
    "videos": (VideoStarted, VideoProgressed),
    "tutorials": (TutorialStarted, TutorialStepCompleted),
    "surveys": (SurveySent,),
    "site": (PageViewed, ScreenViewed, SignedIn, ProductViewed, ProductListViewed, CartViewed, PromotionViewed),
}
_RESPONDS: dict[Channel, tuple[type[EventData], ...]] = {
    "ads": (AdvertClicked, AdvertConverted),
    "newsletters": (NewsletterOpened, NewsletterClicked),
    "videos": (VideoCompleted,),
    "tutorials": (TutorialCompleted,),
    "surveys": (SurveyAnswered,),
    "site": (
        *(SearchPerformed, FeatureUsed, FileDownloaded, FormSubmitted, SignedUp, ProductsSearched, ProductAdded),
        *(ProductAddedToWishlist, PromotionClicked, CheckoutStarted),
    ),
}
_ARRIVES: dict[Channel, tuple[type[EventData], ...]] = {"newsletters": (NewsletterDelivered, NewsletterBounced)}
_CHANNELS: dict[str, Channel] = {
    type_of(kind): channel
    for told in (_REACHES, _RESPONDS, _ARRIVES)
    for channel, kinds in told.items()
    for kind in kinds
}


def _place(event: Event[Any]) -> str | None:
    return f"{event.subject}|{_CHANNELS[event.type]}" if is_account(event.subject) else None


engagement = Projection(
    "engagement", version=1, row=Engagement, key=_place, indexes=("account", ("channel", "rate"), "last_responded")
)


@engagement.on(*(kind for kinds in _REACHES.values() for kind in kinds))
def reached(row: Engagement, event: Event[Any]) -> Engagement:
    """It was reached; a second time with the same thing, or after it was called off, changes nothing."""
    if _thing(row, event) is None:
        _reach(row, _remember(row, event), event)
    return _rated(row)


@engagement.on(*(kind for kinds in _RESPONDS.values() for kind in kinds))
def responded(row: Engagement, event: Event[Any]) -> Engagement:
    """It responded, so it was reached, whether that was reported or not."""
    thing = _thing(row, event) or _remember(row, event)
    if thing.stage == _CALLED_OFF:
        _reach(row, thing, event)
    if thing.stage == _REACHED:
        thing.stage = _RESPONDED
        row.responded += 1
        row.responded_sum.add(1.0, thing.at, HALF_LIFE)
    row.last_responded = max(row.last_responded or event.time, event.time)
    return _rated(row)


@engagement.on(NewsletterDelivered)
def delivered(row: Engagement, event: Event[NewsletterDelivered]) -> Engagement:
    """An issue arrived, at the second try perhaps."""
    thing = _thing(row, event) or _remember(row, event)
    if thing.stage == _CALLED_OFF:
        _reach(row, thing, event)
    return _rated(row)


@engagement.on(NewsletterBounced)
def bounced(row: Engagement, event: Event[NewsletterBounced]) -> Engagement:
    """An issue came back, so it reached nobody."""
    thing = _thing(row, event) or _remember(row, event)
    if thing.stage == _REACHED:
        thing.stage = _CALLED_OFF
        row.reached -= 1
        row.reached_sum.add(1.0, thing.at, HALF_LIFE, -1.0)
    return _rated(row)


def _thing(row: Engagement, event: Event[Any]) -> Thing | None:
    """What is remembered of the thing that the event is about."""
    if not row.account:
        row.account, row.channel = event.subject, _CHANNELS[event.type]
    name = _NAMES[row.channel](event)
    for thing in reversed(row.things):
        if thing.name == name:
            again = row.channel in _REPEATED and event.time.timestamp() - thing.at > ANOTHER_TIME.total_seconds()
            unfinished = thing.stage == _REACHED and type(event.data) in _RESPONDS[row.channel]
            return None if again and not unfinished else thing
    return None


def _remember(row: Engagement, event: Event[Any]) -> Thing:
    thing = Thing(_NAMES[row.channel](event), event.time.timestamp(), _CALLED_OFF)
    row.things.append(thing)
    if len(row.things) > REMEMBERED:
        row.things.remove(min(row.things, key=lambda one: one.at))
    return thing


def _reach(row: Engagement, thing: Thing, event: Event[Any]) -> None:
    thing.stage = _REACHED
    row.reached += 1
    row.reached_sum.add(1.0, thing.at, HALF_LIFE)
    row.last_reached = max(row.last_reached or event.time, event.time)


def _rated(row: Engagement) -> Engagement:
    """The sums share one clock, that of the last thing that reached the account."""
    at = row.reached_sum.as_of
    row.recent = max(row.reached_sum.total, 0.0) if row.reached else 0.0
    row.rate = (
        min(max(row.responded_sum.total_at(at, HALF_LIFE) / row.recent, 0.0), 1.0)
        if row.reached and row.recent > 0
        else None
    )
    return row
