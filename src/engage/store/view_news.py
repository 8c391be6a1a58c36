"""The word that read models have moved, which PostgreSQL passes on to other processes: who, and how far they are now.

Whoever waits for a view hears from it whether that includes what it waits for, and asks the database nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engage.store.database import Database, Statement
from engage.store.positions import Move

MOVED = "engage_views"
"""The channel on which PostgreSQL tells other processes that read models have moved."""
_MOST_BYTES = 7_999
"""More PostgreSQL does not pass on with a word."""

_read = msgspec.json.Decoder(list[tuple[int, int, list[str]]]).decode
_encode = msgspec.json.Encoder().encode


def news(database: Database, moves: Sequence[Move]) -> list[Statement]:
    """What tells of these moves, if any, once their transaction is committed; nothing in SQLite.

    Where records have no inbox offset, or there is too much to tell, it is only said that views have moved.
    """
    if database.sqlite or not moves:
        return []
    reached: dict[tuple[int, int], list[str]] = {}
    for move in moves:
        if move.inbox is None:
            return database.telling(MOVED)
        reached.setdefault((move.old.partition, move.inbox + 1), []).append(move.old.projection)
    said = _encode([(*place, names) for place, names in reached.items()])
    return database.telling(MOVED, said.decode() if len(said) <= _MOST_BYTES else "")


def reached_in(said: str) -> dict[tuple[str, int], int] | None:
    """Up to which token of a partition each read model includes everything, by name and partition; None if not said."""
    try:
        return {(name, partition): reached for partition, reached, names in _read(said) for name in names}
    except msgspec.MsgspecError:
        return None
