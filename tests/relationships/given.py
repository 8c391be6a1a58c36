"""What the tests of relationships start from: a request, a store on either backend, a keyring, a log in a file."""

import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from copy import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import pytest
from msgspec import Raw

from engage.events import codec
from engage.events.catalogue.follow_up import Cause, FollowUpRequested
from engage.events.envelope import EPOCH, Event
from engage.events.sealing import AccountKey, new_secret
from engage.events.validation import Fault, Refusal
from engage.log.contract import Answer, Batch, Duplicate, Record, Taken, Token
from engage.log.partitioning import partition_of
from engage.relationships.application import Relationships

DAY = timedelta(days=1)
ASKED = datetime(2026, 3, 1, 9, tzinfo=UTC)
DUE = ASKED + DAY
EXPIRES = ASKED + 14 * DAY


@pytest.fixture(name="url", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def either_backend(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'relationships.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture(name="store")
def empty_store(url: str) -> Iterator[Relationships]:
    with closing(Relationships(url)) as opened:
        yield opened


def an_id(number: int) -> UUID:
    return uuid5(NAMESPACE_URL, f"request {number}")


def a_request(number: int = 1, **changes: Any) -> FollowUpRequested:
    values: dict[str, Any] = {
        "rule": "win-back",
        "rule_version": 1,
        "about": f"customer-{number}",
        "what": "win back a lapsed customer",
        "why": "no order for 60 days",
        "purpose": "marketing",
        "priority": "high",
        "channels": ("manager", "email"),
        "matter": f"win-back:customer-{number}",
        "due": DUE,
        "expires": EXPIRES,
        "cause": Cause(id=f"order-{number}", source="test", partition=0, offset=number),
        "decided_at": number,
    }
    return FollowUpRequested(**(values | changes))


def asked(number: int, **changes: Any) -> Event[Raw]:
    """The event by which a rule asks for follow-up ``number``, of account ``customer-<number>``."""
    return codec.new_event(
        a_request(number, **changes),
        id=str(an_id(number)),
        source="engage/rules",
        subject=f"customer-{number}",
        time=ASKED,
    )


class Keys:
    """A keyring in memory."""

    def __init__(self) -> None:
        self.held: dict[str, AccountKey] = {}

    def current(self, accounts: Iterable[str]) -> dict[str, AccountKey]:
        return {account: self.held.setdefault(account, AccountKey(1, new_secret())) for account in accounts}

    def all_of(self, account: str) -> dict[int, AccountKey]:
        return {key.generation: key for name, key in self.held.items() if name == account}


class FileLog:
    """A log and its publisher in one file, a line a record; what is answered survives kill -9.

    ``refused`` are event types that it will not take; ``before_answer`` runs between reading and answering.
    """

    partitions = 4

    def __init__(self, path: Path, generation: str = "first") -> None:
        self.generation = generation
        self.refused: set[str] = set()
        self.before_answer: Callable[[], Awaitable[object]] | None = None
        self.records: list[list[Record]] = [[] for _ in range(self.partitions)]
        self._seen: dict[tuple[str, str, str], Token] = {}
        self._file = path.open("a+b")
        self._file.seek(0)
        whole = 0
        for line in self._file:
            if line.endswith(b"\n"):
                self._append(codec.decode(line))
                whole += len(line)
        self._file.truncate(whole)

    def close(self) -> None:
        self._file.close()

    @property
    def events(self) -> list[Event[Raw]]:
        return [codec.decode(record.value) for partition in self.records for record in partition]

    async def publish(self, events: Sequence[bytes | Event[Raw]]) -> list[Answer]:
        answers = [self._take(codec.decode(event) if isinstance(event, bytes) else event) for event in events]
        self._file.flush()
        os.fsync(self._file.fileno())
        return answers

    async def read(self, partition: int, position: int, limit: int) -> Batch:
        found = self.records[partition][position : position + limit]
        if self.before_answer:
            await self.before_answer()
        return Batch(found, position + len(found))

    async def end(self, partition: int) -> int:
        return len(self.records[partition])

    async def position_at(self, partition: int, moment: datetime) -> int:
        return sum(record.recorded < moment for record in self.records[partition])

    async def wait(self, ends: Mapping[int, int], seconds: float) -> bool:
        return any(len(self.records[partition]) > end for partition, end in ends.items())

    def _take(self, event: Event[Raw]) -> Answer:
        if event.type in self.refused:
            return Refusal("data", (Fault("/data", "is not taken here"),))
        if event.identity in self._seen:
            return Duplicate(self._seen[event.identity])
        self._file.write(codec.encode(event) + b"\n")
        return Taken(self._append(event))

    def _append(self, event: Event[Raw]) -> Token:
        partition = partition_of(event.subject, self.partitions)
        before = self.records[partition][-1].recorded if self.records[partition] else EPOCH
        token = Token(partition, len(self.records[partition]))
        taken = copy(event)
        taken.recorded = max(before, event.time)
        self.records[partition].append(Record(partition, token.offset, taken.recorded, codec.encode(taken)))
        self._seen[event.identity] = token
        return token


@pytest.fixture(name="log")
def file_log(tmp_path: Path) -> Iterator[FileLog]:
    with closing(FileLog(tmp_path / "log.ndjson")) as opened:
        yield opened
