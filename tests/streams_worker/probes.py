"""Rules that decide at once and in a little while, and one that breaks for the accounts that are fragile."""

from datetime import timedelta

from msgspec import Struct

from engage.events.catalogue.commerce import OrderCompleted
from engage.rules.rule import MANAGER, FollowUpRequest, NoState, Rule, RuleSettings, Wake

FRAGILE = "fragile"


class Settings(RuleSettings):
    after: timedelta = timedelta(seconds=1)


class Bought(Struct, omit_defaults=True):
    count: int = 0


def ask(about: str, why: str, *, channels: tuple[str, ...] = (MANAGER,)) -> FollowUpRequest:
    return FollowUpRequest(what="ask", why=why, about=about, purpose="service", channels=channels)


every_third = Rule("every-third", version=1, settings=Settings(), state=Bought)


@every_third.on(OrderCompleted)
def third(state, event, settings):
    state.count += 1
    if state.count % 3 == 0:
        yield ask(event.data.order_id, f"It is order number {state.count}.")


capped = Rule("capped", version=1, settings=Settings(), state=NoState)


@capped.on(OrderCompleted)
def mail(state, event, settings):
    yield ask("thanks", "A word of thanks.", channels=("email",))


later = Rule("later", version=1, settings=Settings(), state=NoState)


@later.on(OrderCompleted)
def remind(state, event, settings):
    yield Wake(event.time + settings.after, about=event.data.order_id)


@later.on_wake
def reminded(state, wake, settings):
    yield ask(wake.about, f"Due at {wake.due}.")


fragile = Rule("fragile", version=1, settings=Settings(), state=NoState)


@fragile.on(OrderCompleted)
def breaks(state, event, settings):
    if event.subject.startswith(FRAGILE):
        raise ZeroDivisionError("it broke")
    return ()


RULES = (every_third, capped, later, fragile)
