"""Welcome a new partner and look in again during the first ninety days: how a partnership begins is how it goes on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from engage.events.catalogue.agreements import AgreementSigned
from engage.events.catalogue.profile import AccountIdentified
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Forget, Rule, RuleSettings, Wake, Woken

BEGINNING = "beginning"
_KINDS = frozenset({"vendor", "supplier", "distributor", "reseller", "partner"})


class Settings(RuleSettings):
    """New is a partner of less than ``new_for``; the manager looks in at each of ``check_ins`` after the beginning.

    ``expires``: how long a welcome, or looking in, makes sense.
    """

    new_for: timedelta = timedelta(days=90)
    check_ins: tuple[timedelta, ...] = (timedelta(days=30), timedelta(days=90))
    expires: timedelta = timedelta(days=21)


class State(Struct, omit_defaults=True, gc=False):
    """When the partnership began, by all that we were told, and whether the manager was asked to welcome them."""

    since: datetime | None = None
    welcomed: bool = False


rule = Rule("new-partner-welcome", version=1, settings=Settings(), state=State)


@rule.on(AccountIdentified)
def identified(state: State, event: Event[AccountIdentified], settings: Settings) -> Iterable[Effect]:
    """A partner, since when they say or else since now; for a customer there are other rules."""
    if event.data.kind in _KINDS:
        yield from _begin(state, event.data.since or event.time, event.time, settings)


@rule.on(AgreementSigned)
def signed(state: State, event: Event[AgreementSigned], settings: Settings) -> Iterable[Effect]:
    """Who signs an agreement is a partner, at the latest from the signature on."""
    yield from _begin(state, min(event.data.starts, event.time), event.time, settings)


@rule.on_wake
def look_in(state: State, wake: Woken, settings: Settings) -> Iterable[Effect]:
    """Some weeks have passed, or an announced partnership begins."""
    assert state.since is not None, "only a beginning arms the wake"
    if state.welcomed:
        days = (wake.due - state.since).days
        yield FollowUpRequest(
            what="check in with a new partner",
            why=f"They have been our partner for {days} days, since {state.since.date()}: "
            "hear what goes well and what they lack.",
            about=BEGINNING,
            purpose="partnership",
            due=timedelta(days=5),
            expires=settings.expires,
        )
    else:
        yield _welcome(state, state.since, settings)
    yield from _next(state.since, wake.due, settings)


def _begin(state: State, since: datetime, told: datetime, settings: Settings) -> Iterable[Effect]:
    if state.since is not None and state.since <= since:
        return
    state.since = since
    yield Forget(BEGINNING)
    if since > told:
        yield Wake(since, about=BEGINNING)
    elif told - since < settings.new_for:
        if not state.welcomed:
            yield _welcome(state, since, settings)
        yield from _next(since, told, settings)


def _welcome(state: State, since: datetime, settings: Settings) -> FollowUpRequest:
    state.welcomed = True
    return FollowUpRequest(
        what="welcome a new partner",
        why=f"They have been our partner since {since.date()}: introduce yourself and say whom to ask for what.",
        about=BEGINNING,
        purpose="partnership",
        due=timedelta(days=2),
        expires=settings.expires,
    )


def _next(since: datetime, after: datetime, settings: Settings) -> Iterable[Effect]:
    ahead = [since + each for each in settings.check_ins if since + each > after]
    if ahead:
        yield Wake(min(ahead), about=BEGINNING)
