"""Tell the manager when somebody who asked for help has waited too long for an answer, or had to ask for it again.

Silence costs more than a no, and a ticket that comes back has cost them twice: its priority rises.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from engage.events.catalogue.follow_up import Priority
from engage.events.catalogue.support import (
    TicketAnswered,
    TicketCommented,
    TicketEscalated,
    TicketOpened,
    TicketReopened,
    TicketResolved,
)
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Forget, Rule, RuleSettings, Wake, Woken

_REMEMBERED = 20
_RAISED: dict[Priority, Priority] = {"low": "normal", "normal": "high", "high": "urgent", "urgent": "urgent"}


def _answer_within() -> dict[Priority, timedelta]:
    return {
        "urgent": timedelta(hours=4),
        "high": timedelta(hours=8),
        "normal": timedelta(hours=24),
        "low": timedelta(hours=48),
    }


class Settings(RuleSettings):
    """``answer_within`` (hours): how long a ticket of each priority may wait; one that is reopened rises by one.

    ``expires`` (days): how long the manager can help.
    """

    answer_within: dict[Priority, timedelta] = msgspec.field(default_factory=_answer_within)
    expires: timedelta = timedelta(days=14)


class Ticket(Struct, omit_defaults=True, gc=False):
    """A ticket: since when it waits for us, when they last asked, and whether the manager was told of this wait.

    ``answered`` and ``reopened`` are when we last answered and when it last came back.
    """

    priority: Priority = "normal"
    since: datetime | None = None
    asked: datetime | None = None
    answered: datetime | None = None
    reopened: datetime | None = None
    resolved: bool = False
    told: bool = False


class State(Struct, omit_defaults=True, gc=False):
    """The account's latest tickets, by id: answered ones too, for they may come back."""

    tickets: dict[str, Ticket] = {}


rule = Rule("support-answer-overdue", version=2, settings=Settings(), state=State)


@rule.on(TicketOpened)
def opened(state: State, event: Event[TicketOpened], settings: Settings) -> Iterable[Effect]:
    """They ask for help."""
    ticket = _ticket(state, event.data.ticket_id)
    ticket.priority = _RAISED[event.data.priority] if ticket.reopened else event.data.priority
    return _wait(ticket, event.data.ticket_id, event.time, settings)


@rule.on(TicketReopened)
def reopened(state: State, event: Event[TicketReopened], settings: Settings) -> Iterable[Effect]:
    """What we did was not enough: they wait again, and the manager hears of it at once, unless we answered since."""
    ticket_id = event.data.ticket_id
    ticket = _ticket(state, ticket_id)
    if ticket.reopened is not None and event.time <= ticket.reopened:
        return
    ticket.reopened, ticket.priority = event.time, _RAISED[ticket.priority]
    if ticket.answered is not None and ticket.answered >= event.time:
        return
    ticket.resolved = False
    yield from _wait(ticket, ticket_id, event.time, settings)
    yield FollowUpRequest(
        what="ticket reopened",
        why=f"Ticket {ticket_id} was resolved and came back on {event.time:%Y-%m-%d %H:%M}; "
        f"its priority is {ticket.priority} now.",
        about=ticket_id,
        purpose="service",
        priority="urgent" if ticket.priority == "urgent" else "high",
        due=timedelta(hours=1) if ticket.priority == "urgent" else timedelta(hours=4),
        expires=settings.expires,
    )


@rule.on(TicketCommented)
def commented(state: State, event: Event[TicketCommented], settings: Settings) -> Iterable[Effect]:
    """They added something; a word of thanks on a resolved ticket asks for nothing."""
    ticket = _ticket(state, event.data.ticket_id)
    return () if ticket.resolved else _wait(ticket, event.data.ticket_id, event.time, settings)


@rule.on(TicketEscalated)
def escalated(state: State, event: Event[TicketEscalated], settings: Settings) -> Iterable[Effect]:
    """It became more pressing: they have waited since they asked."""
    ticket = _ticket(state, event.data.ticket_id)
    ticket.priority = event.data.priority or ticket.priority
    return _wait(ticket, event.data.ticket_id, ticket.since, settings) if ticket.since else ()


@rule.on(TicketAnswered, TicketResolved)
def answered(state: State, event: Event[TicketAnswered | TicketResolved], settings: Settings) -> Iterable[Effect]:
    """We answered; an answer that was given before they asked again does not count."""
    ticket = _ticket(state, event.data.ticket_id)
    ticket.answered = max(ticket.answered or event.time, event.time)
    if ticket.asked is None or ticket.asked <= ticket.answered:
        ticket.since, ticket.told = None, False
        ticket.resolved = isinstance(event.data, TicketResolved)
        yield Forget(event.data.ticket_id)
    elif ticket.since is not None and ticket.since <= ticket.answered:
        ticket.since, ticket.told = ticket.asked, False
        yield Wake(ticket.since + settings.answer_within[ticket.priority], about=event.data.ticket_id)


@rule.on_wake
def overdue(state: State, wake: Woken, settings: Settings) -> Iterable[Effect]:
    """The time to answer has run out."""
    ticket = _ticket(state, wake.about)
    assert ticket.since is not None, "a ticket with a wake waits"
    ticket.told = True
    hours = (wake.due - ticket.since) / timedelta(hours=1)
    yield FollowUpRequest(
        what="support answer overdue",
        why=f"Ticket {wake.about} ({ticket.priority}) has waited for an answer for {hours:.0f} hours, "
        f"since {ticket.since:%Y-%m-%d %H:%M}.",
        about=wake.about,
        purpose="service",
        priority="urgent" if ticket.priority == "urgent" or ticket.reopened else "high",
        due=timedelta(hours=1) if ticket.priority == "urgent" else timedelta(hours=4),
        expires=settings.expires,
    )


def _ticket(state: State, ticket_id: str) -> Ticket:
    """The ticket, new if unknown; of those for which nothing is due any more only the latest are remembered."""
    if ticket_id not in state.tickets:
        state.tickets[ticket_id] = Ticket()
        quiet = [known for known, ticket in state.tickets.items() if ticket.since is None or ticket.told]
        for known in quiet[:-_REMEMBERED]:
            del state.tickets[known]
    return state.tickets[ticket_id]


def _wait(ticket: Ticket, ticket_id: str, since: datetime, settings: Settings) -> Iterable[Effect]:
    if ticket.answered is None or ticket.answered < since:
        ticket.since = min(ticket.since or since, since)
        ticket.asked = max(ticket.asked or since, since)
    if ticket.since is not None and not ticket.told:
        yield Wake(ticket.since + settings.answer_within[ticket.priority], about=ticket_id)
