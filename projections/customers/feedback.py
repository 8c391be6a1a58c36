"""What was each customer asked, and what did they say: surveys, ratings of our help, and reviews, a row each?

A survey is one row for each order or ticket that it asks about; one that asks about neither is one row a month, since
the same survey comes again. An answer given once more replaces the one before.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import Struct

from engage.events.catalogue.support import ChatRated, TicketRated
from engage.events.catalogue.surveys import SCALES, ReviewPosted, SurveyAnswered, SurveySent
from engage.events.envelope import Event, is_account
from engage.views.projection import Projection

FeedbackKind = Literal["nps", "csat", "review", "help"]
"""``review`` is one in public, ``help`` the rating of a ticket or chat; both are 1-5, as csat is."""


class Feedback(Struct):
    """One survey that an account was sent or answered, one rating of our help, or one review.

    account_thing: "account|what was asked or rated"
    account: the account's id
    kind: nps, csat, review or help (how a ticket or chat was rated)
    about: the order, ticket, chat or product that it is about; null when it is about us as a whole
    sent_at: when the survey was sent; null when that was not reported, and for what nobody asked for
    answered_at: when the answer that counts was given; null while there is none
    score: the answer: 0-10 of nps, 1-5 of all others; higher is better
    mark: the answer from the worst (0) to the best (100) on its scale
    """

    account_thing: str
    account: str = ""
    kind: FeedbackKind = "nps"
    about: str | None = None
    sent_at: datetime | None = None
    answered_at: datetime | None = None
    score: float | None = None
    mark: float | None = None


def thing_of(event: Event[Any]) -> str:
    """What an answer is about, the same for each word on the same thing."""
    match event.data:
        case SurveySent() | SurveyAnswered() as data:
            about = data.order_id or data.ticket_id or event.time.astimezone(UTC).strftime("%Y-%m")
            return f"survey|{data.survey_id}|{about}"
        case TicketRated() as data:
            return f"ticket|{data.ticket_id}"
        case ChatRated() as data:
            return f"chat|{data.chat_id}"
        case ReviewPosted() as data:
            return f"review|{data.review_id or data.product_id}"
        case data:
            raise TypeError(f"{type(data).__name__} says nothing of how satisfied anybody is")


def answer_of(data: SurveyAnswered | TicketRated | ChatRated | ReviewPosted) -> tuple[FeedbackKind, float, float]:
    """An answer's kind, its score as it was given, and its mark from 0 to 100."""
    match data:
        case SurveyAnswered():
            low, high = SCALES[data.kind]
            return data.kind, float(data.score), 100.0 * (data.score - low) / (high - low)
        case ReviewPosted():
            return "review", data.rating, 25.0 * (data.rating - 1.0)
        case _:
            return "help", float(data.score), 25.0 * (data.score - 1)


def _place(event: Event[Any]) -> str | None:
    return f"{event.subject}|{thing_of(event)}" if is_account(event.subject) else None


feedback = Projection("feedback", version=1, row=Feedback, key=_place, indexes=("account", ("kind", "answered_at")))


@feedback.on(SurveySent)
def sent(row: Feedback, event: Event[SurveySent]) -> Feedback:
    """A survey went out; a reminder does not move it."""
    data = event.data
    row.account, row.kind, row.about = event.subject, data.kind, data.order_id or data.ticket_id
    row.sent_at = min(row.sent_at or event.time, event.time)
    return row


@feedback.on(SurveyAnswered, TicketRated, ChatRated, ReviewPosted)
def answered(row: Feedback, event: Event[Any]) -> Feedback:
    """They told us; the newest word on a thing counts."""
    if row.answered_at is None or event.time >= row.answered_at:
        row.account = event.subject
        row.kind, row.score, row.mark = answer_of(event.data)
        row.answered_at = event.time
        match event.data:
            case SurveyAnswered() as data:
                row.about = data.order_id or data.ticket_id
            case ReviewPosted() as data:
                row.about = data.product_id
            case TicketRated() as data:
                row.about = data.ticket_id
            case ChatRated() as data:
                row.about = data.chat_id
    return row
