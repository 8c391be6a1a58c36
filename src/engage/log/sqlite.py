"""The embedded log: one SQLite file with the log, the engine's state and the decisions, written by one process.

Measured choices (``benchmarks/sqlite_append.py``): WAL with ``synchronous=FULL``; pages of 16 KiB; identities as 64-bit
hashes inserted in sorted order, which costs half of a unique index on 16 random bytes and is exact because a hit is
compared with the record itself. The index is a fold of the log: what it lacks of the log's tail is known in memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec

from engage.events import codec
from engage.events.envelope import EPOCH, from_micros, to_micros
from engage.log.contract import Batch, LogGapError, Record, Token
from engage.read_only import read_only_uri

SCHEMA_VERSION = 2
PARTITIONS = 4
INDEX_EVERY = 2_000
"""Records of a partition whose identities are kept in memory until they are indexed, in one go and sorted: then they
share the index's pages. One by one, each would write a page of its own (``benchmarks/http.py``)."""
_SHIFT = 40
_POLL_SECONDS = 0.05
Identity = tuple[str, str, str]

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE log (position INTEGER PRIMARY KEY, recorded INTEGER NOT NULL, value BLOB NOT NULL);
CREATE TABLE seen (hash INTEGER PRIMARY KEY, position INTEGER NOT NULL);
CREATE TABLE partitions (
    partition INTEGER PRIMARY KEY, end INTEGER NOT NULL, recorded INTEGER NOT NULL,
    engine_position INTEGER NOT NULL, basis BLOB NOT NULL, indexed INTEGER NOT NULL
);
CREATE TABLE cells (
    partition INTEGER NOT NULL, rule TEXT NOT NULL, account TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (partition, rule, account)
) WITHOUT ROWID;
CREATE TABLE dead_letters (
    number INTEGER PRIMARY KEY, consumer TEXT NOT NULL, account TEXT NOT NULL, partition INTEGER NOT NULL,
    offset INTEGER NOT NULL, event_id TEXT NOT NULL, error TEXT NOT NULL
);
CREATE TABLE markers (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""


_MIGRATION = """
ALTER TABLE partitions ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0;
UPDATE partitions SET indexed = end;
UPDATE meta SET value = '2' WHERE name = 'schema_version';
"""
"""From version 1, which indexed every record at once."""


_WIDTHS = (1, 8, 64, 512)
_SELECT_HITS = {width: f"SELECT position, hash FROM seen WHERE hash IN ({','.join('?' * width)})" for width in _WIDTHS}
"""A few statements, which stay prepared: to prepare one takes longer than to look up what it asks for."""


class LogVersionError(RuntimeError):
    """The file was written by another version of engage."""


class LogMovedError(RuntimeError):
    """The records to append do not follow the log's end."""


class Writes(msgspec.Struct, kw_only=True):
    """Everything that one transaction puts into the file."""

    records: list[Record] = []
    identities: dict[Identity, Token] = {}
    ends: dict[int, tuple[int, datetime]] = {}
    engines: dict[int, tuple[int, bytes]] = {}
    cells: list[tuple[int, str, str, bytes | None]] = []
    dead_letters: list[tuple[str, str, int, int, str, str]] = []
    marker: tuple[str, int] | None = None


class EngineState(msgspec.Struct, frozen=True):
    """What a partition's engine left: its position in the log, its basis (encoded) and its cells."""

    position: int
    basis: bytes
    cells: Sequence[tuple[str, str, bytes]]


class SqliteLog:
    """Reads and writes the log file at ``path``; ``read_only`` for everyone but the folder's owner."""

    def __init__(self, path: Path, *, partitions: int = PARTITIONS, read_only: bool = False) -> None:
        self._path = path
        self._grown = asyncio.Event()
        if read_only:
            self._db = sqlite3.connect(read_only_uri(path), uri=True, check_same_thread=False)
        else:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA page_size=16384")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA cache_size=-32768")
            self._create(partitions)
            self._migrate()
        meta = dict(self._db.execute("SELECT name, value FROM meta").fetchall())
        # Who only reads has no use for what version 2 added.
        if meta["schema_version"] != str(SCHEMA_VERSION) and not (read_only and meta["schema_version"] == "1"):
            raise LogVersionError(
                f"{path} has schema version {meta['schema_version']}, this engage writes {SCHEMA_VERSION}: "
                "run the engage that wrote it, or move the folder away and begin again"
            )
        self._partitions = int(meta["partitions"])
        self._generation: str = meta["generation"]
        self._recent: dict[Identity, Token] = {}
        self._waiting: list[list[Identity]] = [[] for _ in range(self._partitions)]
        if not read_only:
            self._remember()

    @property
    def partitions(self) -> int:
        """How many partitions the log has; fixed for its life."""
        return self._partitions

    @property
    def generation(self) -> str:
        """The name of this log: random, made when the file was."""
        return self._generation

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    async def read(self, partition: int, position: int, limit: int) -> Batch:
        """See ``Log.read``."""
        records = list(self.scan(partition, position, limit=limit))
        if records and records[-1].offset != position + len(records) - 1:
            gone = next(place for place, record in enumerate(records, position) if record.offset != place)
            raise LogGapError(
                f"partition {partition} has no record {gone}, the next is {records[gone - position].offset}: "
                f"restore {self._path}"
            )
        if not records and position > (end := self.end_now(partition)):
            raise LogGapError(
                f"partition {partition} ends at {end}, a reader stands at {position}: "
                f"{self._path} was replaced by an older one; restore it, or rebuild the reader's state"
            )
        return Batch(records, position + len(records))

    async def end(self, partition: int) -> int:
        """See ``Log.end``."""
        return self.end_now(partition)

    async def position_at(self, partition: int, moment: datetime) -> int:
        """See ``Log.position_at``: a binary search, since ``recorded`` never goes back."""
        low, high, micros = 0, self.end_now(partition), to_micros(moment)
        while low < high:
            middle = (low + high) // 2
            row = self._db.execute("SELECT recorded FROM log WHERE position = ?", (_key(partition, middle),)).fetchone()
            if row[0] < micros:
                low = middle + 1
            else:
                high = middle
        return low

    async def wait(self, ends: Mapping[int, int], seconds: float) -> bool:
        """See ``Log.wait``: at once for what this process writes, within 50 ms for what another does."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not any(self.end_now(partition) > end for partition, end in ends.items()):
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return False
            self._grown.clear()
            try:
                await asyncio.wait_for(self._grown.wait(), min(left, _POLL_SECONDS))
            except TimeoutError:
                continue
        return True

    def scan(self, partition: int, position: int = 0, *, end: int | None = None, limit: int = -1) -> Iterator[Record]:
        """The records of a partition from ``position`` up to before ``end``, streamed."""
        last = _key(partition + 1, 0) if end is None else _key(partition, end)
        rows = self._db.execute(
            "SELECT position, recorded, value FROM log WHERE position >= ? AND position < ? ORDER BY position LIMIT ?",
            (_key(partition, position), last, limit),
        )
        first = _key(partition, 0)
        for key, recorded, value in rows:
            yield Record(partition, key - first, from_micros(recorded), value)

    def last_recorded(self, partition: int) -> datetime:
        """When the newest record of a partition was recorded; 1970 if there is none."""
        row = self._db.execute("SELECT recorded FROM partitions WHERE partition = ?", (partition,)).fetchone()
        return from_micros(row[0])

    def find(self, identities: Iterable[Identity]) -> dict[Identity, Token]:
        """Where events of these identities stand, for those that are on the log; for the folder's owner to ask."""
        found: dict[Identity, Token] = {}
        wanted, salt = [], 0
        for identity in identities:
            if (token := self._recent.get(identity)) is None:
                wanted.append(identity)
            else:
                found[identity] = token
        while wanted:
            by_hash: dict[int, list[Identity]] = {}
            for identity in wanted:
                by_hash.setdefault(_hash(identity, salt), []).append(identity)
            wanted = []
            for position, value_hash in self._hits(list(by_hash)):
                stored = self._identity_at(position)
                for identity in by_hash[value_hash]:
                    if identity == stored:
                        found[identity] = Token(position >> _SHIFT, position & ((1 << _SHIFT) - 1))
                    else:
                        wanted.append(identity)
            salt += 1
        return found

    def engine_state(self, partition: int) -> EngineState:
        """What the partition's engine left with the last commit."""
        position, basis = self._db.execute(
            "SELECT engine_position, basis FROM partitions WHERE partition = ?", (partition,)
        ).fetchone()
        cells = self._db.execute("SELECT rule, account, value FROM cells WHERE partition = ?", (partition,)).fetchall()
        return EngineState(position, basis, cells)

    def marker(self, name: str) -> int:
        """How far a named import has come, 0 if it never began."""
        row = self._db.execute("SELECT value FROM markers WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def dead_letters(self) -> int:
        """How many events failed in a rule."""
        row = self._db.execute("SELECT count(*) FROM dead_letters").fetchone()
        return int(row[0])

    def commit(self, writes: Writes) -> None:
        """All of ``writes`` in one durable transaction, or nothing of it.

        Identities are indexed a partition at a time, and the longest list first, so that no commit takes long.
        """
        indexed = max(range(self._partitions), key=lambda partition: len(self._waiting[partition]))
        with self._transaction():
            self._db.executemany(
                "INSERT INTO log VALUES (?, ?, ?)",
                [
                    (_key(record.partition, record.offset), to_micros(record.recorded), record.value)
                    for record in writes.records
                ],
            )
            if full := len(self._waiting[indexed]) >= INDEX_EVERY:
                self._index(indexed)
            self._move_ends(writes)
            if writes.engines:
                self._keep(writes)
            if writes.dead_letters:
                self._db.executemany(
                    "INSERT INTO dead_letters (consumer, account, partition, offset, event_id, error)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    writes.dead_letters,
                )
            if writes.marker:
                self._db.execute("INSERT OR REPLACE INTO markers VALUES (?, ?)", writes.marker)
        if full:
            self._forget_waiting(indexed)
        self._recent.update(writes.identities)
        for identity, token in writes.identities.items():
            self._waiting[token.partition].append(identity)
        if writes.records:
            self._grown.set()

    def index(self) -> None:
        """Put into the index what waits for it."""
        for partition, waiting in enumerate(self._waiting):
            if waiting:
                with self._transaction():
                    self._index(partition)
                self._forget_waiting(partition)

    def forget_dead_letters(self, account: str) -> None:
        """Drop the account's dead letters; its records stay, sealed."""
        with self._transaction():
            self._db.execute("DELETE FROM dead_letters WHERE account = ?", (account,))

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """Commits outlive this process meanwhile, and not a failure of the power; the next one makes all of them safe.

        For what can be loaded again: to reach the disk takes longer than a day of a history takes to decide.
        """
        self._db.execute("PRAGMA synchronous=NORMAL")
        try:
            yield
        finally:
            self._db.execute("PRAGMA synchronous=FULL")

    def forget_engine(self, partition: int) -> None:
        """Drop the engine's state of a partition, which can be folded from the log again."""
        with self._transaction():
            self._db.execute("DELETE FROM cells WHERE partition = ?", (partition,))
            self._db.execute(
                "UPDATE partitions SET engine_position = 0, basis = x'80' WHERE partition = ?", (partition,)
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _keep(self, writes: Writes) -> None:
        """The engines' positions and what of their cells has changed."""
        self._db.executemany(
            "UPDATE partitions SET engine_position = ?, basis = ? WHERE partition = ?",
            [(position, basis, partition) for partition, (position, basis) in writes.engines.items()],
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO cells VALUES (?, ?, ?, ?)",
            [cell for cell in writes.cells if cell[3] is not None],
        )
        self._db.executemany(
            "DELETE FROM cells WHERE partition = ? AND rule = ? AND account = ?",
            [cell[:3] for cell in writes.cells if cell[3] is None],
        )

    def _move_ends(self, writes: Writes) -> None:
        fresh = Counter(record.partition for record in writes.records)
        for partition, (end, recorded) in writes.ends.items():
            before = end - fresh[partition]
            moved = self._db.execute(
                "UPDATE partitions SET end = ?, recorded = ? WHERE partition = ? AND end = ?",
                (end, to_micros(recorded), partition, before),
            )
            if moved.rowcount != 1:
                raise LogMovedError(
                    f"partition {partition} of {self._path} does not end at {before} any more: another writer was "
                    "here; nothing was written, read the log's end and try again"
                )

    def _create(self, partitions: int) -> None:
        if self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            return
        with self._transaction():
            for statement in _SCHEMA.split(";\n"):
                self._db.execute(statement)
            self._db.executemany(
                "INSERT INTO meta VALUES (?, ?)",
                [
                    ("schema_version", str(SCHEMA_VERSION)),
                    ("partitions", str(partitions)),
                    ("generation", secrets.token_hex(8)),
                ],
            )
            empty = msgspec.msgpack.encode({})
            self._db.executemany(
                "INSERT INTO partitions VALUES (?, 0, ?, 0, ?, 0)",
                [(partition, to_micros(EPOCH), empty) for partition in range(partitions)],
            )

    def end_now(self, partition: int) -> int:
        """``Log.end`` for those who cannot wait."""
        row = self._db.execute("SELECT end FROM partitions WHERE partition = ?", (partition,)).fetchone()
        return int(row[0])

    def _hits(self, hashes: list[int]) -> Iterator[tuple[int, int]]:
        for start in range(0, len(hashes), _WIDTHS[-1]):
            chunk = hashes[start : start + _WIDTHS[-1]]
            width = next(width for width in _WIDTHS if width >= len(chunk))
            padded = [*chunk, *chunk[-1:] * (width - len(chunk))]
            yield from self._db.execute(_SELECT_HITS[width], padded).fetchall()

    def _identity_at(self, position: int) -> Identity:
        row = self._db.execute("SELECT value FROM log WHERE position = ?", (position,)).fetchone()
        return codec.decode(row[0]).identity

    def _index(self, partition: int) -> None:
        """Put what waits into ``seen``, sorted; an identity whose hash another one has takes the next of its own."""
        waiting, salt = self._waiting[partition], 0
        end = 0
        while waiting:
            rows = []
            for identity in waiting:
                token = self._recent[identity]
                rows.append((_hash(identity, salt), _key(partition, token.offset), identity))
                end = max(end, token.offset + 1)
            rows.sort()
            inserted = self._db.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", [row[:2] for row in rows])
            if inserted.rowcount == len(rows):
                break
            stored = {value: position for position, value in self._hits([row[0] for row in rows])}
            waiting = [identity for value, position, identity in rows if stored[value] != position]
            salt += 1
        self._db.execute("UPDATE partitions SET indexed = ? WHERE partition = ?", (end, partition))

    def _forget_waiting(self, partition: int) -> None:
        for identity in self._waiting[partition]:
            self._recent.pop(identity, None)
        self._waiting[partition] = []

    def _remember(self) -> None:
        """Read back the identities that the last owner did not index any more."""
        for partition, indexed in self._db.execute("SELECT partition, indexed FROM partitions").fetchall():
            for record in self.scan(partition, indexed):
                identity = codec.decode(record.value).identity
                self._recent[identity] = Token(partition, record.offset)
                self._waiting[partition].append(identity)

    def _migrate(self) -> None:
        version = self._db.execute("SELECT value FROM meta WHERE name = 'schema_version'").fetchone()
        if version == ("1",):
            with self._transaction():
                for statement in _MIGRATION.split(";\n"):
                    self._db.execute(statement)


def _key(partition: int, offset: int) -> int:
    return partition << _SHIFT | offset


def _hash(identity: Identity, salt: int) -> int:
    text = "\x1f".join((*identity, str(salt)) if salt else identity)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)
