"""The rows of one account, folded anew from all its events, and what follows from them for the sums of all accounts."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from typing import Any

from msgspec import Raw, Struct, structs

from engage.events.codec import open_data
from engage.events.envelope import Event
from engage.services.intake import tick
from engage.services.verifying import Memory
from engage.store.families import Family, Slot
from engage.store.views import ViewStore
from engage.views.aggregate import Aggregate
from engage.views.passes import AggregatePass, Folded
from engage.views.projection import Projection, ReadModel
from engage.views.walk import Span


class Refolded(Struct, frozen=True):
    """What a fold anew makes of one read model, and what of the account need not stand still any more."""

    folded: Folded
    released: Sequence[tuple[str, str]] = ()


def refolded(
    store: ViewStore,
    family: Family,
    account: str,
    events: Sequence[Event[Any]],
    last: Event[Any],
    slot: Slot = "live",
    passed: Collection[int] = (),
) -> list[Refolded]:
    """What is to be written for ``account``, of whom ``events`` are all; ``last`` is the partition's last record.

    The events at the offsets ``passed`` are folded by none of its rows, and rows that only they would make go.
    ValueError for a read model of no account: an aggregate alone.
    """
    model = family[0]
    if not isinstance(model, Projection):
        raise ValueError(f"{model.name!r} adds up what all accounts did: rebuild it whole")
    keys: dict[str, None] = {}
    table = store.table(model, slot)
    memory = Memory([_noting(model, keys)], {model.name: table})
    for event in events:
        if event.offset in passed and (key := _key_of(model, event)) is not None:
            keys[key] = None
    heard = [event for event in events if event.offset not in passed]
    if heard:
        memory.fold(heard, {})
    theirs = list(keys)
    moved = tick(last.partition, last.now)
    memory.fold([structs.replace(moved, recorded=last.now, partition=last.partition, offset=last.offset)], {})
    rows = memory.rows[model.name]
    made = {key: table.decode(rows[key]) if key in rows else None for key in theirs}
    due = {key: moment for key, moment in memory.dues[model.name].items() if key in made}
    folded = Folded(model, made, due, parked=memory.parked[model.name], skipped=memory.skipped[model.name])
    released = [("account", account), *(("row", key) for key in theirs)]
    stored = store.load(model, theirs, slot)
    sums = [_corrected(store, one, stored, made, last, slot) for one in family if isinstance(one, Aggregate)]
    return [Refolded(folded, released), *(Refolded(one) for one in sums)]


def _key_of(model: Projection[Any], event: Event[Any]) -> str | None:
    """The row that an event would have changed, if that can be known."""
    try:
        if isinstance(event.data, Raw):
            open_data(event)
        return model.key(event)
    except Exception:  # it is passed over because something of it fails
        return None


def _noting(model: Projection[Any], keys: dict[str, None]) -> Projection[Any]:
    """The same read model, which notes the keys of the rows that it is asked to fold."""
    noting, key = copy.copy(model), model.key

    def noted(event: Event[Any]) -> str | None:
        found = key(event)
        if found is not None:
            keys[found] = None
        return found

    noting.key = noted
    return noting


def _corrected(
    store: ViewStore,
    aggregate: Aggregate[Any, Any],
    before: dict[str, Any],
    after: dict[str, Any],
    last: Event[Any],
    slot: Slot,
) -> Folded:
    """The shards of an aggregate once the shares of the rows before are taken back and those of the rows now given."""
    shares = AggregatePass(aggregate, None)
    if aggregate.share is not None:
        for rows, sign in ((before, -1), (after, 1)):
            for row in rows.values():
                if row is not None:
                    shares.give(list(aggregate.share(row)), sign)

    def load(model: ReadModel[Any], keys: Sequence[str]) -> dict[str, Any]:
        return store.load(model, keys, slot)

    return shares.finish(load, Span([last]))
