"""Tell the manager when a negotiation stalls, and whose turn it is: the side that is kept waiting looks elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from engage.events.catalogue.agreements import Party
from engage.events.catalogue.negotiations import NegotiationClosed, NegotiationOpened, OfferMade
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Forget, Rule, RuleSettings, Wake, Woken

_REMEMBERED = 20
_RUNNING = 100


class Settings(RuleSettings):
    """How long the next offer may take: ``ours`` when it is our turn, ``theirs`` when theirs, ``first`` the first one.

    An offer of theirs is answered ``margin`` before it expires, if that is earlier. ``expires``: how long asking helps.
    """

    ours: timedelta = timedelta(days=5)
    theirs: timedelta = timedelta(days=10)
    first: timedelta = timedelta(days=14)
    margin: timedelta = timedelta(days=2)
    expires: timedelta = timedelta(days=30)


class Negotiation(Struct, omit_defaults=True, gc=False):
    """The latest offer: its round (0: there is none yet), when, by whom and until when it is open.

    ``waits`` until the manager was told of this round or the negotiation is over.
    """

    round: int
    since: datetime
    party: Party | None = None
    expires: datetime | None = None
    waits: bool = True
    closed: bool = False


class State(Struct, omit_defaults=True, gc=False):
    """The account's negotiations, by id: of those for which nothing is due only the latest."""

    negotiations: dict[str, Negotiation] = {}


rule = Rule("negotiation-stalled", version=1, settings=Settings(), state=State)


@rule.on(NegotiationOpened)
def opened(state: State, event: Event[NegotiationOpened], settings: Settings) -> Iterable[Effect]:
    """Somebody has to make the first offer."""
    return _turn(state, event.data.negotiation_id, Negotiation(0, event.time), event.time + settings.first)


@rule.on(OfferMade)
def offered(state: State, event: Event[OfferMade], settings: Settings) -> Iterable[Effect]:
    """Now it is the other side's turn."""
    data = event.data
    deadline = event.time + settings.theirs
    if data.party == "them":
        deadline = event.time + settings.ours
        if data.expires is not None:
            deadline = max(event.time, min(deadline, data.expires - settings.margin))
    offer = Negotiation(data.round, event.time, data.party, data.expires)
    return _turn(state, data.negotiation_id, offer, deadline)


@rule.on(NegotiationClosed)
def closed(state: State, event: Event[NegotiationClosed], settings: Settings) -> Iterable[Effect]:
    """It is over."""
    state.negotiations.pop(event.data.negotiation_id, None)
    state.negotiations[event.data.negotiation_id] = Negotiation(0, event.time, waits=False, closed=True)
    yield Forget(event.data.negotiation_id)
    yield from _tidy(state)


@rule.on_wake
def stalled(state: State, wake: Woken, settings: Settings) -> Iterable[Effect]:
    """The next offer has not come."""
    known = state.negotiations[wake.about]
    known.waits = False
    days = (wake.due - known.since).days
    if known.party is None:
        why = f"Negotiation {wake.about} began on {known.since.date()}, and after {days} days nobody made an offer."
    elif known.party == "us":
        why = f"Our offer in negotiation {wake.about} has had no answer for {days} days, since {known.since.date()}."
    else:
        until = f" and is open until {known.expires.date()}" if known.expires else ""
        why = f"Their offer in negotiation {wake.about} has waited for us for {days} days{until}: it is our turn."
    yield FollowUpRequest(
        what="negotiation stalled",
        why=why,
        about=wake.about,
        purpose="partnership",
        priority="high" if known.party == "them" else "normal",
        due=timedelta(days=1) if known.party == "them" else timedelta(days=3),
        expires=settings.expires,
    )


def _turn(state: State, negotiation: str, offer: Negotiation, deadline: datetime) -> Iterable[Effect]:
    """The latest offer counts: one of an earlier round that we learn of late, or an opening, changes nothing."""
    known = state.negotiations.get(negotiation)
    if known is not None and (known.closed or (known.round, known.since) >= (offer.round, offer.since)):
        return
    state.negotiations[negotiation] = offer
    yield Wake(deadline, about=negotiation)
    yield from _tidy(state)


def _tidy(state: State) -> Iterable[Effect]:
    quiet = [known for known, each in state.negotiations.items() if not each.waits]
    waiting = [known for known, each in state.negotiations.items() if each.waits]
    for known in quiet[:-_REMEMBERED] + waiting[:-_RUNNING]:
        del state.negotiations[known]
        yield Forget(known)
