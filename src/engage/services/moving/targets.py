"""The log that an export is restored into: written in order behind what is there, which must be the same export's."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from engage.events import codec, linking
from engage.events.linking import said
from engage.log.contract import Log, Record, Token
from engage.log.sqlite import SqliteLog, Writes
from engage.log.sqlite_seen import Identity
from engage.services.letters.source import Refused, Stopped
from engage.services.moving.manifest import NotEmptyError

AT_ONCE = 8_000
"""Records in one commit, of all partitions together."""
_AHEAD = 4
"""Records of a partition that placing one record may put there, and some more."""
_PAGE = 2_000


class Appending(Protocol):
    """Appends to a log that nobody else writes to."""

    @property
    def ends(self) -> Mapping[int, int]:
        """The offset that the next record of each partition will get."""
        ...

    async def append(self, records: Mapping[int, Sequence[tuple[Record, Identity]]]) -> None:
        """Append these, by partition, durably."""
        ...

    async def put_letters(self, stopped: Sequence[Stopped], refused: Sequence[Refused]) -> int:
        """Put dead letters where they are kept, if none are there; for how many of those refused there is no place."""
        ...


class LogTarget:
    """Puts records into ``log`` by ``appending``. What stood there before is met again, record by record.

    So a restore that was cut off goes on by being done again. NotEmptyError from ``put`` where another record stands.
    """

    def __init__(self, log: Log, appending: Appending) -> None:
        self._log = log
        self._appending = appending
        self._until = dict(appending.ends)
        self._position = dict.fromkeys(self._until, 0)
        self._there: dict[int, deque[Record]] = {one: deque() for one in self._until}
        self._waiting: dict[int, list[tuple[Record, Identity]]] = {one: [] for one in self._until}
        self._unread = {one for one, end in self._until.items() if end > 0}
        self._put = 0
        self.met = 0
        """How many records were there."""
        self.count = 0
        """How many records were put."""

    async def ready(self) -> None:
        """See that what stands where the next records go is known; then ``put`` may be called for one record more."""
        for partition in list(self._unread):
            while len(self._there[partition]) < _AHEAD and partition in self._unread:
                batch = await self._log.read(partition, self._position[partition], _PAGE)
                self._there[partition] += batch.records
                self._position[partition] = batch.next_position
                if batch.next_position >= self._until[partition]:
                    self._unread.discard(partition)
        if self._put >= AT_ONCE:
            await self.flush()

    @property
    def is_ready(self) -> bool:
        """Whether there is nothing that ``ready`` would do."""
        return not self._unread and self._put < AT_ONCE

    def next_offset(self, partition: int) -> int:
        """Where the next record of a partition goes."""
        there = self._there[partition]
        return there[0].offset if there else self._appending.ends[partition] + len(self._waiting[partition])

    def put(self, record: Record, identity: Identity) -> None:
        """Put the next record of a partition."""
        there = self._there[record.partition]
        self.count += 1
        if not there:
            self._waiting[record.partition].append((record, identity))
            self._put += 1
            return
        found = there.popleft()
        self.met += 1
        if found.value != record.value:
            raise NotEmptyError(
                f"record {record.partition}:{found.offset} of the log there is another one than in the export: the log "
                "is not empty, and not what an earlier restore of this export left. Name an empty one"
            )

    async def flush(self) -> None:
        """Write what waits."""
        await self._appending.append({one: records for one, records in self._waiting.items() if records})
        self._waiting = {one: [] for one in self._waiting}
        self._put = 0

    def must_be_whole(self) -> None:
        """NotEmptyError if the log there goes on behind the export's."""
        if self._unread or any(self._there.values()):
            raise NotEmptyError(
                "the log there goes on behind the end of this export: it was restored and used since; name an empty one"
            )


_IDENTITIES = codec.encode(linking.SOURCE)
_COPIED = (b'"retold":true', b'"origin":')
"""Marks of the few records that are more than a record, looked for before they are decoded."""


class SqliteAppending:
    """Appends to the embedded log."""

    def __init__(self, log: SqliteLog) -> None:
        self._log = log
        self._ends = {partition: log.end_now(partition) for partition in range(log.partitions)}

    @property
    def ends(self) -> Mapping[int, int]:
        """See ``Appending``."""
        return self._ends

    async def append(self, records: Mapping[int, Sequence[tuple[Record, Identity]]]) -> None:
        """See ``Appending``: in one transaction, with what the records are known by."""
        writes = Writes()
        for partition, ours in records.items():
            writes.records += [record for record, _ in ours]
            for record, identity in ours:
                if _IDENTITIES in record.value or any(mark in record.value for mark in _COPIED):
                    event = codec.decode(record.value)
                    if event.is_copy:  # it is known by where it was said
                        continue
                    writes.links += said(event).items()
                writes.identities[identity] = Token(partition, record.offset)
            self._ends[partition] += len(ours)
            writes.ends[partition] = (self._ends[partition], ours[-1][0].recorded)
        if writes.records:
            self._log.commit(writes)

    async def put_letters(self, stopped: Sequence[Stopped], refused: Sequence[Refused]) -> int:
        """See ``Appending``: a rule that fails still says so when it is folded; what intake refuses is kept nowhere."""
        return len(refused)


def emptied(path: Path, partitions: int) -> SqliteLog:
    """The embedded log at ``path`` with so many partitions; one that holds nothing is made anew with them.

    NotEmptyError if it holds something and has another number of them.
    """
    log = SqliteLog(path, partitions=partitions)
    if log.partitions == partitions:
        return log
    empty = not any(log.end_now(one) for one in range(log.partitions))
    found = log.partitions
    log.close()
    if not empty:
        raise NotEmptyError(
            f"{path} is not empty, and has {found} partitions: an export is restored into an empty house alone. Name "
            "another folder as ENGAGE_HOME"
        )
    for one in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        one.unlink(missing_ok=True)
    return SqliteLog(path, partitions=partitions)
