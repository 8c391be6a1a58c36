"""Partner training: what a partner's people learn, and which certifications the partner holds."""

from __future__ import annotations

from engage.events.catalogue.base import EventData, Ref, Share, Text
from engage.events.envelope import Instant


class TrainingAssigned(EventData):
    """A partner, or the envelope's ``contact`` there, is to take a course by ``due``."""

    training_id: Ref
    title: Text | None = None
    due: Instant | None = None


class TrainingCompleted(EventData):
    """A partner, or the envelope's ``contact`` there, took a course; ``score`` is the share of right answers."""

    training_id: Ref
    title: Text | None = None
    score: Share | None = None
    passed: bool | None = None


class CertificationEarned(EventData):
    """A partner, or the envelope's ``contact`` there, is certified until ``expires``, None for good."""

    certification: Ref
    expires: Instant | None = None
    level: Ref | None = None


class CertificationLapsed(EventData):
    """A certification holds no more; ``reason`` is a short code such as ``expired`` or ``contact_left``."""

    certification: Ref
    reason: Ref | None = None
