"""The short way makes the rows that the long way makes, or says that it cannot."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, structs

from engage.events import codec
from engage.events.catalogue.commerce import CheckoutStarted, OrderCompleted
from engage.events.catalogue.identity import IdentityLinked, IdentityParted
from engage.events.envelope import Event
from engage.log.contract import Record
from engage.services.records import placed_events
from engage.testing.events import happened
from engage.views.folding import Folding
from engage.views.plain_folding import IrregularError, PlainFolding, all_plain
from engage.views.projection import Projection, account_of
from tests.services.shop_views import Order, Spend, entries, order, orders, refund, spend, unknown

ACCOUNTS = ["acc-1", "acc-2", "partition:3"]

visits = Projection("visits", version=1, row=Spend, key=account_of)
words = Projection("words", version=1, row=Spend, stays=True)


@visits.on(CheckoutStarted, OrderCompleted)
def visited(row: Spend, event: Event[Any]) -> Spend | None:
    row.orders += 1
    row.last = event.now
    return None if row.orders % 4 == 0 else row  # gone, and begun anew with the next one


@visits.on(IdentityLinked)
def begun(row: Spend, event: Event[IdentityLinked]) -> Spend:
    row.orders += 10
    return row


@words.on(OrderCompleted)
def said(row: Spend, event: Event[OrderCompleted]) -> Spend:
    row.orders += 1
    row.total[f"{event.partition}:{event.offset}"] = event.data.total
    return row


broken = Projection("broken", version=1, row=Spend, key=lambda event: event.data.nothing)
broken.on(OrderCompleted)(said)

PLAIN: tuple[Projection[Any], ...] = (visits, words, spend)


@st.composite
def told(draw: st.DrawFn) -> Event[Any]:
    subject = draw(st.sampled_from(ACCOUNTS))
    event = draw(
        st.sampled_from(
            [
                order(1, subject=subject),
                order(2, 5, subject=subject),
                refund(1, subject=subject),
                unknown(subject),
                happened(CheckoutStarted(cart_id="c"), at="2026-03-01", subject=subject),
                happened(IdentityLinked(account="acc-9"), at="2026-03-01", subject=subject),
                happened(IdentityParted(visitor="anon-1"), at="2026-03-01", subject=subject),
            ]
        )
    )
    elsewhere: dict[str, Any] = draw(
        st.sampled_from([{}, {}, {}, {"linkedto": "acc-9"}, {"origin": "anon-1"}, {"retold": True}])
    )
    return structs.replace(event, **elsewhere)


def records(events: Sequence[Event[Any]]) -> list[Record]:
    bare = [structs.replace(event, partition=-1, offset=-1) for event in events]
    return [Record(2, 2 * number, None, codec.encode(event)) for number, event in enumerate(bare)]


def short_way(model: Projection[Any], kept: list[Record], stored: dict[str, Any], piece: int) -> dict[str, Any]:
    folding, asked = PlainFolding([model]), list[str]()

    def load(_: Any, keys: Sequence[str]) -> dict[str, Any]:
        asked.extend(keys)
        return copied({key: stored[key] for key in keys if key in stored})

    for first in range(0, len(kept), piece):
        folding.take(placed_events(kept[first : first + piece], folding.wanted), load)
    assert len(asked) == len(set(asked)), "a row is asked for once"
    [folded] = folding.folded()
    assert (folded.model, folded.due, folded.announced, folded.parked, folded.skipped) == (model, {}, [], {}, {})
    return folded.rows


def long_way(model: Projection[Any], kept: list[Record], stored: dict[str, Any]) -> dict[str, Any]:
    def load(_: Any, keys: Sequence[str]) -> dict[str, Any]:
        return copied({key: stored[key] for key in keys if key in stored})

    [folded] = Folding([model]).fold(placed_events(kept), load)
    return folded.rows


def copied(rows: dict[str, Any]) -> dict[str, Any]:
    return {key: msgspec.json.decode(msgspec.json.encode(row), type=type(row)) for key, row in rows.items()}


@given(st.lists(told(), max_size=20), st.sets(st.sampled_from(ACCOUNTS[:2])), st.integers(1, 7))
def test_it_makes_the_rows_of_the_long_way_however_it_is_cut(
    events: list[Event[Any]], there: set[str], piece: int
) -> None:
    kept = records(events)
    for model in PLAIN:
        stored = {account: Spend(account, orders=2) for account in there}
        assert short_way(model, kept, stored, piece) == long_way(model, kept, stored)


def test_rows_of_many_keys_an_account_are_made_and_deleted() -> None:
    kept = records([order(1), order(2), refund(1), order(3), refund(4)])
    stored = {"acc-1/o-3": Order("acc-1/o-3"), "acc-1/o-4": Order("acc-1/o-4")}
    rows = short_way(orders, kept, stored, 2)
    assert rows == long_way(orders, kept, stored)
    assert rows == {
        "acc-1/o-2": Order("acc-1/o-2", "acc-1", 10.0),
        "acc-1/o-3": Order("acc-1/o-3", "acc-1", 10.0),
        "acc-1/o-4": None,
    }


def older_than_its_type() -> Event[Any]:
    return structs.replace(order(1), data=Raw(b'{"undeclared":"sealed:1:AAAA"}'))


@pytest.mark.parametrize(
    ("model", "event"),
    [
        pytest.param(spend, order(1, 13), id="a fold that fails"),
        pytest.param(spend, older_than_its_type(), id="data that no typed fold can read"),
        pytest.param(spend, structs.replace(order(1), data=Raw(b'{"total":"much"}')), id="data that does not fit"),
        pytest.param(broken, order(1), id="a key that cannot be told"),
        pytest.param(
            orders,
            happened(IdentityLinked(account="acc-9"), at="2026-03-01", subject="acc-1"),
            id="rows to give up that only the database knows",
        ),
    ],
)
def test_what_only_the_long_way_knows_how_to_fold_is_left_to_it(model: Projection[Any], event: Event[Any]) -> None:
    with pytest.raises(IrregularError):
        short_way(model, records([order(0, 1), event]), {}, 5)


def test_it_gives_up_at_what_it_is_to_beware_of() -> None:
    folding = PlainFolding([spend], beware={"Order Refunded"})
    with pytest.raises(IrregularError):
        folding.take(placed_events(records([order(0), refund(0)])), lambda model, keys: {})


def test_a_row_that_cannot_be_read_back_is_left_to_the_long_way() -> None:
    def load(model: Any, keys: Sequence[str]) -> dict[str, Any]:
        raise msgspec.ValidationError("no row of today's")

    with pytest.raises(IrregularError):
        PlainFolding([spend]).take(placed_events(records([order(0)])), load)


def test_what_has_more_to_say_than_its_rows_is_not_plain() -> None:
    woken = Projection("woken", version=1, row=Spend)
    woken.on_wake(lambda row: row.last)(lambda row, moment: row)
    watched = Projection("watched", version=1, row=Spend)
    watched.announces(lambda row: row.orders)(lambda before, row, moment: ())
    listening = Projection("listening", version=1, row=Spend)
    listening.on_any(lambda row, event: row)
    assert all_plain([spend, orders, visits])
    for model in (woken, watched, listening, entries):
        assert not all_plain([spend, model])
