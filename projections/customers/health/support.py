"""How well we helped a customer who needed us: how long they waited, whether it held, how they rate it."""

from __future__ import annotations

from engage.events.catalogue.follow_up import Priority
from engage.events.catalogue.support import (
    ChatEnded,
    ChatRated,
    TicketAnswered,
    TicketOpened,
    TicketRated,
    TicketReopened,
    TicketResolved,
)
from engage.events.envelope import Event
from engage.views.decay import faded
from engage.views.evidence import Component, Judged, Markings, count, expect, find

SUPPORT = Component("support", "How well we helped them", weight=1, half_life_days=90)

HALVED_BY: dict[Priority, float] = {"urgent": 4 * 3600.0, "high": 8 * 3600.0, "normal": 86_400.0, "low": 2 * 86_400.0}
"""Seconds of waiting for our first answer that halve its mark, by the ticket's priority."""
CHAT_HALVED_BY = 300.0

markings = Markings()


@markings.on(TicketOpened)
def opened(row: Judged, event: Event[TicketOpened]) -> None:
    """They wait for us; what it is worth shows when we answer."""
    expect(row, SUPPORT, event, _ticket(event.data.ticket_id, event.data.priority))


@markings.on(TicketAnswered)
def answered(row: Judged, event: Event[TicketAnswered]) -> None:
    """The first answer counts, by how long they waited."""
    _first_answer(row, event, event.data.ticket_id)


@markings.on(TicketResolved)
def resolved(row: Judged, event: Event[TicketResolved]) -> None:
    """Who resolves a ticket that nobody answered, answers it."""
    _first_answer(row, event, event.data.ticket_id)


@markings.on(TicketReopened)
def reopened(row: Judged, event: Event[TicketReopened]) -> None:
    """We thought that it was settled."""
    count(row, SUPPORT, event, f"reopened {event.data.ticket_id}", 10.0)


@markings.on(TicketRated)
def rated(row: Judged, event: Event[TicketRated]) -> None:
    """How well we did, in their own words, counts double."""
    count(row, SUPPORT, event, f"rating {event.data.ticket_id}", 25.0 * (event.data.score - 1), 2.0)


@markings.on(ChatEnded)
def chat_ended(row: Judged, event: Event[ChatEnded]) -> None:
    """How long they waited in a chat; for ever, when nobody came."""
    wait = event.data.wait
    mark = 0.0 if wait is None else 100.0 * faded(wait, CHAT_HALVED_BY)
    count(row, SUPPORT, event, f"chat {event.data.chat_id}", mark)


@markings.on(ChatRated)
def chat_rated(row: Judged, event: Event[ChatRated]) -> None:
    """How well we did, in their own words, counts double."""
    count(row, SUPPORT, event, f"rating {event.data.chat_id}", 25.0 * (event.data.score - 1), 2.0)


def _ticket(ticket_id: str, priority: Priority) -> str:
    return f"ticket {ticket_id} ({priority})"


def _first_answer(row: Judged, event: Event[TicketAnswered] | Event[TicketResolved], ticket_id: str) -> None:
    for priority, halved_by in HALVED_BY.items():
        about = _ticket(ticket_id, priority)
        waiting = find(row, SUPPORT, about)
        if waiting is not None and waiting.pending:
            waited = max((event.time - waiting.time).total_seconds(), 0.0)
            count(row, SUPPORT, event, about, 100.0 * faded(waited, halved_by))
