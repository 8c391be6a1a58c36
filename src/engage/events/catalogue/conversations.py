"""Conversations: single letters, calls and meetings between our people and an account, outside any ticket."""

from __future__ import annotations

from typing import Literal

from engage.events.catalogue.agreements import Party
from engage.events.catalogue.base import Count, EventData, Personal, Ref, Seconds

Direction = Literal["inbound", "outbound"]
"""``inbound``: the account came to us."""


class EmailSent(EventData):
    """One of us wrote to the account; ``in_reply_to`` is the message answered."""

    message_id: Ref
    in_reply_to: Ref | None = None
    topic: Ref | None = None
    subject: Personal | None = None
    text: Personal | None = None


class EmailReceived(EventData):
    """The account wrote to us; ``in_reply_to`` is the message answered."""

    message_id: Ref
    in_reply_to: Ref | None = None
    topic: Ref | None = None
    subject: Personal | None = None
    text: Personal | None = None


class CallHeld(EventData):
    """We spoke with the account on the phone."""

    call_id: Ref
    direction: Direction
    duration: Seconds | None = None
    topic: Ref | None = None
    notes: Personal | None = None


class CallMissed(EventData):
    """A call reached nobody: the account's call when ``inbound``, ours when ``outbound``."""

    call_id: Ref
    direction: Direction


class MeetingHeld(EventData):
    """We met the account; ``participants`` counts both sides."""

    meeting_id: Ref
    duration: Seconds | None = None
    participants: Count | None = None
    topic: Ref | None = None
    notes: Personal | None = None


class MeetingCancelled(EventData):
    """An agreed meeting did not take place; ``by`` is the side that called it off."""

    meeting_id: Ref
    by: Party | None = None
    reason: Ref | None = None
