"""Ask the manager to talk with a supplier whose deliveries begin to slip, before a missing one stops our own work.

A delivery that was promised and has not come counts as soon as it is overdue: nobody reports what does not happen.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from engage.events.catalogue.deliveries import DeliveryPostponed, DeliveryPromised, DeliveryReceived
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Forget, Rule, RuleSettings, Wake, Woken

DELIVERIES = "deliveries"


class Settings(RuleSettings):
    """They slip when of the last ``window`` deliveries ``late`` or more came more than ``grace`` after their promise.

    They have recovered when no more than ``recovered`` of them did: only then the next slip is one.
    """

    window: int = 8
    late: int = 3
    recovered: int = 1
    grace: timedelta = timedelta(days=1)
    expires: timedelta = timedelta(days=30)


class Delivery(Struct, frozen=True, array_like=True, order=True, gc=False):
    """A delivery that came, or is overdue; in the order of their promises."""

    promised: datetime
    delivery_id: str
    late: bool


class State(Struct, omit_defaults=True, gc=False):
    """The latest deliveries, and whether they slip."""

    latest: list[Delivery] = []
    slipping: bool = False


rule = Rule("deliveries-slipping", version=1, settings=Settings(), state=State)


@rule.on(DeliveryPromised, DeliveryPostponed)
def promised(state: State, event: Event[DeliveryPromised | DeliveryPostponed], settings: Settings) -> Iterable[Effect]:
    """We wait for it; one that is overdue already stays so, whatever is promised now."""
    if all(each.delivery_id != event.data.delivery_id for each in state.latest):
        yield Wake(event.data.promised + settings.grace, about=event.data.delivery_id)


@rule.on(DeliveryReceived)
def received(state: State, event: Event[DeliveryReceived], settings: Settings) -> Iterable[Effect]:
    """It came."""
    data = event.data
    yield Forget(data.delivery_id)
    late = (data.received or event.time) > data.promised + settings.grace
    yield from _count(state, Delivery(data.promised, data.delivery_id, late), settings)


@rule.on_wake
def overdue(state: State, wake: Woken, settings: Settings) -> Iterable[Effect]:
    """It has not come."""
    return _count(state, Delivery(wake.due - settings.grace, wake.about, late=True), settings)


def _count(state: State, delivery: Delivery, settings: Settings) -> Iterable[Effect]:
    state.latest = [each for each in state.latest if each.delivery_id != delivery.delivery_id]
    insort(state.latest, delivery)
    del state.latest[: -settings.window]
    late = [each for each in state.latest if each.late]
    if state.slipping:
        state.slipping = len(late) > settings.recovered
    elif len(late) >= settings.late:
        state.slipping = True
        yield FollowUpRequest(
            what="talk about deliveries",
            why=f"{len(late)} of the last {len(state.latest)} deliveries were more than {_days(settings.grace)} late, "
            f"the latest of them promised for {late[-1].promised.date()}.",
            about=DELIVERIES,
            purpose="partnership",
            priority="high",
            due=timedelta(days=2),
            expires=settings.expires,
        )


def _days(length: timedelta) -> str:
    days = length / timedelta(days=1)
    return f"{days:g} day" if days == 1 else f"{days:g} days"
