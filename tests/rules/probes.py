"""Small rules that show what the engine does with rules."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from msgspec import Struct

from engage.events.catalogue.commerce import OrderCancelled, OrderCompleted, OrderUpdated
from engage.events.catalogue.consent import ConsentGiven, ConsentWithdrawn
from engage.events.catalogue.follow_up import Priority, Purpose
from engage.events.catalogue.profile import AccountIdentified
from engage.events.catalogue.support import TicketOpened
from engage.rules.rule import MANAGER, FollowUpRequest, Forget, NoState, Rule, RuleSettings, Wake
from engage.testing.events import happened


class Settings(RuleSettings):
    """How long a reminder waits, and how long it makes sense."""

    after: timedelta = timedelta(days=3)
    expires: timedelta = timedelta(days=14)


class Seen(Struct, omit_defaults=True):
    """How many events the rule was handed."""

    count: int = 0


def reminder(name: str = "reminder", *, version: int = 1, **settings: Any) -> Rule[NoState, Settings]:
    """Asks some days after an order, unless it is cancelled."""
    rule = Rule(name, version=version, settings=Settings(**settings), state=NoState)

    @rule.on(OrderCompleted, OrderUpdated)
    def ordered(state, event, settings):
        yield Wake(event.time + settings.after, about=event.data.order_id)

    @rule.on(OrderCancelled)
    def cancelled(state, event, settings):
        yield Forget(event.data.order_id)

    @rule.on_wake
    def woken(state, wake, settings):
        yield ask(wake.about, why=f"Due at {wake.due}, it is {wake.now}.", expires=settings.expires)

    return rule


def asking(
    name: str = "asking",
    *,
    priority: Priority = "normal",
    purpose: Purpose = "service",
    channels: tuple[str, ...] = (MANAGER,),
    about: str | None = None,
    matter: str | None = None,
    expires: timedelta = timedelta(days=14),
) -> Rule[Seen, Settings]:
    """Asks at once for every ticket, and says how many it has seen."""
    rule = Rule(name, version=1, settings=Settings(), state=Seen)

    @rule.on(TicketOpened)
    def opened(state, event, settings):
        state.count += 1
        yield ask(
            about or event.data.ticket_id,
            why=f"The ticket is number {state.count}.",
            priority=priority,
            purpose=purpose,
            channels=channels,
            matter=matter,
            expires=expires,
        )

    return rule


def ask(about: str, **more: Any) -> FollowUpRequest:
    return FollowUpRequest(**{"what": "ask", "why": "Because.", "about": about, "purpose": "service", **more})


def ordered(at, order="o-1", **more):
    return happened(OrderCompleted(order_id=order, total=10.0), at=at, **more)


def updated(at, order="o-1", **more):
    return happened(OrderUpdated(order_id=order, total=20.0), at=at, **more)


def cancelled(at, order="o-1", **more):
    return happened(OrderCancelled(order_id=order), at=at, **more)


def ticket(at, about="t-1", **more):
    return happened(TicketOpened(ticket_id=about), at=at, **more)


def allowed(channel, purpose="marketing", at="2026-01-01", **more):
    return happened(ConsentGiven(channel=channel, purpose=purpose), at=at, **more)


def forbidden(channel, purpose="marketing", at="2026-01-02", **more):
    return happened(ConsentWithdrawn(channel=channel, purpose=purpose), at=at, **more)


def living_in(zone, at="2026-01-01", **more):
    return happened(AccountIdentified(time_zone=zone), at=at, **more)
