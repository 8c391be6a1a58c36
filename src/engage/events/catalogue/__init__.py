"""Every event type engage knows, by name; one file per family."""

from __future__ import annotations

from types import ModuleType

from engage.events.catalogue import (
    account,
    advertising,
    agreements,
    clock,
    command,
    commerce,
    consent,
    conversations,
    cross_sell,
    dead_letter,
    deals,
    deliveries,
    disputes,
    follow_up,
    health,
    identity,
    invoices,
    loyalty,
    market,
    negotiations,
    newsletters,
    profile,
    rule,
    segment,
    service_levels,
    support,
    surveys,
    term,
    training,
    tutorials,
    video,
    web,
)
from engage.events.catalogue.base import EventData, EventType, describe

FAMILIES: dict[str, tuple[ModuleType, ...]] = {
    "customers": (
        commerce,
        newsletters,
        conversations,
        advertising,
        video,
        tutorials,
        surveys,
        support,
        loyalty,
        consent,
        profile,
        web,
    ),
    "partners": (
        agreements,
        deliveries,
        service_levels,
        disputes,
        negotiations,
        deals,
        invoices,
        training,
    ),
    "market": (market,),
    "ours": (account, clock, command, cross_sell, dead_letter, follow_up, health, identity, rule, segment, term),
}


def _collect() -> dict[str, EventType]:
    found: dict[str, EventType] = {}
    for families in FAMILIES.values():
        for module in families:
            family = module.__name__.rpartition(".")[2]
            for value in vars(module).values():
                if isinstance(value, type) and issubclass(value, EventData) and value.__module__ == module.__name__:
                    entry = describe(value, family)
                    assert entry.name not in found, f"two event types are called {entry.name!r}"
                    found[entry.name] = entry
    return found


CATALOGUE: dict[str, EventType] = _collect()
BY_CLASS: dict[type[EventData], EventType] = {entry.data: entry for entry in CATALOGUE.values()}


def type_of(data: type[EventData]) -> str:
    """The event type's name on the wire, ``"Order Completed"`` for ``OrderCompleted``; KeyError if not catalogued."""
    return BY_CLASS[data].name


RESERVED: frozenset[str] = frozenset(
    entry.name
    for entry in CATALOGUE.values()
    if entry.family
    in ("clock", "command", "cross_sell", "dead_letter", "follow_up", "health", "identity", "rule", "segment", "term")
    or entry.name == "account.erased"
)
"""What only engage itself may say: nobody else may publish events of these types."""
