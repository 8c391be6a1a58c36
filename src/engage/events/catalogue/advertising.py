"""Advertising: which campaigns reach whom, at what cost, and what comes of it."""

from __future__ import annotations

from engage.events.catalogue.base import Amount, Count, Currency, EventData, Ref
from engage.events.envelope import Instant


class AdvertShown(EventData):
    """An advert was shown to the account; ``cost`` is what this one showing cost, 0 when it is paid by the click."""

    campaign: Ref
    network: Ref | None = None
    cost: Amount = 0.0
    currency: Currency = "USD"
    advert_id: Ref | None = None


class AdvertClicked(EventData):
    """The account followed an advert; ``cost`` is what this one click cost, 0 when it is paid by the showing."""

    campaign: Ref
    network: Ref | None = None
    cost: Amount = 0.0
    currency: Currency = "USD"
    advert_id: Ref | None = None


class AdvertConverted(EventData):
    """The account did what an advert was for; ``goal`` names it, ``value`` is what it brought in."""

    campaign: Ref
    network: Ref | None = None
    goal: Ref | None = None
    value: Amount | None = None
    currency: Currency = "USD"
    order_id: Ref | None = None
    advert_id: Ref | None = None


class CampaignSpendReported(EventData):
    """What a campaign cost from ``starts`` up to and without ``ends``, beyond the costs that single adverts carry."""

    campaign: Ref
    spend: Amount
    currency: Currency = "USD"
    network: Ref | None = None
    starts: Instant | None = None
    ends: Instant | None = None
    shown: Count | None = None
    clicked: Count | None = None

    def __post_init__(self) -> None:
        """Raises ValueError when the period ends before it starts."""
        if self.starts is not None and self.ends is not None and self.ends < self.starts:
            raise ValueError(f"the spend of campaign {self.campaign!r} ends before it starts")
