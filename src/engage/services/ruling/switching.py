"""Lets a rule rest, and come back: a word to each partition of the log, so that every fold of it knows since when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from msgspec import Raw, Struct

from engage.events import codec
from engage.events.catalogue.rule import RuleDisabled, RuleEnabled
from engage.events.envelope import PARTITION_SUBJECT, Event
from engage.rules.rule import Rule
from engage.services.letters.acting import SOURCE, WAIT_SECONDS
from engage.services.letters.source import Source
from engage.services.ruling.standing import State, state_of

_LOOK_SECONDS = 0.05


class Switched(Struct, frozen=True):
    """What came of it: how the rule stands now, and whether it stood otherwise before."""

    name: str
    state: State
    changed: bool


async def switch(
    rule: Rule[Any, Any],
    on: bool,
    *,
    source: Source,
    partitions: int,
    tell: Callable[[Sequence[Event[Raw]]], Awaitable[Any]],
    actor: str,
    time: datetime,
    reason: str | None = None,
    seconds: float = WAIT_SECONDS,
) -> Switched:
    """Disable the rule, or enable it, on every partition, and wait up to ``seconds`` until that is so.

    One that stands so already is left as it is.
    """
    wanted: State = "on" if on else "off"
    before = state_of(rule, await source.bases())
    if before == wanted:
        return Switched(rule.name, before, False)
    await tell([_word(rule.name, partition, on, actor, time, reason) for partition in range(partitions)])
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        state = state_of(rule, await source.bases())
        if state == wanted or loop.time() > deadline:
            return Switched(rule.name, state, True)
        await asyncio.sleep(_LOOK_SECONDS)


def _word(name: str, partition: int, on: bool, actor: str, time: datetime, reason: str | None) -> Event[Raw]:
    data = (
        RuleEnabled(partition=partition, rule=name)
        if on
        else RuleDisabled(partition=partition, rule=name, reason=reason)
    )
    return codec.new_event(
        data,
        id=f"{'enabled' if on else 'disabled'}:{partition}:{name}:{time.isoformat()}",
        source=SOURCE,
        subject=f"{PARTITION_SUBJECT}{partition}",
        time=time,
        actor=actor,
    )
