"""Who wants to hear of an event: by its type, and for follow-ups and accounts by what is known of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from msgspec import Struct

from engage.events.catalogue import CATALOGUE
from engage.events.catalogue.follow_up import FollowUpOpened, FollowUpRequested, FollowUpSkipped
from engage.events.envelope import Event
from engage.relationships.application import Relationships
from engage.store.views import ViewStore
from engage.store.webhooks import Subscription
from projections.shared.profile import profile

_FAMILY = "follow_up"


class Asked(Struct, frozen=True):
    """What filters ask of a follow-up."""

    rule: str
    purpose: str | None
    channels: tuple[str, ...]


class Known(Struct, frozen=True):
    """What filters look at beyond the event: follow-ups by id, kinds of accounts by account."""

    asked: Mapping[str, Asked]
    kinds: Mapping[str, str | None]


def look_up(
    events: Sequence[Event[Any]], subscriptions: Sequence[Subscription], relationships: Relationships, views: ViewStore
) -> Known:
    """What these subscriptions' filters need to know of these events, whose data are open where they are follow-ups'.

    ViewMissingError without the profiles, if it takes them.
    """
    asked: dict[str, Asked] = {}
    if any(one.rules or one.purposes or one.channels for one in subscriptions):
        elsewhere: set[UUID] = set()
        for event in events:
            data = event.data
            if isinstance(data, FollowUpRequested | FollowUpOpened):
                asked[follow_up_of(event)] = Asked(data.rule, data.purpose, data.channels)
            elif isinstance(data, FollowUpSkipped):
                asked[event.id] = Asked(data.rule, None, ())
            elif is_of_follow_up(event.type):
                with suppress(ValueError):  # of none that we opened: nothing is known of it
                    elsewhere.add(UUID(data.follow_up_id))
        for identity, found in relationships.load(elsewhere).items():
            asked[str(identity)] = Asked(found.request.rule, found.request.purpose, found.request.channels)
    by_kind = any(one.kinds for one in subscriptions)
    return Known(asked, kinds_of(views, [event.subject for event in events]) if by_kind else {})


def kinds_of(views: ViewStore, accounts: Iterable[str]) -> dict[str, str | None]:
    """The kind of each account as far as somebody said so; ViewMissingError without the profiles."""
    rows = [views.get(profile, account) for account in sorted(set(accounts))]
    return {row.account: row.kind for row in rows if row is not None}


def wants(subscription: Subscription, event: Event[Any], known: Known) -> bool:
    """Whether an event is to be told; filters that are empty let everything pass."""
    if event.type not in subscription.events or not wants_account(subscription, event.subject, known):
        return False
    if not is_of_follow_up(event.type) or not (subscription.rules or subscription.purposes or subscription.channels):
        return True
    asked = known.asked.get(follow_up_of(event))
    return (
        asked is not None
        and (not subscription.rules or asked.rule in subscription.rules)
        and (not subscription.purposes or asked.purpose in subscription.purposes)
        and (not subscription.channels or not set(subscription.channels).isdisjoint(asked.channels))
    )


def wants_account(subscription: Subscription, account: str, known: Known) -> bool:
    """Whether what is said of this account is to be told."""
    return not subscription.kinds or known.kinds.get(account) in subscription.kinds


def follow_up_of(event: Event[Any]) -> str:
    """The id of the follow-up that an event is about: a request's own."""
    return str(getattr(event.data, "follow_up_id", event.id))


def is_of_follow_up(kind: str) -> bool:
    """Whether events of this type are about a follow-up."""
    found = CATALOGUE.get(kind)
    return found is not None and found.family == _FAMILY
