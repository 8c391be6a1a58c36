"""How satisfied is each account, by what it last said, and is that better or worse than before?"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct, field

from engage.events.catalogue.support import ChatRated, TicketRated
from engage.events.catalogue.surveys import ReviewPosted, SurveyAnswered, SurveySent
from engage.events.envelope import Event
from engage.views.projection import Projection, account_of
from projections.customers.feedback import FeedbackKind, answer_of, thing_of

KEPT = 8
"""Opinions that are remembered of an account: the latest."""
LEAST = 2
"""Opinions that a trend needs at least on either side."""


class Opinion(Struct, frozen=True):
    """What the account said of a thing: ``mark`` is 0 (the worst) to 100 (the best)."""

    thing: str
    at: datetime
    kind: FeedbackKind
    score: float
    mark: float


class AccountSatisfaction(Struct):
    """What one account last said of us.

    account: the account's id
    nps: its last answer to "would you recommend us?", 0-10; null if it never gave one
    nps_at: when it gave it
    csat: its last answer to "how satisfied are you?", 1-5; null if it never gave one
    csat_at: when it gave it
    review: the stars of its last review, 1-5; null if it never wrote one
    review_at: when it wrote it
    help: how it last rated our help, on a ticket or in a chat, 1-5; null if it never did
    help_at: when it did
    asked: surveys sent to it, reminders included
    answers: answers, ratings and reviews, each thing once
    mean: the mean mark of the last eight opinions, from the worst (0) to the best (100); null while there is none
    trend: the mean of the newer half of these minus that of the older half, in points; null with fewer than four
    last_asked: when it was last sent a survey; null if never
    last_said: when it last said something; null if never
    opinions: the last eight opinions, the oldest first: thing, at, kind, score, mark (0-100)
    """

    account: str
    nps: float | None = None
    nps_at: datetime | None = None
    csat: float | None = None
    csat_at: datetime | None = None
    review: float | None = None
    review_at: datetime | None = None
    help: float | None = None
    help_at: datetime | None = None
    asked: int = 0
    answers: int = 0
    mean: float | None = None
    trend: float | None = None
    last_asked: datetime | None = None
    last_said: datetime | None = None
    opinions: list[Opinion] = field(default_factory=list)


account_satisfaction = Projection(
    "account_satisfaction", version=1, row=AccountSatisfaction, key=account_of, indexes=("nps", "mean", "last_said")
)


@account_satisfaction.on(SurveySent)
def asked(row: AccountSatisfaction, event: Event[SurveySent]) -> AccountSatisfaction:
    """We wanted to know."""
    row.asked += 1
    row.last_asked = max(row.last_asked or event.time, event.time)
    return row


@account_satisfaction.on(SurveyAnswered, TicketRated, ChatRated, ReviewPosted)
def said(row: AccountSatisfaction, event: Event[Any]) -> AccountSatisfaction:
    """They told us; what they say again of the same thing replaces what they said before."""
    kind, score, mark = answer_of(event.data)
    thing, time = thing_of(event), event.time
    known = next((one for one in row.opinions if one.thing == thing), None)
    if known is not None and time < known.at:
        return row
    if known is None:
        row.answers += 1
    else:
        row.opinions.remove(known)
    row.opinions.append(Opinion(thing, time, kind, score, mark))
    row.opinions.sort(key=lambda one: (one.at, one.thing))
    del row.opinions[:-KEPT]
    at = getattr(row, f"{kind}_at")
    if at is None or time >= at:
        setattr(row, kind, score)
        setattr(row, f"{kind}_at", time)
    row.last_said = max(row.last_said or time, time)
    marks = [one.mark for one in row.opinions]
    half = len(marks) // 2
    row.mean = sum(marks) / len(marks)
    row.trend = sum(marks[-half:]) / half - sum(marks[:half]) / half if half >= LEAST else None
    return row
