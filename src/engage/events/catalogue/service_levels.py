"""Service levels: what was measured of a service over a period, and how fast the other side answers."""

from __future__ import annotations

from engage.events.catalogue.agreements import LimitDirection
from engage.events.catalogue.base import EventData, Personal, Ref, Seconds
from engage.events.envelope import Instant


class ServiceLevelMeasured(EventData):
    """A service was measured from ``starts`` up to and without ``ends``: ``measured`` against ``limit``, in ``unit``.

    ``direction`` says on which side of the limit it is good; ``agreement_id`` and ``term`` where the limit was agreed.
    """

    service: Ref
    measured: float
    limit: float
    unit: Ref
    direction: LimitDirection = "at_least"
    starts: Instant | None = None
    ends: Instant | None = None
    agreement_id: Ref | None = None
    term: Ref | None = None

    def __post_init__(self) -> None:
        """Raises ValueError when the period ends before it starts."""
        if self.starts is not None and self.ends is not None and self.ends < self.starts:
            raise ValueError(f"the period in which {self.service!r} was measured ends before it starts")


class ServiceLevelBreached(EventData):
    """A service was on the wrong side of its limit: ``measured`` against ``limit``, in ``unit``."""

    service: Ref
    measured: float
    limit: float
    unit: Ref
    agreement_id: Ref | None = None
    term: Ref | None = None
    note: Personal | None = None


class RequestMade(EventData):
    """We asked the partner for something: an offer, a document, a decision; ``due`` is when we need it."""

    request_id: Ref
    topic: Ref | None = None
    due: Instant | None = None
    text: Personal | None = None


class RequestAnswered(EventData):
    """The partner answered what we asked, after ``waited`` seconds."""

    request_id: Ref
    waited: Seconds
    topic: Ref | None = None
    text: Personal | None = None
