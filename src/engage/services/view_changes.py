"""Follows the changes of a read model without an end, from a place that a reader names and can come back to.

A place in words is ``EPOCH:3,0,7``, the last change that was seen by partition; ``3~KEY`` (percent-encoded) where that
change was seen up to a key. It grows with each event, so whoever comes back with the last one misses nothing and is
told nothing again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal
from urllib.parse import quote, unquote

import msgspec
from msgspec import Struct

from engage.services.view_feed import value_of
from engage.services.waiting import Waiting
from engage.store.following import Following, Look, Places, Seen
from engage.store.reader import Changed, ViewMissingError
from engage.store.views import ViewStore
from engage.views.aggregate import Aggregate
from engage.views.asking import Condition
from engage.views.projection import ReadModel

LIMIT = 200
"""Changes that a follower has in memory at once."""
HEARTBEAT_SECONDS = 15.0
_LOOK_AGAIN_SECONDS = 1.0
"""Word that views have moved may be lost with a connection: look anyway."""

Kind = Literal["ready", "changed", "deleted", "stale", "reset", "heartbeat"]


class Told(Struct, frozen=True):
    """One thing to tell: ``place`` is where to go on behind it, ``data`` JSON; a heartbeat has neither."""

    kind: Kind
    data: bytes = b""
    place: str = ""


class NotFollowableError(ValueError):
    """The read model cannot be followed so: the message says what to do instead."""


def check_followable(model: ReadModel[Any], keys: Condition | None) -> None:
    """NotFollowableError for some keys of what is merged when it is read."""
    if isinstance(model, Aggregate) and keys is not None:
        raise NotFollowableError(
            f"{model.name} is added up across accounts when it is read, and any row may change by what one of them "
            f"does: follow all of it, and ask /v1/views/{model.name} again"
        )


async def follow(
    store: ViewStore,
    waiting: Waiting,
    model: ReadModel[Any],
    place: str | None = None,
    *,
    keys: Condition | None = None,
    from_start: bool = False,
    heartbeat: float = HEARTBEAT_SECONDS,
) -> AsyncIterator[Told]:
    """What changes in ``model`` behind ``place``, until ``waiting`` is closed.

    Without a place from now on or, ``from_start``, with every row as it is first. A place of another epoch, or none of
    ours, is told by ``reset``: forget all rows, those that there are follow. ``keys`` is a condition on the key. Of an
    aggregate, whose rows are merged when they are read, only that they are ``stale`` is told. ViewMissingError where
    nothing was folded yet; once it goes on, that is waited for.
    """
    following = Following(store, model, keys)
    epoch, heads = await asyncio.to_thread(following.start)
    places: Places = dict.fromkeys(heads, Seen(0)) if from_start else {one: Seen(head) for one, head in heads.items()}
    if place is not None:
        found = _parsed(place, epoch, heads)
        if found is None:
            places = dict.fromkeys(heads, Seen(0))
            yield _reset(model, epoch, places)
        else:
            places = found
    yield Told("ready", msgspec.json.encode({"view": model.name, "version": model.version}), _words(epoch, places))
    last, stale = _now(), False
    while not waiting.closed:
        moved = waiting.moved()
        look = await _looked(following, places)
        if look is not None and (look.epoch != epoch or _ahead(places, look.heads)):
            epoch, places = look.epoch, dict.fromkeys(look.heads, Seen(0))
            yield _reset(model, epoch, places)
            continue
        for partition, changed in () if look is None else look.changes:
            places[partition] = Seen(changed[2], changed[0])
            if isinstance(model, Aggregate):
                stale = True
            else:
                yield _told(model, changed, _words(epoch, places))
                last = _now()
        if look is not None and look.whole:
            places.update({partition: Seen(head) for partition, head in look.heads.items()})
            if stale:
                yield _stale(model, _words(epoch, places))
                last, stale = _now(), False
        elif look is not None:
            continue
        if _now() - last >= heartbeat:
            yield Told("heartbeat")
            last = _now()
        try:
            async with asyncio.timeout(max(0.0, min(_LOOK_AGAIN_SECONDS, last + heartbeat - _now()))):
                await moved.wait()
        except TimeoutError:
            pass


async def _looked(following: Following, places: Mapping[int, Seen]) -> Look | None:
    try:
        return await asyncio.to_thread(following.look, places, LIMIT)
    except ViewMissingError:  # it is being folded anew: there is something to see when it is there
        return None


def _told(model: ReadModel[Any], changed: Changed, place: str) -> Told:
    value = value_of(model, changed)
    if value is not None:
        return Told("changed", value, place)
    key, _, change, position = changed
    about = {"view": model.name, "version": model.version, "key": key, "change": change, "position": position}
    return Told("deleted", msgspec.json.encode(about), place)


def _stale(model: ReadModel[Any], place: str) -> Told:
    return Told("stale", msgspec.json.encode({"view": model.name, "version": model.version}), place)


def _reset(model: ReadModel[Any], epoch: str, places: Places) -> Told:
    words = "the view was made anew since, or this place is none of its own: forget its rows, all that there are follow"
    return Told("reset", msgspec.json.encode({"view": model.name, "why": words}), _words(epoch, places))


def _words(epoch: str, places: Places) -> str:
    parts = (
        str(seen.change) + ("" if seen.key is None else f"~{quote(seen.key, safe='')}") for seen in _ordered(places)
    )
    return f"{epoch}:{','.join(parts)}"


def _parsed(place: str, epoch: str, heads: Mapping[int, int]) -> Places | None:
    """The place in words; None if it is of another epoch, or none of ours."""
    theirs, _, rest = place.rpartition(":")
    parts = rest.split(",")
    if theirs != epoch or len(parts) != len(heads):
        return None
    places: Places = {}
    for partition, part in zip(sorted(heads), parts, strict=True):
        number, tilde, key = part.partition("~")
        if not (number.isascii() and number.isdecimal() and len(number) < 19):
            return None
        places[partition] = Seen(int(number), unquote(key, errors="replace") if tilde else None)
    return None if _ahead(places, heads) else places


def _ahead(places: Mapping[int, Seen], heads: Mapping[int, int]) -> bool:
    """Whether more was seen than there is: then the store was put back from a copy."""
    return any(seen.change > heads.get(partition, 0) for partition, seen in places.items())


def _ordered(places: Places) -> list[Seen]:
    return [seen for _, seen in sorted(places.items())]


def _now() -> float:
    return asyncio.get_running_loop().time()
