"""How much a customer takes part: newsletters opened or ignored, videos, tutorials, adverts followed, visits."""

from __future__ import annotations

from typing import Any

from engage.events.catalogue.advertising import AdvertClicked
from engage.events.catalogue.commerce import CartViewed, CheckoutStarted, ProductAdded, ProductViewed
from engage.events.catalogue.newsletters import (
    NewsletterClicked,
    NewsletterOpened,
    NewsletterReported,
    NewsletterSent,
    NewsletterUnsubscribed,
)
from engage.events.catalogue.tutorials import (
    TutorialAbandoned,
    TutorialCompleted,
    TutorialStarted,
    TutorialStepCompleted,
)
from engage.events.catalogue.video import VideoCompleted, VideoProgressed, VideoStarted
from engage.events.catalogue.web import FeatureUsed, PageViewed, ScreenViewed, SignedIn
from engage.events.envelope import Event
from engage.views.evidence import Component, Judged, Markings, count, count_daily, expect, find, raise_mark, settle

ENGAGEMENT = Component("engagement", "How much they take part", weight=1, half_life_days=45, prior=2)
"""Falls in silence, and with each newsletter that is ignored."""

BEGUN, DONE = 60.0, 100.0
IGNORED_WEIGHT, VISIT_WEIGHT = 0.3, 0.3
"""To ignore one newsletter, or to come by once, says less than to watch or learn something."""

markings = Markings()


@markings.on(NewsletterSent)
def sent(row: Judged, event: Event[NewsletterSent]) -> None:
    """An issue that is still closed when the next one goes out was ignored."""
    settle(row, ENGAGEMENT, "newsletter ", 0.0, IGNORED_WEIGHT)
    expect(row, ENGAGEMENT, event, f"newsletter {event.data.newsletter_id}")


@markings.on(NewsletterOpened)
def opened(row: Judged, event: Event[NewsletterOpened]) -> None:
    """An issue was opened."""
    raise_mark(row, ENGAGEMENT, event, f"newsletter {event.data.newsletter_id}", BEGUN)


@markings.on(NewsletterClicked)
def clicked(row: Judged, event: Event[NewsletterClicked]) -> None:
    """An issue led somewhere."""
    raise_mark(row, ENGAGEMENT, event, f"newsletter {event.data.newsletter_id}", DONE)


@markings.on(NewsletterUnsubscribed)
def unsubscribed(row: Judged, event: Event[NewsletterUnsubscribed]) -> None:
    """They want to hear less of us."""
    count(row, ENGAGEMENT, event, "subscription", 0.0, 2.0)


@markings.on(NewsletterReported)
def reported(row: Judged, event: Event[NewsletterReported]) -> None:
    """They want to hear nothing of us, and say so to others."""
    count(row, ENGAGEMENT, event, "subscription", 0.0, 4.0)


@markings.on(AdvertClicked)
def advert_followed(row: Judged, event: Event[AdvertClicked]) -> None:
    """An advert led somewhere."""
    raise_mark(row, ENGAGEMENT, event, f"campaign {event.data.campaign}", DONE, 0.5)


@markings.on(VideoStarted)
def video_started(row: Judged, event: Event[VideoStarted]) -> None:
    """A video was begun."""
    raise_mark(row, ENGAGEMENT, event, f"video {event.data.video_id}", BEGUN)


@markings.on(VideoProgressed)
def video_progressed(row: Judged, event: Event[VideoProgressed]) -> None:
    """A video was watched up to some point, which says more the longer it is."""
    data = event.data
    seen = min(data.position / data.length, 1.0) if data.length else 0.0
    raise_mark(row, ENGAGEMENT, event, f"video {data.video_id}", BEGUN + (DONE - BEGUN) * seen)


@markings.on(VideoCompleted)
def video_completed(row: Judged, event: Event[VideoCompleted]) -> None:
    """A video was watched to its end."""
    raise_mark(row, ENGAGEMENT, event, f"video {event.data.video_id}", DONE)


@markings.on(TutorialStarted)
def tutorial_started(row: Judged, event: Event[TutorialStarted]) -> None:
    """A tutorial was begun."""
    raise_mark(row, ENGAGEMENT, event, f"tutorial {event.data.tutorial_id}", BEGUN, 1.5)


@markings.on(TutorialStepCompleted)
def tutorial_went_on(row: Judged, event: Event[TutorialStepCompleted]) -> None:
    """A tutorial is being worked through: it is as fresh as its last step."""
    about = f"tutorial {event.data.tutorial_id}"
    known = find(row, ENGAGEMENT, about)
    if known is None or (known.mark < DONE and known.time < event.time):
        count(row, ENGAGEMENT, event, about, BEGUN, 1.5)


@markings.on(TutorialCompleted)
def tutorial_completed(row: Judged, event: Event[TutorialCompleted]) -> None:
    """A tutorial was worked through."""
    raise_mark(row, ENGAGEMENT, event, f"tutorial {event.data.tutorial_id}", DONE, 1.5)


@markings.on(TutorialAbandoned)
def tutorial_abandoned(row: Judged, event: Event[TutorialAbandoned]) -> None:
    """A tutorial was left before its end."""
    count(row, ENGAGEMENT, event, f"tutorial {event.data.tutorial_id}", 30.0, 1.5)


def visited(row: Judged, event: Event[Any]) -> None:
    """They were here today, however much they looked at."""
    count_daily(row, ENGAGEMENT, event, DONE, VISIT_WEIGHT)


markings.update(
    dict.fromkeys(
        (PageViewed, ScreenViewed, FeatureUsed, SignedIn, ProductViewed, ProductAdded, CartViewed, CheckoutStarted),
        visited,
    )
)
