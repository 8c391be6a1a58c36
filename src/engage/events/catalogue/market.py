"""The market: what happens outside any account; the subject of these events is ``market:<name>``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from engage.events.catalogue.base import Amount, Currency, EventData, Ref, Text
from engage.events.envelope import Instant

Region = Annotated[str, Meta(min_length=2, max_length=64, description="country (ISO 3166-1) or a market's own name")]
Rate = Annotated[float, Meta(gt=0, le=1e12, description="units of `quote` for one unit of `base`")]


class IndicatorReported(EventData):
    """An outside indicator had ``value``, in ``unit``, at ``at`` (left out: at the event's time)."""

    indicator: Ref
    value: float
    unit: Ref
    at: Instant | None = None
    region: Region | None = None


class CategoryPriceReported(EventData):
    """What one unit of a product category costs in the market at ``at`` (left out: at the event's time)."""

    category: Text
    price: Amount
    currency: Currency = "USD"
    unit: Ref | None = None
    at: Instant | None = None
    region: Region | None = None


class ExchangeRateReported(EventData):
    """One unit of the currency ``base`` is worth ``rate`` units of ``quote``."""

    base: Currency
    quote: Currency
    rate: Rate
