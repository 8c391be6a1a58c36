"""The two contracts of the log: *publish* for those who report what happened, *log* for those who read it.

Only intake appends. Every adapter passes ``engage.testing.log_contract``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec
from msgspec import Raw, Struct

from engage.events.envelope import Event
from engage.events.validation import Refusal


class Token(Struct, frozen=True, order=True):
    """Where a published event was taken: a reader can wait until a view includes it. Written ``partition:offset``."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


class Taken(Struct, frozen=True):
    """The event is durable and will be counted once."""

    token: Token


class Duplicate(Struct, frozen=True):
    """The same subject, source and id was taken before, at ``token``; nothing changed."""

    token: Token


Answer = Taken | Duplicate | Refusal


class _Stamped(Struct, gc=False):
    recorded: datetime


_stamped = msgspec.json.Decoder(_Stamped).decode


class Record(Struct, frozen=True, gc=False):
    """A committed log record: where it stands, when it was recorded, and its event as JSON (``codec.decode``).

    ``stamp`` is None where the log does not keep the moment by itself: then ``recorded`` reads it from the event, for
    those who ask (0.3 µs), and who decodes the event has it there.
    """

    partition: int
    offset: int
    stamp: datetime | None
    value: bytes

    @property
    def recorded(self) -> datetime:
        """When it was recorded; msgspec.DecodeError if only the event can tell, and it is none."""
        return _stamped(self.value).recorded if self.stamp is None else self.stamp


class Batch(Struct, frozen=True, gc=False):
    """Consecutive committed records of one partition, and the position to read from next."""

    records: Sequence[Record]
    next_position: int


class LogGapError(LookupError):
    """Records that a reader has not seen are gone from the log: restore the log, or rebuild the reader's state."""


class Publisher(Protocol):
    """Takes interactions in."""

    async def publish(self, events: Sequence[bytes | Event[Raw]]) -> list[Answer]:
        """One answer for each event, in order; one bad event never sinks the others.

        ``bytes`` are CloudEvents structured JSON. What is answered ``Taken`` survives a crash.
        """
        ...


class Appender(Publisher, Protocol):
    """A publisher behind an edge, which takes also what has come over it already."""

    async def append(self, checked: Sequence[Event[Raw] | Refusal]) -> list[Answer]:
        """``publish`` of what was checked and sealed; the events are the log's own from here on."""
        ...


class Log(Protocol):
    """Reads what is recorded. ``generation`` names this log: positions of another generation mean nothing here."""

    @property
    def partitions(self) -> int: ...

    @property
    def generation(self) -> str: ...

    async def read(self, partition: int, position: int, limit: int) -> Batch:
        """Up to ``limit`` committed records from ``position`` on, at once; LogGapError if some of them are gone."""
        ...

    async def end(self, partition: int) -> int:
        """The position after the last committed record."""
        ...

    async def position_at(self, partition: int, moment: datetime) -> int:
        """The position of the first record with ``recorded`` at or after ``moment``; the end if there is none."""
        ...

    async def wait(self, ends: Mapping[int, int], seconds: float) -> bool:
        """Wait until a partition has more than ``ends`` says (partition to position); False after ``seconds``."""
        ...
