"""What do accounts that have one thing have as well, more often than all do: categories of products, or programmes?

Lift is how many times as often: the share of accounts with the other thing among those with the one, by its share among
all accounts that have anything of that kind. Read it together with its counts: a lift of 3 from 2 accounts is nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct, field

from engage.events.catalogue.account import ManagerAssigned
from engage.events.catalogue.commerce import OrderCompleted
from engage.events.catalogue.cross_sell import CrossSellOpeningFound, OpeningKind
from engage.events.catalogue.profile import AccountIdentified, AccountKind
from engage.events.catalogue.training import CertificationEarned, CertificationLapsed, TrainingCompleted
from engage.events.envelope import EPOCH, Event
from engage.views.aggregate import Aggregate
from engage.views.projection import Projection, account_of

TAKEN_KEPT, FOUND_KEPT, NAME_KEPT = 12, 50, 200
"""Of each kind the things taken last, the openings found last, and letters of a name."""


class Offerings(Struct):
    """What one account has taken of what we offer.

    account: the account's id
    kind: customer, vendor, supplier, distributor, reseller or partner; null until somebody said so
    manager: the id of the manager who looks after it; null while nobody does
    categories: the twelve categories bought last, with the day of it (days since 1970-01-01); also of cancelled orders
    programmes: the twelve trainings and certifications taken last, with the day of it
    found: the openings found for it last, as kind and name, with the day of it
    """

    account: str
    kind: AccountKind | None = None
    manager: str | None = None
    categories: dict[str, int] = field(default_factory=dict)
    programmes: dict[str, int] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)


offerings = Projection("offerings", version=1, row=Offerings, key=account_of)


@offerings.on(AccountIdentified)
def identified(row: Offerings, event: Event[AccountIdentified]) -> Offerings:
    """Somebody told us who it is, or who looks after it."""
    row.kind = event.data.kind or row.kind
    row.manager = event.data.manager or row.manager
    return row


@offerings.on(ManagerAssigned)
def assigned(row: Offerings, event: Event[ManagerAssigned]) -> Offerings:
    """Somebody looks after it."""
    row.manager = event.data.manager
    return row


@offerings.on(OrderCompleted)
def bought(row: Offerings, event: Event[OrderCompleted]) -> Offerings | None:
    """Products, whose categories somebody may have named."""
    for product in event.data.products:
        if product.category is not None:
            _take(row.categories, product.category, event, TAKEN_KEPT)
    return row if row.categories or row.kind or row.manager or row.programmes or row.found else None


@offerings.on(TrainingCompleted)
def trained(row: Offerings, event: Event[TrainingCompleted]) -> Offerings:
    """They took a course."""
    if event.data.passed is not False:
        _take(row.programmes, f"training {event.data.training_id}", event, TAKEN_KEPT)
    return row


@offerings.on(CertificationEarned)
def certified(row: Offerings, event: Event[CertificationEarned]) -> Offerings:
    """They are certified."""
    _take(row.programmes, f"certification {event.data.certification}", event, TAKEN_KEPT)
    return row


@offerings.on(CertificationLapsed)
def lapsed(row: Offerings, event: Event[CertificationLapsed]) -> Offerings:
    """They are no more; news that is older than the certification changes nothing."""
    name = f"certification {event.data.certification}"[:NAME_KEPT]
    if row.programmes.get(name, _day(event) + 1) <= _day(event):
        del row.programmes[name]
    return row


@offerings.on(CrossSellOpeningFound)
def opening_found(row: Offerings, event: Event[CrossSellOpeningFound]) -> Offerings:
    """It need not be found again."""
    _take(row.found, opening_key(event.data.kind, event.data.opening), event, FOUND_KEPT)
    return row


class TakenTogether(Struct):
    """Accounts that have one thing, and how many of them have each other thing of its kind; of no name: all of a kind.

    taken: kind and name, with a bar between
    kind: category or programme
    name: what it is called
    accounts: number of accounts that have it
    both: number of accounts that have it and the other thing, by the other's name
    """

    taken: str
    kind: OpeningKind = "category"
    name: str = ""
    accounts: int = 0
    both: dict[str, int] = field(default_factory=dict)


class Pair(Struct, frozen=True):
    """Of the accounts that have one thing, how many have another, and how that compares to all.

    pair: kind, the one and the other, with bars between
    kind: category or programme
    having: the thing that they have
    opening: the other thing
    similar: number of accounts that have the one
    support: number of accounts that have both
    opening_accounts: number of accounts that have the other
    accounts: number of accounts that have anything of the kind
    share: support by similar, 0-1
    lift: share by the share of all accounts that have the other; 1 is as often as anybody
    """

    pair: str
    kind: OpeningKind
    having: str
    opening: str
    similar: int
    support: int
    opening_accounts: int
    accounts: int
    share: float
    lift: float


cross_sell: Aggregate[TakenTogether, Pair] = Aggregate(
    "cross_sell", version=1, row=TakenTogether, reads=Pair, of=offerings
)


@cross_sell.of_row
def together(row: Offerings) -> Iterable[TakenTogether]:
    """One account of each thing that it has, and of each pair of them."""
    for kind, names in taken(row):
        if names:
            yield TakenTogether(opening_key(kind, ""), kind, "", 1)
        for name in names:
            both = {other: 1 for other in names if other != name}
            yield TakenTogether(opening_key(kind, name), kind, name, 1, both)


@cross_sell.read
def lifts(shards: list[TakenTogether]) -> Iterable[Pair]:
    """Each pair that some account has, both ways."""
    accounts = {shard.taken: shard.accounts for shard in shards}
    for shard in shards:
        everybody = accounts.get(opening_key(shard.kind, ""), 0)
        for other, support in sorted(shard.both.items()):
            have = accounts.get(opening_key(shard.kind, other), 0)
            if everybody and have and shard.accounts:
                share = support / shard.accounts
                yield Pair(
                    pair=f"{shard.taken}|{other}",
                    kind=shard.kind,
                    having=shard.name,
                    opening=other,
                    similar=shard.accounts,
                    support=support,
                    opening_accounts=have,
                    accounts=everybody,
                    share=share,
                    lift=share * everybody / have,
                )


def taken(row: Offerings) -> tuple[tuple[OpeningKind, dict[str, int]], ...]:
    """What the account has, by kind."""
    return ("category", row.categories), ("programme", row.programmes)


def opening_key(kind: OpeningKind, name: str) -> str:
    """What a thing is known by among all kinds."""
    return f"{kind}|{name}"


def _day(event: Event[Any]) -> int:
    return (event.time - EPOCH).days


def _take(known: dict[str, int], name: str, event: Event[Any], most: int) -> None:
    """Keep the latest day of it; of too many things, the one taken longest ago is forgotten."""
    name = name[:NAME_KEPT]
    known[name] = max(known.get(name, 0), _day(event))
    if len(known) > most:
        del known[min(known, key=lambda one: (known[one], one))]
