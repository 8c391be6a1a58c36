"""A publisher for tests of what publishes: the real check at the edge, and the answers of a log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Raw

from engage.events.envelope import Event
from engage.events.validation import Refusal, check, check_event
from engage.log.contract import Answer, Duplicate, Taken, Token

NOW = datetime(2026, 3, 10, tzinfo=UTC)


class Ledger:
    """A publisher that keeps what it takes: the real check at the edge, and the log's answers."""

    def __init__(self) -> None:
        self.events: dict[tuple[str, str, str], Event[Raw]] = {}
        self.calls: list[int] = []

    async def publish(self, events: Sequence[bytes | Event[Raw]]) -> list[Answer]:
        self.calls.append(len(events))
        return [self._take(event) for event in events]

    def _take(self, event: bytes | Event[Raw]) -> Answer:
        checked = check(event, NOW) if isinstance(event, bytes) else check_event(event, NOW)
        if isinstance(checked, Refusal):
            return checked
        if checked.identity in self.events:
            return Duplicate(Token(0, list(self.events).index(checked.identity)))
        self.events[checked.identity] = checked
        return Taken(Token(0, len(self.events) - 1))
