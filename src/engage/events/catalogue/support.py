"""Support: tickets and chats, how long people wait, and how they rate the answer."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from engage.events.catalogue.base import EventData, Personal, Ref, Seconds
from engage.events.catalogue.follow_up import Priority

Score = Annotated[int, Meta(ge=1, le=5, description="1-5; higher is better")]


class TicketOpened(EventData):
    """Somebody asked for help; ``topic`` is a short code such as ``billing``, ``channel`` how they reached us.

    ``order_id`` and ``product_id`` are what it is about.
    """

    ticket_id: Ref
    topic: Ref | None = None
    channel: Ref | None = None
    priority: Priority = "normal"
    order_id: Ref | None = None
    product_id: Ref | None = None
    subject: Personal | None = None
    text: Personal | None = None


class TicketAnswered(EventData):
    """We answered a ticket; ``agent`` is the id of whoever did, None when a machine did."""

    ticket_id: Ref
    agent: Ref | None = None
    text: Personal | None = None


class TicketCommented(EventData):
    """The account added something to its open ticket, and waits for us again."""

    ticket_id: Ref
    text: Personal | None = None


class TicketEscalated(EventData):
    """A ticket was raised to ``priority`` or handed to ``team``, because it could not stay where it was."""

    ticket_id: Ref
    priority: Priority | None = None
    team: Ref | None = None
    reason: Ref | None = None


class TicketReopened(EventData):
    """A resolved ticket turned out not to be."""

    ticket_id: Ref
    reason: Ref | None = None
    text: Personal | None = None


class TicketResolved(EventData):
    """A ticket was settled; ``resolution`` is a short code such as ``fixed`` or ``refunded``."""

    ticket_id: Ref
    agent: Ref | None = None
    resolution: Ref | None = None
    text: Personal | None = None


class TicketRated(EventData):
    """The account said how well a ticket was handled."""

    ticket_id: Ref
    score: Score
    comment: Personal | None = None


class ChatStarted(EventData):
    """Somebody opened a chat."""

    chat_id: Ref
    topic: Ref | None = None


class ChatEnded(EventData):
    """A chat is over: ``wait`` is the time to our first answer, None when there was none; ``duration`` is the whole."""

    chat_id: Ref
    wait: Seconds | None = None
    duration: Seconds | None = None
    agent: Ref | None = None
    resolved: bool | None = None
    transcript: Personal | None = None


class ChatRated(EventData):
    """The account said how well a chat went."""

    chat_id: Ref
    score: Score
    comment: Personal | None = None
