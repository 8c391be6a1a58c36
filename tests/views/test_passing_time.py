"""What changes without an event: rows are woken on their moment, however the log is cut into batches."""

import copy
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, structs

from engage.events.catalogue.commerce import OrderCompleted
from engage.events.catalogue.cross_sell import CrossSellOpeningFound
from engage.events.envelope import Event
from engage.testing.events import happened
from engage.testing.projections import given as given_events
from engage.views.folding import Folding
from engage.views.parking import Stops
from engage.views.projection import Projection

START = datetime(2026, 3, 1, tzinfo=UTC)
WEEK = timedelta(days=7)


class Warmth(Struct):
    """A relationship that cools by one degree for each week without an order, and is forgotten when it is cold."""

    account: str
    degrees: int = 0
    since: datetime = START


warmth = Projection("warmth", version=1, row=Warmth)


@warmth.on(OrderCompleted)
def ordered(row: Warmth, event: Event[OrderCompleted]) -> Warmth:
    row.degrees = min(3, row.degrees + 1)
    row.since = event.now
    return row


@warmth.on_wake(lambda row: row.since + WEEK)
def cooled(row: Warmth, moment: datetime) -> Warmth | None:
    row.degrees -= 1
    row.since = moment
    return row if row.degrees else None


@warmth.announces(lambda row: row.degrees >= 2)
def crossed(before: bool | None, row: Warmth, moment: datetime) -> list[CrossSellOpeningFound]:
    if before is None:
        return []
    kind = "warm" if row.degrees >= 2 else f"cool since {moment:%d %B}"
    return [CrossSellOpeningFound(kind="category", opening=kind, support=1, similar=1, lift=1.0)]


def order(at: datetime, subject: str = "acc-1", offset: int = -1, coupon: str | None = None) -> Event[Any]:
    data = OrderCompleted(order_id=f"o-{offset}", total=10, coupon=coupon)
    return happened(data, at=at, subject=subject, offset=offset)


def test_a_row_is_woken_on_its_moment_and_not_before():
    told = given_events(warmth, order(START), order(START + timedelta(days=1)))
    told.until(START + timedelta(days=7, hours=23)).then("acc-1", degrees=2)
    told.until(START + timedelta(days=8)).then("acc-1", degrees=1, since=START + timedelta(days=8))
    told.until(START + timedelta(days=15)).then_no_row("acc-1")


def test_what_was_due_comes_before_the_event_that_passes_it():
    given_events(warmth, order(START), order(START), order(START + 2 * WEEK)).then(
        "acc-1", degrees=1, since=START + 2 * WEEK
    )


def test_what_changes_is_announced_with_its_moment():
    def said(opening: str) -> CrossSellOpeningFound:
        return CrossSellOpeningFound(kind="category", opening=opening, support=1, similar=1, lift=1.0)

    told = given_events(warmth, order(START)).then_announced()
    told.when(order(START)).then_announced(said("warm"))
    told.when(order(START + WEEK + timedelta(days=2))).then_announced(said("cool since 08 March"), said("warm"))


def test_a_row_that_asks_for_a_moment_that_is_past_is_parked():
    restless = Projection("restless", version=1, row=Warmth)
    restless.on(OrderCompleted)(ordered)
    restless.on_wake(lambda row: START + WEEK)(lambda row, moment: row)
    events = [order(START, offset=0), order(START + 2 * WEEK, offset=1)]
    [folded] = Folding([restless]).fold(events, lambda model, keys: {})
    assert list(folded.parked) == [("row", "acc-1")]
    assert "ask for later" in folded.parked["row", "acc-1"].error
    assert folded.rows["acc-1"].since == START
    assert not folded.due, "what stands still is not woken either"


def test_an_append_only_model_cannot_be_woken():
    with pytest.raises(ValueError, match="append-only"):
        Projection("log", version=1, row=Warmth, append_only=True).on_wake(lambda row: None)


HISTORIES = st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["a", "b", "c"])), min_size=1, max_size=25)


@given(HISTORIES, st.lists(st.integers(1, 8), min_size=25, max_size=25))
def test_however_the_log_is_cut_rows_and_announcements_are_the_same(history, cuts):
    moments = sorted(days for days, _ in history)
    events = [
        order(START + timedelta(days=days), subject, offset)
        for offset, (days, (_, subject)) in enumerate(zip(moments, history, strict=True))
    ]
    whole, cut = fold(events, [len(events)]), fold(events, cuts)
    assert whole == cut


@given(HISTORIES, st.integers(0, 25), st.lists(st.integers(1, 8), min_size=25, max_size=25))
def test_what_nobody_hears_is_not_made_and_all_else_is_the_same(history, silent_until, cuts):
    moments = sorted(days for days, _ in history)
    events = [
        order(START + timedelta(days=days), subject, offset)
        for offset, (days, (_, subject)) in enumerate(zip(moments, history, strict=True))
    ]
    rows, due, announced, *stopped = fold(events, cuts)
    heard = {identity: told for identity, told in announced.items() if told[1] >= silent_until}
    assert fold(events, cuts, silent_until=silent_until) == (rows, due, heard, *stopped)


brittle = Projection("brittle", version=1, row=Warmth)


@brittle.on(OrderCompleted)
def tried(row: Warmth, event: Event[OrderCompleted]) -> Warmth:
    if event.data.coupon:
        row.degrees = 99  # half changed, when it fails
        raise ValueError("a coupon that nobody gave")
    ordered(row, event)
    return row


@brittle.on_wake(lambda row: row.since + WEEK)
def strained(row: Warmth, moment: datetime) -> Warmth:
    if row.account == "c" and row.degrees == 1:
        raise ValueError("it breaks when it is cold")
    row.degrees = max(0, row.degrees - 1)
    row.since = moment
    return row


@given(HISTORIES, st.sets(st.integers(0, 24)), st.lists(st.integers(1, 8), min_size=25, max_size=25))
def test_what_fails_stands_still_at_the_same_place_however_the_log_is_cut(history, bad, cuts):
    moments = sorted(days for days, _ in history)
    events = [
        order(START + timedelta(days=days), subject, offset, coupon="x" if offset in bad and subject != "c" else None)
        for offset, (days, (_, subject)) in enumerate(zip(moments, history, strict=True))
    ]
    parked: dict[tuple[str, str], int] = {}
    whole, cut = fold(events, [len(events)], brittle, parked), fold(events, cuts, brittle, {})
    assert whole == cut
    known = Stops({key: offset for (_, key), offset in parked.items()})
    assert fold(events, cuts, brittle, {}, known)[0] == whole[0]


def fold(
    events: list[Event[Any]],
    cuts: list[int],
    model: Projection[Any] = warmth,
    parked: dict[Any, int] | None = None,
    known: Stops | None = None,
    silent_until: int = 0,
) -> Any:
    rows: dict[str, Warmth] = {}
    due: dict[str, datetime] = {}
    announced = {}
    skipped: Counter[Any] = Counter()
    stops = known or Stops()
    stopped = {} if parked is None else parked
    folding = Folding([model])
    rest = [structs.replace(event) for event in events]
    for size in cuts:
        batch, rest = rest[:size], rest[size:]
        if not batch:
            break
        taken = folding.take(
            batch,
            {model.name: stops},
            lambda model, partition, until: [key for key, moment in due.items() if moment <= until],
            silent_until={model.name: silent_until},
        )
        [folded] = taken.fold(lambda model, keys: {key: copy.deepcopy(rows[key]) for key in keys if key in rows})
        for key, row in folded.rows.items():
            rows.pop(key, None)
            due.pop(key, None)
            if row is not None:
                rows[key] = row
        for (scope, key), one in folded.parked.items():
            stops.add(scope, key, one.offset)
            stopped[scope, key] = one.offset
            due.pop(key, None)
        due.update(folded.due)
        skipped.update(folded.skipped)
        announced.update({one.id: (one.data, one.offset, one.time) for one in folded.announced})
    return rows, due, announced, stopped, +skipped
