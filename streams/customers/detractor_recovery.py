"""Have the manager talk to somebody who was let down before it spreads: a bad word unheard is told to others."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from msgspec import Struct

from engage.events.catalogue.support import ChatRated, TicketRated
from engage.events.catalogue.surveys import ReviewPosted, SurveyAnswered
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Rule, RuleSettings

_REMEMBERED = 30
_LONGEST = 200


class Settings(RuleSettings):
    """Let down is who gives at most ``nps`` (0-10), ``csat`` (1-5) or ``stars`` (1-5).

    The rating of a ticket or chat is measured by ``csat``. The manager should act within ``due`` (hours); after
    ``expires`` (days) it comes too late.
    """

    nps: int = 6
    csat: int = 2
    stars: float = 2.0
    due: timedelta = timedelta(hours=4)
    expires: timedelta = timedelta(days=14)


class State(Struct, omit_defaults=True, gc=False):
    """The latest bad answers and reviews of which the manager was told."""

    told: list[str] = []


rule = Rule("detractor-recovery", version=1, settings=Settings(), state=State)


@rule.on(SurveyAnswered)
def answered(state: State, event: Event[SurveyAnswered], settings: Settings) -> Iterable[Effect]:
    """They answered a survey."""
    data = event.data
    if data.score > (settings.nps if data.kind == "nps" else settings.csat):
        return ()
    matter = f"order {data.order_id}" if data.order_id else f"ticket {data.ticket_id}" if data.ticket_id else "us"
    of = 10 if data.kind == "nps" else 5
    why = f"They gave {data.score} of {of} in the {data.kind.upper()} survey {data.survey_id}, about {matter}."
    return _recover(state, f"survey {data.survey_id}", matter, why, settings)


@rule.on(ReviewPosted)
def reviewed(state: State, event: Event[ReviewPosted], settings: Settings) -> Iterable[Effect]:
    """They reviewed a product where others read it."""
    data = event.data
    if data.rating > settings.stars:
        return ()
    matter = f"order {data.order_id}" if data.order_id else f"product {data.product_id}"
    why = f"They reviewed product {data.product_id} with {data.rating:g} of 5 stars, for all to read."
    return _recover(state, f"review {data.review_id or data.product_id}", matter, why, settings)


@rule.on(TicketRated, ChatRated)
def rated(state: State, event: Event[TicketRated | ChatRated], settings: Settings) -> Iterable[Effect]:
    """They said how well they were helped."""
    data = event.data
    if data.score > settings.csat:
        return ()
    matter = f"ticket {data.ticket_id}" if isinstance(data, TicketRated) else f"chat {data.chat_id}"
    why = f"They rated the help in {matter} with {data.score} of 5."
    return _recover(state, f"rating of {matter}", matter, why, settings)


def _recover(state: State, about: str, matter: str, why: str, settings: Settings) -> Iterable[Effect]:
    """Once per answer or review; what is said of the same order or ticket is one matter while it is open."""
    about = about[:_LONGEST]
    if about in state.told:
        return
    state.told = [*state.told, about][-_REMEMBERED:]
    yield FollowUpRequest(
        what="detractor recovery",
        why=why,
        about=about,
        purpose="service",
        priority="urgent",
        due=settings.due,
        expires=settings.expires,
        matter=f"{rule.name}|{matter}",
    )
