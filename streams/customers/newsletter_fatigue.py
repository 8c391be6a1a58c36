"""Send less, and ask what they would like to read, before a reader who opens less and less unsubscribes for good."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from engage.events.catalogue.newsletters import (
    NewsletterBounced,
    NewsletterClicked,
    NewsletterOpened,
    NewsletterReported,
    NewsletterSent,
    NewsletterUnsubscribed,
)
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Forget, Rule, RuleSettings, Wake, Woken

READING = "newsletter"


class Settings(RuleSettings):
    """An issue counts when it has been out for ``patience`` (days).

    Tired is who opened, of the later half of the last ``issues`` (an even number of them), at most ``drop`` (0-1) times
    what they opened of the earlier half. Asked once; that ends when they open ``recovered`` (0-1) of the later half.
    ``expires``: how long (days) asking makes sense.
    """

    issues: int = 8
    patience: timedelta = timedelta(days=5)
    drop: float = 0.5
    recovered: float = 0.5
    expires: timedelta = timedelta(days=30)


class Issue(Struct, omit_defaults=True, gc=False):
    """When it was sent (None: we only know what became of it), and whether it was opened, or came back."""

    sent: datetime | None = None
    opened: bool = False
    bounced: bool = False


class State(Struct, omit_defaults=True, gc=False):
    """The latest issues by id, and whether they were asked since they last read with interest."""

    issues: dict[str, Issue] = {}
    asked: bool = False


rule = Rule("newsletter-fatigue", version=1, settings=Settings(), state=State)


@rule.on(NewsletterSent)
def sent(state: State, event: Event[NewsletterSent], settings: Settings) -> Iterable[Effect]:
    """Another issue: in some days we know whether they wanted it."""
    issue = _issue(state, event.data.newsletter_id, settings)
    issue.sent = event.time if issue.sent is None else min(issue.sent, event.time)
    return (Wake(issue.sent + settings.patience, about=event.data.newsletter_id),)


@rule.on(NewsletterOpened, NewsletterClicked)
def read(state: State, event: Event[NewsletterOpened | NewsletterClicked], settings: Settings) -> None:
    """They read it; a click says so too where images, and so openings, are blocked."""
    _issue(state, event.data.newsletter_id, settings).opened = True


@rule.on(NewsletterBounced)
def bounced(state: State, event: Event[NewsletterBounced], settings: Settings) -> None:
    """They never saw this one: it says nothing about them."""
    _issue(state, event.data.newsletter_id, settings).bounced = True


@rule.on(NewsletterUnsubscribed, NewsletterReported)
def left(
    state: State, event: Event[NewsletterUnsubscribed | NewsletterReported], settings: Settings
) -> Iterable[Effect]:
    """Too late for asking: should they come back, they begin anew."""
    ended = [known for known, issue in state.issues.items() if issue.sent is None or issue.sent <= event.time]
    for known in ended:
        del state.issues[known]
    state.asked = False
    return [Forget(known) for known in ended]


@rule.on_wake
def tired(state: State, wake: Woken, settings: Settings) -> Iterable[Effect]:
    """One more issue counts: compare the later ones with those before."""
    out = sorted(
        (issue.sent, known)
        for known, issue in state.issues.items()
        if issue.sent is not None and issue.sent <= wake.due - settings.patience and not issue.bounced
    )
    half = max(settings.issues // 2, 1)
    if len(out) < 2 * half:
        return
    earlier, later = (
        sum(state.issues[known].opened for _, known in part) for part in (out[-2 * half : -half], out[-half:])
    )
    if later >= max(settings.recovered * half, 1):
        state.asked = False
    if state.asked or later > settings.drop * earlier:
        return
    state.asked = True
    yield FollowUpRequest(
        what="newsletter preferences",
        why=f"Of the last {half} issues they opened {later}, of the {half} before {earlier}: "
        "send less, and ask what they would like to read.",
        about=READING,
        purpose="marketing",
        channels=("email",),
        priority="low",
        due=timedelta(days=7),
        expires=settings.expires,
    )


def _issue(state: State, newsletter_id: str, settings: Settings) -> Issue:
    """The issue, new if unknown; only the latest are remembered: those that count and as many on their way."""
    issue = state.issues.get(newsletter_id)
    if issue is None:
        issue = state.issues[newsletter_id] = Issue()
        for known in list(state.issues)[: -2 * max(settings.issues, 2)]:
            del state.issues[known]
    return issue
