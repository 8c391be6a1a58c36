"""Who is this account to us: its kind and traits, who looks after it, what it allows, and since when we know it?

Names, addresses and whatever else says something of a person stay sealed on the log and are no columns here.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct, field

from engage.events.catalogue import CATALOGUE, FAMILIES
from engage.events.catalogue.account import AccountErased, ManagerAssigned
from engage.events.catalogue.consent import ConsentGiven, ConsentWithdrawn
from engage.events.catalogue.newsletters import NewsletterReported, NewsletterSubscribed, NewsletterUnsubscribed
from engage.events.catalogue.profile import (
    AccountAliased,
    AccountGrouped,
    AccountIdentified,
    AccountKind,
    ContactAdded,
    ContactRemoved,
)
from engage.events.envelope import EPOCH, Event, is_account
from engage.views.projection import Projection

TRAITS = ("kind", "time_zone", "country", "language", "manager", "industry", "employees", "plan", "since")
"""What ``AccountIdentified`` says that is not personal; a column each."""

_FAMILIES = {module.__name__.rpartition(".")[2] for module in FAMILIES["ours"]}
_OURS = {name for name, kind in CATALOGUE.items() if kind.family in _FAMILIES} - {"account.erased", "manager.assigned"}


class Consent(Struct, frozen=True):
    """The newest word on a channel and purpose; ``origin`` is where it was said, ``wording`` the text agreed to."""

    allowed: bool
    at: datetime
    origin: str | None = None
    wording: str | None = None


class Profile(Struct):
    """One account as we know it, without anything that says something of a person.

    account: the account's id
    kind: customer, vendor, supplier, distributor, reseller or partner; null until somebody said so
    time_zone: IANA name of the zone by whose clock the account lives; null until somebody said so
    country: ISO 3166-1 alpha-2 code; null until somebody said so
    language: BCP 47 tag; null until somebody said so
    manager: the id of who looks after the account; null while nobody does
    industry: what it does; null until somebody said so
    employees: how many people work there; null until somebody said so
    plan: the plan it is on; null until somebody said so
    since: when the relationship began, as we were told; null until somebody said so
    group_id: the group (company, household, buying association) it was last said to belong to; null if none
    told_at: by trait (kind, manager, group_id ...), the moment of the newest word on it, which an older one cannot undo
    consents: by "channel|purpose" ("*" is every channel): whether it allows us to use it, when and where it said so
    known_since: when the log first heard of the account
    first_interaction: when the earliest interaction happened, theirs or ours; null before there was one
    last_interaction: when the latest one happened
    interactions: how many there were, of any type but engage's own and plain account details
    erased_at: when its personal data were last erased, in the log's time; null if never
    """

    account: str
    kind: AccountKind | None = None
    time_zone: str | None = None
    country: str | None = None
    language: str | None = None
    manager: str | None = None
    industry: str | None = None
    employees: int | None = None
    plan: str | None = None
    since: datetime | None = None
    group_id: str | None = None
    told_at: dict[str, datetime] = field(default_factory=dict)
    consents: dict[str, Consent] = field(default_factory=dict)
    known_since: datetime = EPOCH
    first_interaction: datetime | None = None
    last_interaction: datetime | None = None
    interactions: int = 0
    erased_at: datetime | None = None


def _account(event: Event[Any]) -> str | None:
    """Any event of an account, also of an unknown type, but what engage decides and does itself."""
    return event.subject if event.type not in _OURS and is_account(event.subject) else None


profile = Projection(
    "profile", version=1, row=Profile, key=_account, indexes=("kind", "manager", "last_interaction", "erased_at")
)


@profile.on_any
def met(row: Profile, event: Event[Any]) -> Profile:
    """They came to us, or we came to them."""
    time = event.time
    if row.last_interaction is None or row.first_interaction is None:
        row.first_interaction = row.last_interaction = time
    elif time > row.last_interaction:
        row.last_interaction = time
    elif time < row.first_interaction:
        row.first_interaction = time
    row.interactions += 1
    return _known(row, event)


@profile.on(AccountIdentified)
def identified(row: Profile, event: Event[AccountIdentified]) -> Profile:
    """What is left out stays as it was."""
    for trait in TRAITS:
        value = getattr(event.data, trait)
        if value is not None:
            _tell(row, event, trait, value)
    return _known(row, event)


@profile.on(AccountGrouped)
def grouped(row: Profile, event: Event[AccountGrouped]) -> Profile:
    """It belongs to a group, whose name stays sealed."""
    _tell(row, event, "group_id", event.data.group_id)
    return _known(row, event)


@profile.on(AccountAliased, ContactAdded, ContactRemoved)
def described(row: Profile, event: Event[Any]) -> Profile:
    """Somebody kept the books: neither side came to the other."""
    return _known(row, event)


@profile.on(ManagerAssigned)
def managed(row: Profile, event: Event[ManagerAssigned]) -> Profile:
    """Somebody looks after it."""
    _tell(row, event, "manager", event.data.manager)
    return _known(row, event)


@profile.on(ConsentGiven)
def allowed(row: Profile, event: Event[ConsentGiven]) -> Profile:
    """A yes, with the proof of it."""
    data = event.data
    word = Consent(True, event.time, data.origin, data.wording)
    return _said(row, event, f"{data.channel}|{data.purpose}", word)


@profile.on(ConsentWithdrawn)
def forbidden(row: Profile, event: Event[ConsentWithdrawn]) -> Profile:
    """A no."""
    data = event.data
    return _said(row, event, f"{data.channel}|{data.purpose}", Consent(False, event.time, data.origin))


@profile.on(NewsletterSubscribed)
def subscribed(row: Profile, event: Event[NewsletterSubscribed]) -> Profile:
    """To ask for a newsletter is a yes to marketing by e-mail, as the policy takes it."""
    return _said(row, event, "email|marketing", Consent(True, event.time, event.data.origin))


@profile.on(NewsletterUnsubscribed, NewsletterReported)
def unsubscribed(row: Profile, event: Event[Any]) -> Profile:
    """To leave a newsletter, or to call it spam, is a no to marketing by e-mail."""
    return _said(row, event, "email|marketing", Consent(False, event.time, "newsletter"))


@profile.on(AccountErased)
def erased(row: Profile, event: Event[AccountErased]) -> Profile:
    """The person is forgotten. No column is personal; who may not be contacted has to stay known."""
    row.erased_at = event.now
    return _known(row, event)


def _known(row: Profile, event: Event[Any]) -> Profile:
    if row.known_since == EPOCH:
        row.known_since = event.now
    return row


def _tell(row: Profile, event: Event[Any], trait: str, value: Any) -> None:
    known = row.told_at.get(trait)
    if known is None or event.time >= known:
        setattr(row, trait, value)
        row.told_at[trait] = event.time


def _said(row: Profile, event: Event[Any], key: str, word: Consent) -> Profile:
    known = row.consents.get(key)
    if known is None or _newer(word) >= _newer(known):
        row.consents[key] = word
    return met(row, event)  # type: ignore[no-any-return]


def _newer(word: Consent) -> tuple[datetime, bool]:
    """Of two words of the same moment the no counts."""
    return word.at, not word.allowed
