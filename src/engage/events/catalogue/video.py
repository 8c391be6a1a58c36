"""Video: what customers watch, and how far they get."""

from __future__ import annotations

from engage.events.catalogue.base import EventData, Ref, Seconds, Text


class VideoStarted(EventData):
    """A customer began a video; ``length`` is that of the whole video."""

    video_id: Ref
    length: Seconds | None = None
    title: Text | None = None
    topic: Text | None = None


class VideoProgressed(EventData):
    """A customer has watched a video up to ``position``, from its beginning."""

    video_id: Ref
    position: Seconds
    length: Seconds | None = None


class VideoPaused(EventData):
    """A customer stopped a video at ``position``, from its beginning."""

    video_id: Ref
    position: Seconds
    length: Seconds | None = None


class VideoCompleted(EventData):
    """A customer watched a video to its end."""

    video_id: Ref
    length: Seconds | None = None
    title: Text | None = None
    topic: Text | None = None
