"""Where rules stand still, and what intake refused: in the embedded log's file, or on Kafka's topics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec
from msgspec import Struct

from engage.log.contract import Token
from engage.log.sqlite import SqliteLog
from engage.rules.cell import HAS_PARKED, Parked
from engage.rules.deciding import Basis
from engage.rules.mending import consumer_of
from engage.services.letters.unread import READERS, Unread
from engage.services.partition_runner import read_basis

Errors = Mapping[tuple[str, str, int], str]
"""The whole errors by consumer, account and offset, as far as they are kept."""


class Stopped(Struct, frozen=True):
    """A rule that stands still on an account, and the whole error, empty where it is not kept any more."""

    rule: str
    account: str
    partition: int
    parked: Parked
    error: str


class Refused(Struct, frozen=True):
    """What intake could not take, as it came: at ``offset`` of the dead letters, ``cut`` where it was too long."""

    partition: int
    offset: int
    key: bytes
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    reason: str
    faults: str
    at: datetime
    cut: bool


class Source(Protocol):
    """What waits for somebody to look at it, but for read models."""

    async def stopped(self, partition: int | None = None) -> list[Stopped]:
        """Where rules stand still, on all partitions or one."""
        ...

    async def bases(self) -> list[dict[str, Basis]]:
        """What the engines know of each rule, by partition; empty where one has not begun."""
        ...

    async def refused(self) -> list[Refused]:
        """What intake refused, settled or not, as long as it is kept."""
        ...

    async def keep(self, unread: Unread) -> None:
        """Keep what a reader of the log could not read."""
        ...

    async def unread(self) -> list[Unread]:
        """What readers could not read, settled or not, as long as it is kept."""
        ...

    async def settle(self, unread: Unread) -> None:
        """It was read after all, or an operator let it go: it need not be kept any longer."""
        ...

    async def passed(self, token: Token) -> bool:
        """Whether the rules have folded what was published with this token."""
        ...


class _Held(Struct):
    parked: Parked | None = None


_held = msgspec.json.Decoder(_Held).decode


def parked_in(cells: Iterable[tuple[str, str, bytes]]) -> Iterable[tuple[str, str, Parked]]:
    """Rule, account and failure of those of the stored cells that stand still."""
    for rule, account, value in cells:
        if HAS_PARKED in value and (parked := _held(value).parked) is not None:
            yield rule, account, parked


class Embedded:
    """The embedded log: what fails in a rule is committed with what it failed on, and intake refuses to one's face."""

    def __init__(self, log: SqliteLog) -> None:
        self._log = log

    async def stopped(self, partition: int | None = None) -> list[Stopped]:
        """See ``Source.stopped``."""
        errors: Errors = {
            (consumer, account, offset): error for consumer, account, offset, error in self._log.letters()
        }
        return [
            Stopped(rule, account, at, parked, errors.get((consumer_of(rule), account, parked.offset), ""))
            for at in (range(self._log.partitions) if partition is None else (partition,))
            for rule, account, parked in parked_in(self._log.cells_with(at, HAS_PARKED))
        ]

    async def bases(self) -> list[dict[str, Basis]]:
        """See ``Source.bases``."""
        return [read_basis(basis) for basis in self._log.bases()]

    async def refused(self) -> list[Refused]:
        """See ``Source.refused``."""
        return []

    async def keep(self, unread: Unread) -> None:
        """See ``Source.keep``."""
        place = unread.consumer, unread.partition, unread.offset
        self._log.keep_letter(*place, unread.account, unread.event_id, unread.error)

    async def unread(self) -> list[Unread]:
        """See ``Source.unread``."""
        return [
            Unread(consumer=by, partition=at, offset=offset, account=account, event_id=event_id, error=error)
            for by, at, offset, account, event_id, error in self._log.letters_of(READERS)
        ]

    async def settle(self, unread: Unread) -> None:
        """See ``Source.settle``."""
        self._log.drop_letter(unread.consumer, unread.partition, unread.offset)

    async def passed(self, token: Token) -> bool:
        """See ``Source.passed``: in the transaction that took it."""
        return True
