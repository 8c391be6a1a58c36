"""Consent: by which channel, and for what, an account lets us come to it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from engage.events.catalogue.base import EventData, Ref
from engage.events.catalogue.follow_up import Purpose

ConsentChannel = Annotated[
    str,
    Meta(min_length=1, max_length=256, description='"email", "sms", "phone", "post", "push" ...; "*" is every channel'),
]


class ConsentGiven(EventData):
    """The account allows us to use a channel for a purpose.

    ``origin`` is where it said so, ``wording`` the id of the text that it agreed to: the proof of consent.
    """

    channel: ConsentChannel
    purpose: Purpose
    origin: Ref | None = None
    wording: Ref | None = None


class ConsentWithdrawn(EventData):
    """The account forbids us to use a channel for a purpose; ``origin`` is where it said so."""

    channel: ConsentChannel
    purpose: Purpose
    origin: Ref | None = None
    reason: Ref | None = None
