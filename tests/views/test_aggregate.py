"""Read models across accounts: what all rows have to say, added up exactly, whichever partition they are of."""

import copy
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, field, structs

from engage.events.catalogue.commerce import OrderCompleted, OrderRefunded, ProductViewed
from engage.events.envelope import Event
from engage.testing.events import happened
from engage.testing.projections import given as given_events
from engage.views.aggregate import Aggregate
from engage.views.folding import Folding
from engage.views.parking import Stops
from engage.views.projection import Projection


class Buyer(Struct):
    """What an account has bought."""

    account: str
    orders: int = 0
    cents: int = 0


buyers = Projection("buyers", version=1, row=Buyer)


@buyers.on(OrderCompleted)
def bought(row: Buyer, event: Event[OrderCompleted]) -> Buyer:
    if event.data.coupon == "bad":
        raise ValueError("a coupon that nobody gave")
    row.orders += 1
    row.cents += round(event.data.total * 100)
    return row


@buyers.on(OrderRefunded)
def left(row: Buyer, event: Event[OrderRefunded]) -> None:
    return None


class Shelf(Struct):
    """Buyers by how often they bought, and what was looked at."""

    orders_each: str
    accounts: int = 0
    cents: int = 0
    seen: dict[str, int] = field(default_factory=dict)


class Mean(Struct):
    """What readers get."""

    orders_each: str
    accounts: int
    mean: float | None
    seen: dict[str, int]


shelves = Aggregate("shelves", version=1, row=Shelf, reads=Mean, of=buyers)


@shelves.of_row
def by_orders(row: Buyer) -> list[Shelf]:
    return [Shelf(f"{row.orders}", 1, row.cents)]


@shelves.on(ProductViewed)
def seen(event: Event[ProductViewed]) -> list[Shelf]:
    if event.data.category is None:
        raise ValueError("no category")
    return [Shelf("all", seen={event.data.category: 1})]


@shelves.read
def means(shards: list[Shelf]) -> list[Mean]:
    return [
        Mean(one.orders_each, one.accounts, one.cents / 100 / one.accounts if one.accounts else None, one.seen)
        for one in shards
    ]


def order(subject: str, total: float, *, coupon: str | None = None, **place: Any) -> Event[Any]:
    return happened(OrderCompleted(order_id="o", total=total, coupon=coupon), at="2026-03-01", subject=subject, **place)


def viewed(subject: str, category: str | None, **place: Any) -> Event[Any]:
    return happened(ProductViewed(product_id="p", category=category), at="2026-03-01", subject=subject, **place)


def test_a_row_that_changes_takes_its_old_share_back():
    told = given_events(shelves, order("a", 10), order("b", 20)).then("1", accounts=2, mean=15.0)
    told.when(order("b", 40)).then("1", accounts=1, mean=10.0).then("2", accounts=1, mean=60.0)
    told.when(happened(OrderRefunded(order_id="o", total=10), at="2026-03-02", subject="a")).then_no_row("1")


def test_shards_of_all_partitions_are_one_row_when_read():
    told = given_events(
        shelves, order("a", 10, partition=0), order("b", 20, partition=3), viewed("b", "x", partition=3)
    )
    told.when(viewed("a", "x"), viewed("a", "y")).then("1", accounts=2, mean=15.0).then("all", seen={"x": 2, "y": 1})


def test_an_event_that_cannot_be_counted_parks_its_account_for_the_aggregate_alone():
    events = [
        order("a", 10, offset=0),
        viewed("a", None, offset=1),
        viewed("a", "x", offset=2),
        viewed("b", "x", offset=3),
    ]
    rows, sums = Folding([buyers, shelves]).fold(events, lambda model, keys: {})
    assert list(sums.parked) == [("account", "a")]
    assert sums.skipped == {("account", "a"): 1}
    assert sums.rows["0:all"].seen == {"x": 1}
    assert not rows.parked
    assert sums.rows["0:1"].accounts == 1


def test_a_row_that_stands_still_keeps_its_share():
    rows, sums = Folding([buyers, shelves]).fold(
        [order("a", 10, offset=0), order("a", 5, coupon="bad", offset=1)], lambda model, keys: {}
    )
    assert list(rows.parked) == [("row", "a")]
    assert rows.rows["a"] == Buyer("a", 1, 1000)
    assert sums.rows == {"0:1": Shelf("0:1", 1, 1000)}


def test_shares_are_whole_numbers():
    with pytest.raises(TypeError, match="whole numbers"):
        Aggregate("means", version=1, row=Mean, reads=Mean)


def test_an_aggregate_is_folded_with_the_rows_it_is_of():
    with pytest.raises(ValueError, match="folded with 'buyers'"):
        Folding([shelves])


STEPS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["order", "leave", "view", "bad order", "bad view"])),
    max_size=30,
)


@given(STEPS, st.integers(1, 4), st.lists(st.integers(1, 6), min_size=30, max_size=30))
def test_sums_are_those_of_the_rows_however_the_log_is_cut(steps, partitions, cuts):
    stored: dict[str, dict[str, Any]] = {"buyers": {}, "shelves": {}}
    stops: dict[str, Any] = {}
    folding = Folding([buyers, shelves])

    def load(model: Any, keys: Any) -> dict[str, Any]:
        return {key: copy.deepcopy(stored[model.name][key]) for key in keys if key in stored[model.name]}

    made = {
        "order": lambda who: order(who, 10),
        "bad order": lambda who: order(who, 10, coupon="bad"),
        "view": lambda who: viewed(who, "x"),
        "bad view": lambda who: viewed(who, None),
        "leave": lambda who: happened(OrderRefunded(order_id="o", total=10), at="2026-03-02", subject=who),
    }
    views: Counter[str] = Counter()
    unseen: set[str] = set()
    for partition in range(partitions):
        events = [
            structs.replace(made[kind](who), partition=partition, offset=offset)
            for offset, (who, kind) in enumerate(step for step in steps if ord(step[0]) % partitions == partition)
        ]
        for event in events:
            if event.type == "Product Viewed" and event.subject not in unseen:
                if event.data.category is None:
                    unseen.add(event.subject)
                else:
                    views[event.data.category] += 1
        for size in cuts:
            batch, events = events[:size], events[size:]
            for folded in folding.fold(batch, load, stops):
                table = stored[folded.model.name]
                for key, row in folded.rows.items():
                    table.pop(key, None)
                    if row is not None:
                        table[key] = row
                for stopped in folded.parked.values():
                    stops.setdefault(folded.model.name, Stops()).add(stopped.scope, stopped.key, stopped.offset)
    expected = Counter(str(row.orders) for row in stored["buyers"].values())
    found = {row.orders_each: row for row in shelves.merged(list(stored["shelves"].values()))}
    assert {key: row.accounts for key, row in found.items() if key != "all"} == expected
    assert (found["all"].seen if "all" in found else {}) == views
