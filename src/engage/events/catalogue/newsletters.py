"""Newsletters: who subscribes, what is sent, and what becomes of each issue (``newsletter_id`` names the issue)."""

from __future__ import annotations

from typing import Literal

from engage.events.catalogue.base import EventData, Personal, Ref, Text

Bounce = Literal["hard", "soft"]


class NewsletterSubscribed(EventData):
    """Somebody asked for a newsletter; ``list_id`` is the list they joined, ``origin`` where they did."""

    list_id: Ref | None = None
    origin: Ref | None = None


class NewsletterUnsubscribed(EventData):
    """Somebody wants a newsletter no more; without ``list_id``, none at all.

    ``newsletter_id`` is the issue they left from, ``reason`` a short code, ``comment`` their own words.
    """

    list_id: Ref | None = None
    newsletter_id: Ref | None = None
    reason: Ref | None = None
    comment: Personal | None = None


class NewsletterSent(EventData):
    """An issue was sent to the account; ``campaign`` is the campaign it belongs to."""

    newsletter_id: Ref
    list_id: Ref | None = None
    campaign: Ref | None = None
    title: Text | None = None


class NewsletterDelivered(EventData):
    """The account's mail server took an issue."""

    newsletter_id: Ref
    list_id: Ref | None = None


class NewsletterBounced(EventData):
    """An issue came back: ``hard`` when the address is no good, ``soft`` when another try may work."""

    newsletter_id: Ref
    bounce: Bounce = "hard"
    list_id: Ref | None = None
    detail: Personal | None = None


class NewsletterOpened(EventData):
    """An issue was opened."""

    newsletter_id: Ref
    list_id: Ref | None = None
    campaign: Ref | None = None


class NewsletterClicked(EventData):
    """A link in an issue was followed; ``link`` is the address or its label, without anything that names a person.

    ``topic`` is what the linked article is about.
    """

    newsletter_id: Ref
    link: Text
    topic: Text | None = None
    list_id: Ref | None = None
    campaign: Ref | None = None


class NewsletterReported(EventData):
    """Somebody reported an issue as spam."""

    newsletter_id: Ref
    list_id: Ref | None = None
