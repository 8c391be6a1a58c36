"""What engage itself says on the log: for each type the one source that says it, and of what it says it."""

from __future__ import annotations

from typing import Any

from engage.events.catalogue import CATALOGUE, RESERVED
from engage.events.envelope import OPERATIONS, PARTITION_SUBJECT, Event, is_account

SOURCES = "engage/"
"""How every source of engage's own begins; nobody else's may."""

_BY_FAMILY = {
    "account": "engage/erasure",
    "clock": "engage/clock",
    "command": "engage/audit",
    "cross_sell": "engage/views",
    "dead_letter": "engage/operators",
    "follow_up": "engage/relationships",
    "health": "engage/views",
    "identity": "engage/identity",
    "rule": "engage/rules",
    "segment": "engage/views",
    "term": "engage/views",
}
_BY_TYPE = {
    "follow_up.requested": "engage/rules",
    "follow_up.skipped": "engage/rules",
    "follow_up.delivered": "engage/channels",
    "follow_up.delivery_failed": "engage/channels",
    "rule.disabled": "engage/operators",
    "rule.enabled": "engage/operators",
}
_OF_PARTITIONS = frozenset(("clock", "rule"))

SPEAKERS: dict[str, str] = {name: _BY_TYPE.get(name) or _BY_FAMILY[CATALOGUE[name].family] for name in RESERVED}
"""The source that says a reserved type."""
OF_PARTITIONS: frozenset[str] = frozenset(name for name in RESERVED if CATALOGUE[name].family in _OF_PARTITIONS)
"""The reserved types that are said of a partition and not of an account."""
_OF_OPERATIONS = frozenset(name for name in RESERVED if CATALOGUE[name].family == "command")
_OF_ANYTHING = frozenset(name for name in RESERVED if CATALOGUE[name].family == "dead_letter")
"""Said of whatever the event was said of that could not be taken."""


def is_ours(event: Event[Any]) -> bool:
    """Whether type, source and subject fit together as engage's own do.

    It says what an event claims to be, not who sent it: bytes that come in at the edge may claim none of it, and on
    Kafka the broker's access control says who may write to the inbox.
    """
    if SPEAKERS.get(event.type) != event.source:
        return False
    if event.type in OF_PARTITIONS:
        return event.subject.startswith(PARTITION_SUBJECT)
    if event.type in _OF_OPERATIONS:
        return event.subject == OPERATIONS
    if event.type in _OF_ANYTHING:
        return not event.subject.startswith(PARTITION_SUBJECT)
    return is_account(event.subject)


def claims_to_be_ours(event: Event[Any]) -> bool:
    """Whether its type or its source is one that only engage may use."""
    return event.type in RESERVED or event.source.startswith(SOURCES)
