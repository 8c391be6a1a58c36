"""Cross-selling: what similar accounts have and this one lacks, found by comparing accounts with one another."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from engage.events.catalogue.base import Count, EventData, Text

OpeningKind = Literal["category", "programme"]
"""``category``: of products. ``programme``: a training, a loyalty tier, a service."""
Lift = Annotated[float, Meta(ge=0, le=1e6, description="times as often as among all accounts")]


class CrossSellOpeningFound(EventData):
    """Of ``similar`` accounts that were compared with this one, ``support`` have ``opening``; this one does not.

    ``lift`` is their share by the share of all accounts that have it.
    """

    type_name: ClassVar[str] = "cross_sell.opening_found"

    kind: OpeningKind
    opening: Text
    support: Count
    similar: Count
    lift: Lift
