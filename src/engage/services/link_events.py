"""What following a link means, as events: opens and clicks count once, the first answer counts, and every "no"."""

from __future__ import annotations

import hashlib
from datetime import datetime
from urllib.parse import urlsplit

from msgspec import Raw

from engage.events import codec
from engage.events.catalogue import type_of
from engage.events.catalogue.base import EventData
from engage.events.catalogue.consent import ConsentWithdrawn
from engage.events.catalogue.newsletters import NewsletterClicked, NewsletterOpened, NewsletterUnsubscribed
from engage.events.catalogue.surveys import SurveyAnswered, SurveyDeclined
from engage.events.envelope import Event
from engage.events.validation import Refusal, check_event
from engage.services.links import Clicked, Link, LinkError, Opened, Survey, Unsubscribe, Withdraw

SOURCE = "urn:engage:links"
_LABEL = 1_000


def opened(link: Opened, now: datetime) -> Event[Raw]:
    """The issue was opened, however often its image is loaded."""
    data = NewsletterOpened(newsletter_id=link.newsletter_id, list_id=link.list_id, campaign=link.campaign)
    return _event(link.account, data, now, link.newsletter_id)


def clicked(link: Clicked, now: datetime) -> Event[Raw]:
    """This link of the issue was followed, however often."""
    data = NewsletterClicked(
        newsletter_id=link.newsletter_id,
        link=link.label or _label(link.to),
        topic=link.topic,
        list_id=link.list_id,
        campaign=link.campaign,
    )
    return _event(link.account, data, now, link.newsletter_id, link.to)


def unsubscribed(link: Unsubscribe | Withdraw, now: datetime) -> Event[Raw]:
    """They want it no more. Said again it is said again: they may have subscribed in between."""
    data: EventData
    if isinstance(link, Withdraw):
        data = ConsentWithdrawn(channel=link.channel, purpose=link.purpose, origin="link")
    else:
        data = NewsletterUnsubscribed(list_id=link.list_id, newsletter_id=link.newsletter_id, reason="link")
    return _event(link.account, data, now, now.isoformat())


def answered(link: Survey, score: int, comment: str | None, now: datetime) -> Event[Raw]:
    """Their answer, the first one; ValueError for a score off the scale."""
    data = SurveyAnswered(
        survey_id=link.survey_id,
        kind=link.survey,
        score=score,
        order_id=link.order_id,
        ticket_id=link.ticket_id,
        comment=comment,
    )
    return _event(link.account, data, now, *_asked(link))


def declined(link: Survey, now: datetime) -> Event[Raw]:
    """They do not want to answer."""
    data = SurveyDeclined(survey_id=link.survey_id, kind=link.survey, order_id=link.order_id, ticket_id=link.ticket_id)
    return _event(link.account, data, now, *_asked(link))


def checked(link: Link, now: datetime) -> Link:
    """The link, if the log would take what comes of it; LinkError if not."""
    sample = _sample(link, now)
    answer = check_event(sample, now)
    if isinstance(answer, Refusal):
        raise LinkError(str(answer))
    if isinstance(link, Survey) and link.score is not None:
        try:
            answered(link, link.score, None, now)
        except ValueError as error:
            raise LinkError(str(error)) from error
    return link


def _sample(link: Link, now: datetime) -> Event[Raw]:
    if isinstance(link, Opened):
        return opened(link, now)
    if isinstance(link, Clicked):
        return clicked(link, now)
    return declined(link, now) if isinstance(link, Survey) else unsubscribed(link, now)


def _asked(link: Survey) -> tuple[str, ...]:
    return (link.survey_id, link.order_id or "", link.ticket_id or "")


def _event(account: str, data: EventData, now: datetime, *same: str) -> Event[Raw]:
    """An event whose id is the same for what is the ``same`` to be counted once."""
    named = "\n".join((type_of(type(data)), account, *same))
    identity = hashlib.sha256(named.encode()).hexdigest()[:32]
    return codec.new_event(data, id=identity, source=SOURCE, subject=account, time=now)


def _label(target: str) -> str:
    """An address without what may name a person."""
    parts = urlsplit(target)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"[:_LABEL]
