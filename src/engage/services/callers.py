"""Who asks for something: a name that was proven, and what its bearer may do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from msgspec import Raw, Struct

from engage.events.envelope import Event
from engage.events.validation import Fault, Refusal
from engage.log.contract import Answer
from engage.scopes import EVERYTHING, Scope
from engage.services import tracing


class _Said(Struct, gc=False):
    source: str


_said = msgspec.json.Decoder(_Said).decode


class Caller(Struct, frozen=True):
    """Who asks (``name``), and for what they may.

    ``sources`` are those that they may publish as, the first where they name none; empty: any. ``proven`` is False
    where nobody has to prove anything. ``rate`` is how many requests a second they may make; None: as the settings say.
    """

    name: str
    scopes: frozenset[Scope] = EVERYTHING
    sources: tuple[str, ...] = ()
    proven: bool = True
    rate: float | None = None

    def actor(self, said: str | None) -> str | None:
        """Who it was, for the log: whom they named, behind their own name where that is proven; None for nobody.

        A name holds no slash, so nobody can pass for another: ``console/ada`` was said by ``console`` alone.
        """
        if not self.proven:
            return said
        return self.name if said in (None, self.name) else f"{self.name}/{said}"

    def foreign(self, events: Sequence[bytes | Event[Raw]]) -> dict[int, Refusal]:
        """The events, by their place, whose source is not the caller's; what is no event at all is not told here."""
        if not self.sources:
            return {}
        found = {}
        for place, event in enumerate(events):
            source = event.source if isinstance(event, Event) else _source(event)
            if source is not None and source not in self.sources:
                words = f"is {source!r}, and {self.name!r} may publish as {', '.join(map(repr, self.sources))}"
                found[place] = Refusal("source", (Fault("/source", words),))
        return found


class BadTokenError(Exception):
    """A token that proves nothing; the message says why, and never repeats it."""


class ProviderUnavailableError(RuntimeError):
    """The provider's keys cannot be had, and none were had before."""


async def publish_as(
    caller: Caller,
    events: Sequence[bytes | Event[Raw]],
    publish: Callable[[Sequence[bytes | Event[Raw]]], Awaitable[list[Answer]]],
) -> list[Answer]:
    """What ``publish`` answers, with the refusals of events whose source is not the caller's in their places."""
    events = tracing.stamped(events)
    foreign = caller.foreign(events)
    if not foreign:
        return await publish(events)
    own = [event for place, event in enumerate(events) if place not in foreign]
    answers = iter(await publish(own) if own else ())
    return [foreign[place] if place in foreign else next(answers) for place in range(len(events))]


ANYBODY = Caller("anybody", proven=False)
"""Whoever it may be, on a loopback where there are no keys."""


def _source(event: bytes) -> str | None:
    try:
        return _said(event).source
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
