"""Negotiations: rounds of offers between the two sides, and how they end."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from engage.events.catalogue.agreements import Party
from engage.events.catalogue.base import Amount, Currency, EventData, Personal, Ref, Text
from engage.events.envelope import Instant

Outcome = Literal["agreed", "declined", "abandoned"]
Round = Annotated[int, Meta(ge=1, le=10_000, description="the round's number, counted from 1")]


class NegotiationOpened(EventData):
    """The two sides began to negotiate; ``agreement_id`` is the agreement that is at issue, when there is one."""

    negotiation_id: Ref
    topic: Text | None = None
    agreement_id: Ref | None = None
    by: Party | None = None


class OfferMade(EventData):
    """In one round, ``party`` made an offer of ``value``, open until ``expires``."""

    negotiation_id: Ref
    round: Round
    party: Party
    value: Amount | None = None
    currency: Currency = "USD"
    expires: Instant | None = None
    text: Personal | None = None


class NegotiationClosed(EventData):
    """The negotiation is over; ``value`` is what was agreed, ``rounds`` how many it took."""

    negotiation_id: Ref
    outcome: Outcome
    value: Amount | None = None
    currency: Currency = "USD"
    rounds: Round | None = None
    agreement_id: Ref | None = None
