"""Segments: when an account came to belong to a declared group of accounts, or ceased to, by an event or in silence."""

from __future__ import annotations

from typing import ClassVar

from engage.events.catalogue.base import EventData, Ref


class SegmentEntered(EventData):
    """From here on the account is in ``segment``, by the definition that holds now."""

    type_name: ClassVar[str] = "segment.entered"

    segment: Ref


class SegmentLeft(EventData):
    """From here on the account is no longer in ``segment``."""

    type_name: ClassVar[str] = "segment.left"

    segment: Ref
