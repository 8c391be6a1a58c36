"""The embedded log: one SQLite file with the log, the engine's state and the decisions, written by one process.

Measured choices (``benchmarks/sqlite_append.py``): WAL with ``synchronous=FULL``; many rows a statement; pages of
4 KiB, as SQLite has them: a commit of few events writes the last pages of each partition anew. One thread may commit
while another one reads: each has a connection of its own.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from itertools import chain
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any

import msgspec

from engage.events import codec
from engage.events.envelope import EPOCH, from_micros, to_micros
from engage.events.shares import share_of
from engage.log.contract import Batch, LogGapError, Record, Token
from engage.log.sqlite_rows import CACHED, execute_flat, execute_rows
from engage.log.sqlite_seen import SHIFT, Identity, Seen, key
from engage.merging import Merging
from engage.read_only import read_only_uri

SCHEMA_VERSION = 5
PARTITIONS = 4
_POLL_SECONDS = 0.05
_CHECKPOINT_BYTES = 64_000_000
"""Of the write-ahead log, before a commit merges what ``Merging`` has left of it: at every 4 MB, the default, who
publishes by single events would wait for it several times a second."""
_MERGED_BYTES = 2_000_000
"""As many are written and synced while a commit waits for the disk as long as for another commit or two."""
_PAGES_OF_COMMIT, _PAGES_OF_INDEX = 12, 200
"""What a commit writes beside its records, about: their tables' inner pages and ends; and what of an index."""
_INDEX_QUIETLY = 2_000
"""Identities that are put into the index at once when nobody publishes: whoever does again waits for them."""

# In the order in which they are written, a share of the accounts at a time: else each would lie on a page of its own.
_CELLS = """
CREATE TABLE cells (
    partition INTEGER NOT NULL, share INTEGER NOT NULL, account TEXT NOT NULL, rule TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (partition, share, account, rule)
) WITHOUT ROWID"""
_SCHEMA = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE log (position INTEGER PRIMARY KEY, recorded INTEGER NOT NULL, value BLOB NOT NULL);
CREATE TABLE seen (hash INTEGER PRIMARY KEY, position INTEGER NOT NULL);
CREATE TABLE partitions (
    partition INTEGER PRIMARY KEY, end INTEGER NOT NULL, recorded INTEGER NOT NULL,
    engine_position INTEGER NOT NULL, basis BLOB NOT NULL, indexed INTEGER NOT NULL, shares BLOB NOT NULL
);
{_CELLS};
CREATE TABLE dead_letters (
    number INTEGER PRIMARY KEY, consumer TEXT NOT NULL, account TEXT NOT NULL, partition INTEGER NOT NULL,
    offset INTEGER NOT NULL, event_id TEXT NOT NULL, error TEXT NOT NULL
);
CREATE TABLE markers (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE links (visitor TEXT PRIMARY KEY, account TEXT, times INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE moves (partition INTEGER, offset INTEGER, moved INTEGER NOT NULL, PRIMARY KEY (partition, offset));
"""


_MIGRATIONS = {
    "1": """
ALTER TABLE partitions ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0;
UPDATE partitions SET indexed = end;
UPDATE meta SET value = '2' WHERE name = 'schema_version';
""",
    "2": """
CREATE TABLE IF NOT EXISTS links (visitor TEXT PRIMARY KEY, account TEXT, times INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS moves (
    partition INTEGER, offset INTEGER, moved INTEGER NOT NULL, PRIMARY KEY (partition, offset)
);
UPDATE meta SET value = '3' WHERE name = 'schema_version';
""",
    "3": """
ALTER TABLE partitions ADD COLUMN shares BLOB NOT NULL DEFAULT x'90';
UPDATE meta SET value = '4' WHERE name = 'schema_version';
""",
    "4": f"""
ALTER TABLE cells RENAME TO cells_by_rule;
{_CELLS};
INSERT INTO cells SELECT partition, share_of(account), account, rule, value FROM cells_by_rule ORDER BY 1, 2, 3, 4;
DROP TABLE cells_by_rule;
UPDATE meta SET value = '5' WHERE name = 'schema_version';
""",
}
"""From version 1, which indexed every record at once; from version 2, which knew of nobody linked to another; from
version 3, which wrote all cells of a partition down together; from version 4, whose cells lay by rule."""
_WITHOUT_SHARES = ("1", "2", "3")
_LETTER = "INSERT INTO dead_letters (consumer, account, partition, offset, event_id, error) VALUES (?, ?, ?, ?, ?, ?)"
_partition, _account = attrgetter("partition"), itemgetter(2)
_read_shares = msgspec.msgpack.Decoder(list[int]).decode
_LINK = """
INSERT INTO links VALUES (?, ?, 1)
ON CONFLICT (visitor) DO UPDATE SET account = excluded.account, times = times + 1
"""


class LogVersionError(RuntimeError):
    """The file was written by another version of engage."""


class LogMovedError(RuntimeError):
    """Another writer was here: what was to be written does not follow what is in the file by now."""


class Writes(msgspec.Struct, kw_only=True):
    """Everything that one transaction puts into the file.

    ``settled`` are partition, consumer and account (None: any) of dead letters that are none any more.
    """

    records: list[Record] = []
    identities: dict[Identity, Token] = {}
    ends: dict[int, tuple[int, datetime]] = {}
    engines: dict[int, tuple[Sequence[int], bytes]] = {}
    cells: list[tuple[int, str, str, bytes | None]] = []
    settled: list[tuple[int, str, str | None]] = []
    dead_letters: list[tuple[str, str, int, int, str, str]] = []
    marker: tuple[str, int] | None = None
    links: list[tuple[str, str | None]] = []
    moves: dict[tuple[int, int], int | None] = {}


class EngineState(msgspec.Struct, frozen=True):
    """What a partition's engine left: its position in the log, its basis (encoded) and its cells.

    The cells of each share of the accounts are a fold up to its position in ``shares``, of which ``position`` is the
    first; where there are none, all are a fold up to ``position``.
    """

    position: int
    basis: bytes
    cells: Sequence[tuple[str, str, bytes]]
    shares: Sequence[int] = ()


class SqliteLog:
    """Reads and writes the log file at ``path``; ``read_only`` for everyone but the folder's owner."""

    def __init__(self, path: Path, *, partitions: int = PARTITIONS, read_only: bool = False) -> None:
        self._path = path
        self._grown = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []
        self._writing = threading.Lock()
        self._claim = ""
        self._fenced = False
        self._changes = -1
        self._merging: Merging | None = None
        if read_only:
            self._db = sqlite3.connect(read_only_uri(path), uri=True, check_same_thread=False)
            self._reading = self._finding = self._db
        else:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=CACHED)
            [(self._page,)] = self._db.execute("PRAGMA page_size").fetchall()  # 16 KiB in files of earlier versions
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA cache_size=-24576")
            self._db.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_BYTES // self._page}")
            self._create(partitions)
            self._migrate()
            self._reading = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            # By itself: whoever reads rows one by one on a connection sees with all of it what was there at the first.
            self._finding = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            merged, most = _MERGED_BYTES // self._page, 2 * _CHECKPOINT_BYTES // self._page
            self._merging = Merging(path, merged, most, self._writing)
        meta = dict(self._reading.execute("SELECT name, value FROM meta").fetchall())
        # Who only reads has no use for what later versions added.
        if meta["schema_version"] != str(SCHEMA_VERSION) and not (read_only and meta["schema_version"] in _MIGRATIONS):
            raise LogVersionError(
                f"{path} has schema version {meta['schema_version']}, this engage writes {SCHEMA_VERSION}: "
                "run the engage that wrote it, or move the folder away and begin again"
            )
        self._shares = "x'90'" if meta["schema_version"] in _WITHOUT_SHARES else "shares"
        self._partitions = int(meta["partitions"])
        self._generation: str = meta["generation"]
        self._seen = self._nothing_seen()
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
        if self._merging is not None:
            self._merging.close()
        self._finding.close()
        self._reading.close()
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

    async def read_holding(self, text: bytes, partition: int, position: int, limit: int) -> Batch:
        """``read``, but of the records only those that hold ``text``: SQLite passes over the others by itself.

        That takes a fifth of what it takes to hand them over.
        """
        stop = min(position + limit, self.end_now(partition))
        places = (key(partition, position), key(partition, stop))
        there = self._reading.execute("SELECT count(*) FROM log WHERE position >= ? AND position < ?", places)
        if there.fetchone() != (stop - position,):
            return await self.read(partition, position, limit)  # which says what is wrong
        rows = self._reading.execute(
            "SELECT position, recorded, value FROM log WHERE position >= ? AND position < ? AND instr(value, ?)"
            " ORDER BY position",
            (*places, text),
        )
        first = key(partition, 0)
        records = [Record(partition, place - first, from_micros(recorded), value) for place, recorded, value in rows]
        return Batch(records, stop)

    async def end(self, partition: int) -> int:
        """See ``Log.end``."""
        return self.end_now(partition)

    async def position_at(self, partition: int, moment: datetime) -> int:
        """See ``Log.position_at``: a binary search, since ``recorded`` never goes back."""
        low, high, micros = 0, self.end_now(partition), to_micros(moment)
        while low < high:
            middle = (low + high) // 2
            row = self._reading.execute(
                "SELECT recorded FROM log WHERE position = ?", (key(partition, middle),)
            ).fetchone()
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
        last = key(partition + 1, 0) if end is None else key(partition, end)
        rows = self._reading.execute(
            "SELECT position, recorded, value FROM log WHERE position >= ? AND position < ? ORDER BY position LIMIT ?",
            (key(partition, position), last, limit),
        )
        first = key(partition, 0)
        for place, recorded, value in rows:
            yield Record(partition, place - first, from_micros(recorded), value)

    def last_recorded(self, partition: int) -> datetime:
        """When the newest record of a partition was recorded; 1970 if there is none."""
        row = self._reading.execute("SELECT recorded FROM partitions WHERE partition = ?", (partition,)).fetchone()
        return from_micros(row[0])

    def find(self, identities: Iterable[Identity]) -> dict[Identity, Token]:
        """Where events of these identities stand, for those that are on the log; for the folder's owner to ask."""
        return self._seen.find(identities)

    def engine_state(self, partition: int) -> EngineState:
        """What the partition's engine left with the last commit."""
        position, basis, shares = self._reading.execute(
            f"SELECT engine_position, basis, {self._shares} FROM partitions WHERE partition = ?", (partition,)
        ).fetchone()
        cells = self._reading.execute(
            "SELECT rule, account, value FROM cells WHERE partition = ?", (partition,)
        ).fetchall()
        return EngineState(position, basis, cells, _read_shares(shares))

    def bases(self) -> list[bytes]:
        """What the engines know of their rules, by partition, as they left it with the last commit."""
        return [basis for (basis,) in self._reading.execute("SELECT basis FROM partitions ORDER BY partition")]

    def cells_with(self, partition: int, part: bytes) -> list[tuple[str, str, bytes]]:
        """Those of the partition's cells, as the engine left them with the last commit, that hold ``part``."""
        wanted = "SELECT rule, account, value FROM cells WHERE partition = ? AND instr(value, ?)"
        return self._reading.execute(wanted, (partition, part)).fetchall()

    def letters(self) -> list[tuple[str, str, int, str]]:
        """The dead letters of rules: consumer, account, offset, and the whole error."""
        wanted = "SELECT consumer, account, offset, error FROM dead_letters ORDER BY number"
        return self._reading.execute(wanted).fetchall()

    def letters_of(self, consumers: Sequence[str]) -> list[tuple[str, int, int, str, str, str]]:
        """The dead letters of these consumers: consumer, partition, offset, account, event id, and the whole error."""
        among = ", ".join("?" * len(consumers))
        columns = "consumer, partition, offset, account, event_id, error"
        wanted = f"SELECT {columns} FROM dead_letters WHERE consumer IN ({among}) ORDER BY number"
        return self._reading.execute(wanted, tuple(consumers)).fetchall()

    def marker(self, name: str) -> int:
        """How far a named import has come, 0 if it never began."""
        row = self._reading.execute("SELECT value FROM markers WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def markers(self) -> dict[str, int]:
        """How far each named import has come."""
        return dict(self._reading.execute("SELECT name, value FROM markers ORDER BY name").fetchall())

    def links(self) -> dict[str, str | None]:
        """To which account a visitor is linked, None where it is no more."""
        return dict(self._reading.execute("SELECT visitor, account FROM links").fetchall())

    def times_linked(self, visitor: str) -> int:
        """How often it was said of a visitor that it is linked, or is no more."""
        row = self._reading.execute("SELECT times FROM links WHERE visitor = ?", (visitor,)).fetchone()
        return int(row[0]) if row else 0

    def next_move(self) -> tuple[int, int, int] | None:
        """The place of the first record whose account is to be told anew, and how far that has come; None if none is.

        In a partition the first of them is first; partitions do not wait for one another.
        """
        found: tuple[int, int, int] | None = self._reading.execute(
            "SELECT partition, offset, moved FROM moves ORDER BY partition, offset LIMIT 1"
        ).fetchone()
        return found

    def dead_letters(self) -> int:
        """How many events failed in a rule, or could not be read by who follows the log."""
        row = self._reading.execute("SELECT count(*) FROM dead_letters").fetchone()
        return int(row[0])

    def claim(self) -> bool:
        """Keep every other writer from the file until it claims it; whether one was here since this one did.

        Read anew what it has written, identities too: a commit of it raises LogMovedError from now on. To be called
        when no commit is under way. ``owner.lock`` keeps others out as well, but who holds it cannot see that it was
        deleted, or that the folder's disk knows no locks.
        """
        if self._claim and not self._fenced:
            return False
        claim = secrets.token_hex(8)
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('writer', ?)", (claim,))
        overtaken = self._fenced
        if overtaken or self._others_wrote():
            self._remember()
        self._claim, self._fenced = claim, False
        return overtaken

    def commit(self, *several: Writes) -> None:
        """All of ``several``, in order, in one durable transaction, or nothing of it; then ``grown`` is to be told.

        LogMovedError if another writer has claimed the file since this one did, or was at its end.
        """
        due = self._seen.due()
        with self._transaction():
            if not self._holds():
                raise LogMovedError(
                    f"another process writes to {self._path}: nothing of this was written, do it again; and see that "
                    "only one engage runs on that folder"
                )
            self._seen.sift()
            written = self._append([record for writes in several for record in writes.records])
            if due:
                self._index()
            self._move_ends(several)
            for writes in several:
                self._keep(writes)
        if due:
            self._seen.indexed()
        for writes in several:
            self._seen.add(writes.identities)
        if self._merging is not None:
            self._merging.wrote(written // self._page + _PAGES_OF_COMMIT + (_PAGES_OF_INDEX if due else 0))

    def grown(self) -> None:
        """Let those who wait for records look at once; to be called on the event loop, where they wait."""
        self._grown.set()
        for tell in self._listeners:
            tell()

    def listen(self, tell: Callable[[], None]) -> None:
        """Have ``tell`` called as soon as this process has written records."""
        self._listeners.append(tell)

    def index(self) -> None:
        """Put into the index what waits for it."""
        while self.index_some():
            continue

    def index_some(self) -> bool:
        """Put a little of what waits for it into the index; whether there was any."""
        waiting = self._seen.waiting()
        if not waiting:
            return False
        with self._transaction():
            if not self._holds():
                return False  # it is for who writes by now
            self._index(max(0, waiting - _INDEX_QUIETLY))
        self._seen.indexed()
        return True

    def shrink(self) -> None:
        """Let go of the pages that are kept in memory."""
        self._db.execute("PRAGMA shrink_memory")

    def keep_letter(self, consumer: str, partition: int, offset: int, account: str, event_id: str, error: str) -> None:
        """Keep the one dead letter of a record that a consumer which is no rule could not take."""
        with self._transaction():
            self._drop(consumer, partition, offset)
            self._db.execute(_LETTER, (consumer, account, partition, offset, event_id, error))

    def drop_letter(self, consumer: str, partition: int, offset: int) -> None:
        """Drop that dead letter."""
        with self._transaction():
            self._drop(consumer, partition, offset)

    def _drop(self, consumer: str, partition: int, offset: int) -> None:
        place = "consumer = ? AND partition = ? AND offset = ?"
        self._db.execute(f"DELETE FROM dead_letters WHERE {place}", (consumer, partition, offset))

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
                "UPDATE partitions SET engine_position = 0, basis = x'80', shares = x'90' WHERE partition = ?",
                (partition,),
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._writing:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _holds(self) -> bool:
        """Whether nobody has claimed the file since this one did, as a transaction finds it."""
        if self._others_wrote() and self._claim:
            found = self._db.execute("SELECT value FROM meta WHERE name = 'writer'").fetchone()
            self._fenced = self._fenced or found != (self._claim,)
        return not self._fenced

    def _others_wrote(self) -> bool:
        """Whether another connection may have written to the file since this was asked last."""
        before = self._changes
        [(self._changes,)] = self._db.execute("PRAGMA data_version").fetchall()
        if self._changes == before:
            return False
        self._seen.doubt()
        return True

    def _keep(self, writes: Writes) -> None:
        """What goes with the records: most have nothing of it."""
        if writes.engines:
            self._keep_engines(writes)
        if writes.settled:
            self._db.executemany(
                "DELETE FROM dead_letters WHERE partition = ? AND consumer = ? AND account = ifnull(?, account)",
                writes.settled,
            )
        if writes.dead_letters:
            self._db.executemany(_LETTER, writes.dead_letters)
        if writes.marker:
            self._db.execute("INSERT OR REPLACE INTO markers VALUES (?, ?)", writes.marker)
        for visitor, account in writes.links:
            self._db.execute(_LINK, (visitor, account))
        for place, moved in writes.moves.items():
            if moved is None:
                self._db.execute("DELETE FROM moves WHERE partition = ? AND offset = ?", place)
            else:
                self._db.execute("INSERT OR REPLACE INTO moves VALUES (?, ?, ?)", (*place, moved))

    def _keep_engines(self, writes: Writes) -> None:
        """The engines' positions and what of their cells has changed."""
        self._db.executemany(
            "UPDATE partitions SET engine_position = ?, basis = ?, shares = ? WHERE partition = ?",
            [
                (min(shares), basis, msgspec.msgpack.encode(shares), partition)
                for partition, (shares, basis) in writes.engines.items()
            ],
        )
        kept, gone = list[tuple[Any, ...]](), list[tuple[Any, ...]]()
        for partition, rule, account, value in writes.cells:
            place = (partition, share_of(account), account, rule)
            if value is None:
                gone.append(place)
            else:
                kept.append((*place, value))
        kept.sort(key=_account)  # in order pages are filled; to sort by all of the key takes five times as long
        execute_rows(self._db, "INSERT OR REPLACE INTO cells", kept)
        execute_rows(self._db, "DELETE FROM cells WHERE (partition, share, account, rule) IN (", gone)

    def _append(self, records: Sequence[Record]) -> int:
        """How many bytes of events that were."""
        values: list[Any] = []
        moment, micros = EPOCH, 0
        for record in records:
            recorded = record.stamp or record.recorded
            if recorded is not moment:  # most of a batch were recorded at one moment
                moment = recorded
                micros = to_micros(moment)
            values += (record.partition << SHIFT | record.offset, micros, record.value)
        execute_flat(self._db, "INSERT INTO log", values, 3)
        return sum(map(len, values[2::3]))

    def _move_ends(self, several: Sequence[Writes]) -> None:
        ends: dict[int, tuple[int, datetime]] = {}
        for writes in several:
            ends.update(writes.ends)
        if not ends:
            return
        fresh = Counter(map(_partition, chain.from_iterable(writes.records for writes in several)))
        befores = {partition: end - fresh[partition] for partition, (end, _) in ends.items()}
        moves: list[int] = []
        for partition, (end, recorded) in ends.items():
            moves += (partition, end, to_micros(recorded), befores[partition])
        moved = self._db.execute(_moving(len(ends)), moves)
        if moved.rowcount != len(ends):
            raise self._overtaken(befores)

    def _overtaken(self, befores: Mapping[int, int]) -> LogMovedError:
        ends = dict(self._reading.execute("SELECT partition, end FROM partitions").fetchall())
        partition = next(one for one, before in befores.items() if ends[one] != before)
        return LogMovedError(
            f"partition {partition} of {self._path} does not end at {befores[partition]} any more: another writer was "
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
                "INSERT INTO partitions VALUES (?, 0, ?, 0, ?, 0, x'90')",
                [(partition, to_micros(EPOCH), empty) for partition in range(partitions)],
            )

    def end_now(self, partition: int) -> int:
        """``Log.end`` for those who cannot wait."""
        row = self._reading.execute("SELECT end FROM partitions WHERE partition = ?", (partition,)).fetchone()
        return int(row[0])

    def _identity_at(self, db: sqlite3.Connection, position: int) -> Identity | None:
        row = db.execute("SELECT value FROM log WHERE position = ?", (position,)).fetchone()
        with suppress(*codec.NO_EVENT):
            return codec.decode(row[0]).identity
        return None

    def _nothing_seen(self) -> Seen:
        return Seen(self._db, self._finding, self._partitions, self._identity_at)

    def _index(self, most: int | None = None) -> None:
        ends = enumerate(self._seen.index(most))
        self._db.executemany("UPDATE partitions SET indexed = ?2 WHERE partition = ?1", ends)

    def _remember(self) -> None:
        """Read back the identities that the last owner did not index any more."""
        self._others_wrote()
        self._seen = self._nothing_seen()
        indexed = [end for (end,) in self._db.execute("SELECT indexed FROM partitions ORDER BY partition")]
        self._seen.begin(indexed)
        for partition, end in enumerate(indexed):
            found = {}
            for record in self.scan(partition, end):
                with suppress(*codec.NO_EVENT):  # what is no event is no duplicate of one
                    if not (event := codec.decode(record.value)).is_copy:
                        found[event.identity] = Token(partition, record.offset)
            self._seen.add(found)

    def _migrate(self) -> None:
        self._db.create_function("share_of", 1, share_of, deterministic=True)
        for version, statements in _MIGRATIONS.items():
            found = self._db.execute("SELECT value FROM meta WHERE name = 'schema_version'").fetchone()
            if found == (version,):
                with self._transaction():
                    for statement in statements.split(";\n"):
                        self._db.execute(statement)


@cache
def _moving(partitions: int) -> str:
    """The statement that moves the ends of so many partitions: new end, when it was recorded, and the end before."""
    moves = ",".join(["(?, ?, ?, ?)"] * partitions)
    return (
        f"UPDATE partitions SET end = column2, recorded = column3 FROM (VALUES {moves})"
        " WHERE partition = column1 AND end = column4"
    )
