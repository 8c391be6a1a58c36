"""Web and product usage: what people look at on our sites and apps, and what they do there."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from engage.events.catalogue.base import Count, EventData, Personal, Ref, Seconds, Text

Url = Annotated[
    str, Meta(min_length=1, max_length=8_192, description="address; put no query that names a person in it")
]


class PageViewed(EventData):
    """Somebody looked at a page; ``referrer`` is where they came from, ``search`` the address's query string."""

    url: Url | None = None
    title: Text | None = None
    path: Url | None = None
    referrer: Url | None = None
    search: Personal | None = None
    category: Text | None = None
    campaign: Ref | None = None


class ScreenViewed(EventData):
    """Somebody looked at a screen of an app."""

    name: Text
    app: Ref | None = None
    category: Text | None = None


class FeatureUsed(EventData):
    """Somebody used a feature of the product; ``spent`` is for how long, ``times`` how often since the last report."""

    feature: Ref
    times: Count = 1
    spent: Seconds | None = None
    plan: Ref | None = None


class SearchPerformed(EventData):
    """Somebody searched the site; ``query`` is what they typed, ``results`` how much was found."""

    query: Personal | None = None
    results: Count | None = None
    category: Text | None = None


class FileDownloaded(EventData):
    """Somebody took a document with them: a price list, a data sheet, a white paper."""

    file: Text
    topic: Text | None = None


class FormSubmitted(EventData):
    """Somebody filled in a form; ``message`` is what they wrote."""

    form: Ref
    topic: Text | None = None
    message: Personal | None = None


class SignedUp(EventData):
    """Somebody opened an account with us; ``origin`` is how they found us."""

    plan: Ref | None = None
    origin: Ref | None = None
    campaign: Ref | None = None


class SignedIn(EventData):
    """Somebody came back and signed in; ``method`` is how, such as ``password`` or ``passkey``."""

    method: Ref | None = None


class SignedOut(EventData):
    """Somebody signed out."""
