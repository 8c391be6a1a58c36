"""What a follow-up rule is: which events it listens to, its state, its timers, what it asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar, overload

from msgspec import Struct

from engage.events.catalogue import type_of
from engage.events.catalogue.base import EventData, Ref, Text, ValueMeta
from engage.events.catalogue.follow_up import Priority, Purpose
from engage.events.envelope import Event

MANAGER = "manager"
"""The channel of the relationship manager's own queue: a task for a person, which needs no consent."""


class RuleSettings(Struct, metaclass=ValueMeta):
    """Base of a rule's settings: times, thresholds and limits, each with a default; they are on the log."""


class NoState(Struct, gc=False):
    """The state of a rule that needs none but its timers."""


class Wake(Struct, frozen=True, gc=False):
    """Wake me at ``at``, ``about`` this; one wake an ``about``, a second one replaces the first."""

    at: datetime
    about: str


class Forget(Struct, frozen=True, gc=False):
    """No longer wake me about this."""

    about: str


class FollowUpRequest(Struct, frozen=True, kw_only=True, gc=False):
    """What a rule asks for; the policy decides whether it becomes a follow-up.

    ``channels`` in order of preference; ``due`` is the service level and ``expires`` how long it can still help, both
    counted from the moment the request became due. ``matter`` names the subject matter of which one follow-up may be
    open at a time (default: the rule and ``about``).
    """

    what: Text
    why: Text
    about: Ref
    purpose: Purpose
    channels: tuple[Ref, ...] = (MANAGER,)
    priority: Priority = "normal"
    due: timedelta = timedelta(days=1)
    expires: timedelta = timedelta(days=14)
    matter: str | None = None


Effect = Wake | Forget | FollowUpRequest


class Woken(Struct, frozen=True, gc=False):
    """A wake that fires: it was asked for at ``due``, ``now`` is what the log says the time is."""

    account: str
    about: str
    due: datetime
    now: datetime


S = TypeVar("S", bound=Struct)
C = TypeVar("C", bound=RuleSettings)
D = TypeVar("D", bound=EventData)
D2 = TypeVar("D2", bound=EventData)
D3 = TypeVar("D3", bound=EventData)

OnEvent = Callable[[Any, Event[Any], Any], Iterable[Effect] | None]
OnWake = Callable[[Any, Woken, Any], Iterable[Effect] | None]


class Rule(Generic[S, C]):
    """A follow-up rule: handlers by event type over one account's state.

    Handlers change the state they are handed and yield effects; they are pure otherwise: no clock, no I/O, no
    randomness. A state equal to a fresh ``state()`` without wakes is not kept. It is a tree of plain values, so its
    Structs may be ``gc=False``: Python need not look for cycles among those of all accounts.
    """

    def __init__(self, name: str, *, version: int, settings: C, state: type[S]) -> None:
        self.name = name
        self.version = version
        self.settings = settings
        self.state = state
        self.handlers: dict[str, OnEvent] = {}
        self.wake_handler: OnWake | None = None

    @overload
    def on(self, kind: type[D], /) -> Callable[[Callable[[S, Event[D], C], Iterable[Effect] | None]], OnEvent]: ...

    @overload
    def on(
        self, kind: type[D], second: type[D2], /
    ) -> Callable[[Callable[[S, Event[D | D2], C], Iterable[Effect] | None]], OnEvent]: ...

    @overload
    def on(
        self, kind: type[D], second: type[D2], third: type[D3], /
    ) -> Callable[[Callable[[S, Event[D | D2 | D3], C], Iterable[Effect] | None]], OnEvent]: ...

    @overload
    def on(self, *kinds: type[EventData]) -> Callable[[OnEvent], OnEvent]: ...

    def on(self, *kinds: type[EventData]) -> Callable[[OnEvent], OnEvent]:
        """Call the decorated ``(state, event, settings)`` for each event of these types."""

        def register(handler: OnEvent) -> OnEvent:
            for kind in kinds:
                name = type_of(kind)
                if name in self.handlers:
                    raise ValueError(f"rule {self.name!r} has two handlers for {name!r}: join them")
                self.handlers[name] = handler
            return handler

        return register

    def configured(self, settings: C) -> Rule[S, C]:
        """The same rule with other settings."""
        other = copy(self)
        other.settings = settings
        return other

    def on_wake(self, handler: Callable[[S, Woken, C], Iterable[Effect] | None]) -> OnWake:
        """Call the decorated ``(state, wake, settings)`` when a wake fires."""
        self.wake_handler = handler
        return handler
