"""Health: in which band an account's relationship stands, and when it passed into another."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from engage.events.catalogue.base import EventData, Ref

KnownBand = Literal["thriving", "steady", "slipping", "at_risk"]
Band = Literal[KnownBand, "unknown"]
Points = Annotated[float, Meta(ge=0, le=100, description="0-100")]


class HealthBandCrossed(EventData):
    """The account's health left the band ``before`` for ``band``, its score is ``score`` now.

    ``before`` is ``unknown`` where nothing was known of it until then.

    ``component`` is what moved the score most, such as ``purchasing`` or ``delivery``, and ``value`` where that stands.
    """

    type_name: ClassVar[str] = "health.band_crossed"

    before: Band
    band: KnownBand
    score: Points
    component: Ref
    value: Points


class HealthBandStands(EventData):
    """The account's health stands in ``band`` since the event's time, with ``score`` as of now, and nobody was told.

    Said once where the past was folded in silence, or a new way of counting sees it otherwise: it is no crossing.
    """

    type_name: ClassVar[str] = "health.band_stands"

    band: KnownBand
    score: Points
