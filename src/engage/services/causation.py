"""What led to an event and what it led to: the tree that ``causationid`` spans over an account's story."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from engage.events.envelope import Event
from engage.log.contract import Log
from engage.services.log_search import Wanted, find


class Chain(Struct):
    """An event, and the chains of those that it led to, in the order of the log."""

    event: Event[Any]
    led_to: list[Chain] = []


async def chain_of(log: Log, event: Event[Any]) -> Chain:
    """The whole tree that ``event`` belongs to, from the first cause that is on the log.

    Cause and effect are of one account, since no rule reaches beyond it, so the account's records are all that is read.
    """
    story = [one async for one in find(log, Wanted(account=event.subject))]
    return grown(story, event)


def grown(story: Iterable[Event[Any]], event: Event[Any]) -> Chain:
    """The tree around ``event`` in ``story``, an account's records in the order of the log.

    Ids are unique within a source only, so of several events of the same id the last one before the effect is its
    cause.
    """
    causes: dict[tuple[int, int], Event[Any]] = {}
    effects: dict[tuple[int, int], list[Event[Any]]] = {}
    by_id: dict[str, Event[Any]] = {}
    for one in story:
        cause = by_id.get(one.causationid or "")
        if cause is not None:
            causes[_place(one)] = cause
            effects.setdefault(_place(cause), []).append(one)
        by_id[one.id] = one
    root = event
    while (cause := causes.get(_place(root))) is not None:
        root = cause
    # An effect stands behind its cause, so there is no ring, and a loop instead of recursion knows no depth.
    whole = Chain(root, [])
    waiting = [whole]
    while waiting:
        chain = waiting.pop()
        chain.led_to = [Chain(one, []) for one in effects.get(_place(chain.event), ())]
        waiting += chain.led_to
    return whole


def _place(event: Event[Any]) -> tuple[int, int]:
    return (event.partition, event.offset)
