"""Dead letters: what operators decided about an event that a consumer could not take."""

from __future__ import annotations

from typing import ClassVar

from engage.events.catalogue.base import Count, EventData, Ref, Text


class DeadLetterRetried(EventData):
    """From here on ``consumer`` goes on with the subject, having taken its past anew, if it can by now.

    ``consumer`` is ``rule NAME``, ``view NAME``, ``intake``, ``desk``, ``webhooks`` or ``erasures``; ``partition`` and
    ``offset`` are where the event stands that it could not take: in the log, or for intake among the dead letters.
    """

    type_name: ClassVar[str] = "dead_letter.retried"

    consumer: Ref
    partition: Count
    offset: Count
    event_id: str = ""


class DeadLetterSkipped(EventData):
    """``consumer`` goes on with the subject as if that one event had not been; ``reason`` says why it may.

    ``consumer``, ``partition`` and ``offset`` as for one that is retried.
    """

    type_name: ClassVar[str] = "dead_letter.skipped"

    consumer: Ref
    partition: Count
    offset: Count
    reason: Text
    event_id: str = ""
