"""Which events the embedded log holds, so that the same one again is counted once: exact, and for ever.

Identities are kept as 64-bit hashes inserted in sorted order, which costs half of a unique index on 16 random bytes; a
hit is compared with the record itself. The table is a fold of the log: what it lacks of the log's tail is in memory,
as hashes too.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from engage.log.contract import Token
from engage.log.sqlite_rows import execute_rows

INDEX_EVERY = 16_000
"""Records of a partition whose identities are kept in memory until they are indexed, sorted: then they share the
index's pages. One by one, each would write a page of its own (``benchmarks/http.py``); 6,000 wrote as much of an index
of half a million as of the log itself. One takes 150 bytes meanwhile."""
SHIFT = 40
_MOST_HASHES = 100_000
_WIDTHS = (1, 8, 64, 512)
_SELECT_HITS = {width: f"SELECT hash, position FROM seen WHERE hash IN ({','.join('?' * width)})" for width in _WIDTHS}
"""A few statements, which stay prepared: to prepare one takes longer than to look up what it asks for."""

Identity = tuple[str, str, str]
_Row = tuple[int, int]
"""A hash, and the ``key`` of whose it is."""


class _Sorted(Struct):
    """The rows of a partition that are being put into the index, and how many of them were put, and are done."""

    partition: int
    rows: list[_Row]
    end: int
    put: int = 0
    done: int = 0


class Seen:
    """The identities of a log's records. One thread may ``find`` what was committed while another one commits.

    ``stored`` is who stands at a position (``key``) of the log, as a connection sees it.
    """

    def __init__(
        self,
        writing: sqlite3.Connection,
        reading: sqlite3.Connection,
        partitions: int,
        stored: Callable[[sqlite3.Connection, int], Identity],
    ) -> None:
        self._writing = writing
        self._reading = reading
        self._stored = stored
        self._waiting: list[list[_Row]] = [[] for _ in range(partitions)]
        self._sorted: _Sorted | None = None
        # Of all that is not indexed, by its hash; and of those whose hash another one of them has.
        self._recent: dict[int, int] = {}
        self._clashing: dict[Identity, int] = {}
        # Of what was looked for and not found, since it is likely to be put there: to hash it again costs as much.
        self._hashes: dict[Identity, int] = {}

    def find(self, identities: Iterable[Identity]) -> dict[Identity, Token]:
        """Where events of these identities stand, for those that are on the log."""
        if len(self._hashes) > _MOST_HASHES:
            self._hashes = {}
        wanted = {identity: _hash(identity, 0) for identity in identities}
        self._hashes.update(wanted)
        found = self._found_recent(wanted)
        for identity in found:
            del wanted[identity]
        salt = 0
        while wanted:
            # Nearly none is there: what a hash stands for is looked for only when it is.
            hits = dict(_by_hash(self._reading, list(wanted.values())))
            again = {}
            for identity, value in wanted.items() if hits else ():
                if (position := hits.get(value)) is None:
                    continue
                if identity == self._stored(self._reading, position):
                    found[identity] = token_at(position)
                else:
                    again[identity] = _hash(identity, salt + 1)
            wanted = again
            salt += 1
        return found

    def _found_recent(self, wanted: Mapping[Identity, int]) -> dict[Identity, Token]:
        """Where those of them stand that are not indexed yet."""
        recent = self._recent
        found: dict[Identity, Token] = {}
        for identity, value in wanted.items():
            position = recent.get(value)
            if position is not None:
                if identity != self._stored(self._reading, position):
                    position = self._clashing.get(identity)
                if position is not None:
                    found[identity] = token_at(position)
        return found

    def add(self, identities: Mapping[Identity, Token]) -> None:
        """These have been committed, and are to be indexed."""
        recent, hashes, waiting = self._recent, self._hashes, self._waiting
        for identity, token in identities.items():
            value = hashes.pop(identity, None)
            if value is None:
                value = _hash(identity, 0)
            partition = token.partition
            position = partition << SHIFT | token.offset  # ``key``, which to call takes as long as all else of it
            waiting[partition].append((value, position))
            if recent.setdefault(value, position) != position:
                self._clashing[identity] = position

    def due(self) -> int | None:
        """The partition that is being indexed, or has the longest list, if that is long: one a commit."""
        if self._sorted is not None:
            return self._sorted.partition
        longest = max(range(len(self._waiting)), key=lambda partition: len(self._waiting[partition]))
        return longest if len(self._waiting[longest]) >= INDEX_EVERY else None

    def waiting(self) -> int | None:
        """The partition that is being indexed, or another one of which something waits to be; None if nothing does."""
        if self._sorted is not None:
            return self._sorted.partition
        return next((partition for partition, waiting in enumerate(self._waiting) if waiting), None)

    def index(self, partition: int, most: int | None = None) -> int | None:
        """Put what waits, or ``most`` of it, into ``seen``, sorted, in a transaction; ``indexed`` follows its commit.

        Up to where the partition is indexed by it, None while there is more to come: so no commit takes long for it.
        """
        begun = self._sorted
        if begun is None or begun.partition != partition:
            begun = self._sorted = self._sort(partition)
        until = len(begun.rows) if most is None else begun.done + most
        self._put(begun.rows[begun.done : until])
        begun.put = min(until, len(begun.rows))
        return begun.end if begun.put == len(begun.rows) else None

    def indexed(self, partition: int) -> None:
        """What was put is in the file: once all of it is, it need not be in memory any more."""
        begun = self._sorted
        assert begun is not None and begun.partition == partition, "it was put"
        begun.done = begun.put
        if begun.done == len(begun.rows):
            recent = self._recent
            for value, position in begun.rows:
                if recent.get(value) == position:
                    del recent[value]
            if self._clashing:
                gone = {position for _, position in begun.rows}
                self._clashing = {one: position for one, position in self._clashing.items() if position not in gone}
            del self._waiting[partition][: len(begun.rows)]
            self._sorted = None

    def _sort(self, partition: int) -> _Sorted:
        waiting = self._waiting[partition]
        end = max(position for _, position in waiting) + 1 - key(partition, 0)
        return _Sorted(partition, sorted(waiting), end)

    def _put(self, rows: list[_Row]) -> None:
        """An identity whose hash another one has takes the next of its own."""
        salt = 0
        while execute_rows(self._writing, "INSERT OR IGNORE INTO seen", rows) != len(rows):
            stored = dict(_by_hash(self._writing, [value for value, _ in rows]))
            salt += 1
            rows = sorted(
                (_hash(self._stored(self._writing, position), salt), position)
                for value, position in rows
                if stored[value] != position
            )


def key(partition: int, offset: int) -> int:
    """Where a record stands, as one number."""
    return partition << SHIFT | offset


def token_at(position: int) -> Token:
    """The partition and offset of a ``key``."""
    return Token(position >> SHIFT, position & ((1 << SHIFT) - 1))


def _by_hash(db: sqlite3.Connection, hashes: Sequence[int]) -> Iterator[tuple[int, int]]:
    for start in range(0, len(hashes), _WIDTHS[-1]):
        chunk = hashes[start : start + _WIDTHS[-1]]
        width = next(width for width in _WIDTHS if width >= len(chunk))
        padded = [*chunk, *[chunk[-1]] * (width - len(chunk))]
        yield from db.execute(_SELECT_HITS[width], padded).fetchall()


def _hash(identity: Identity, salt: int) -> int:
    text = "\x1f".join((*identity, str(salt)) if salt else identity)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)
