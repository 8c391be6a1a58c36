"""A family of read models that uses all there is: rows that wake, announce, and are added up across accounts."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from engage.events.catalogue.commerce import OrderCompleted, OrderRefunded
from engage.events.catalogue.cross_sell import CrossSellOpeningFound
from engage.events.envelope import Event
from engage.log.partitioning import partition_of
from engage.services.projector import Projector
from engage.store.views import ViewStore
from engage.testing.memory_log import MemoryLog
from engage.views.aggregate import Aggregate
from engage.views.projection import Projection
from tests.services.shop_views import order, refund

WEEK = timedelta(days=7)


class Regular(Struct):
    """How often an account came of late: one less for each week in which it did not come."""

    account: str
    visits: int = 0
    since: datetime | None = None


class Share(Struct):
    """Accounts and visits of one warmth."""

    warmth: str
    accounts: int = 0
    visits: int = 0
    orders: int = 0


class Warmth(Struct):
    """Accounts of one warmth, their visits, and all orders there were."""

    warmth: str
    accounts: int = 0
    visits: int = 0
    orders: int = 0


def warmth_of(row: Regular) -> str:
    return "warm" if row.visits >= 2 else "cool"


def make(version: int = 1, weight: int = 1) -> tuple[Projection[Regular], Aggregate[Share, Warmth]]:
    """The family; a visit counts ``weight`` in it."""
    regulars = Projection("regulars", version=version, row=Regular, indexes=("visits",))

    @regulars.on(OrderCompleted)
    def came(row: Regular, event: Event[OrderCompleted]) -> Regular:
        row.visits = min(5, row.visits + weight)
        row.since = event.now
        return row

    @regulars.on(OrderRefunded)
    def gone(row: Regular, event: Event[OrderRefunded]) -> None:
        return None

    @regulars.on_wake(lambda row: None if row.since is None else row.since + WEEK)
    def forgotten(row: Regular, moment: datetime) -> Regular | None:
        row.visits -= 1
        row.since = moment
        return row if row.visits > 0 else None

    @regulars.announces(warmth_of)
    def crossed(before: str | None, row: Regular, moment: datetime) -> list[CrossSellOpeningFound]:
        told = f"{before} to {warmth_of(row)}"
        return [CrossSellOpeningFound(kind="category", opening=told, support=1, similar=1, lift=1.0)]

    warmths = Aggregate("warmths", version=version, row=Share, reads=Warmth, of=regulars)

    @warmths.of_row
    def shares(row: Regular) -> Iterator[Share]:
        yield Share(warmth_of(row), accounts=1, visits=row.visits)

    @warmths.on(OrderCompleted)
    def counted(event: Event[OrderCompleted]) -> Iterator[Share]:
        yield Share("all", orders=1)

    @warmths.read
    def read(shards: list[Share]) -> Iterator[Warmth]:
        return (Warmth(one.warmth, one.accounts, one.visits, one.orders) for one in shards)

    return regulars, warmths


regulars, warmths = make()


def town_log(orders: int = 60, generation: str = "the town") -> MemoryLog:
    """The same log each time it is asked for, also in another process."""
    log = MemoryLog(partitions=2, generation=generation)
    log.append(*told(0, orders))
    return log


def told(first: int, last: int) -> list[Event[Any]]:
    """Orders of nine accounts over a month, and now and then somebody who wants no more."""
    return [
        refund(number, f"acc-{number % 9}")
        if number % 13 == 12
        else order(number, number % 7 + 1, f"acc-{number % 9}", day=1 + number // 3 % 28)
        for number in range(first, last)
    ]


def stored(store: ViewStore) -> dict[str, list[Any]]:
    """All that readers get."""
    return {"regulars": store.select(regulars), "warmths": store.merged(warmths)}


async def assert_right(projector: Projector) -> None:
    """Every row is the fold of the log."""
    for model in projector.projections:
        difference = await projector.verify(model)
        assert difference is None, (model.name, difference)


def own_partition(account: str) -> int:
    return partition_of(account, 2)
