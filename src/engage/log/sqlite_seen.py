"""Which events the embedded log holds, so that the same one again is counted once: exact, and for ever.

Identities are kept as 64-bit hashes inserted in sorted order, which costs half of a unique index on 16 random bytes; a
hit is compared with the record itself. The table is a fold of the log: what it lacks of the log's tail is in memory.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from engage.log.contract import Token
from engage.log.sqlite_rows import execute_rows

INDEX_EVERY = 6_000
"""Records of a partition whose identities are kept in memory until they are indexed, in one go and sorted: then they
share the index's pages. One by one, each would write a page of its own (``benchmarks/http.py``)."""
SHIFT = 40
_MOST_HASHES = 100_000
_WIDTHS = (1, 8, 64, 512)
_SELECT_HITS = {width: f"SELECT hash, position FROM seen WHERE hash IN ({','.join('?' * width)})" for width in _WIDTHS}
"""A few statements, which stay prepared: to prepare one takes longer than to look up what it asks for."""

Identity = tuple[str, str, str]


class Seen:
    """The identities of a log's records. One thread may ``find`` what was committed while another one commits.

    ``stored`` is who stands at a position (``key``) of the log.
    """

    def __init__(
        self,
        writing: sqlite3.Connection,
        reading: sqlite3.Connection,
        partitions: int,
        stored: Callable[[int], Identity],
    ) -> None:
        self._writing = writing
        self._reading = reading
        self._stored = stored
        self._recent: dict[Identity, Token] = {}
        self._waiting: list[list[Identity]] = [[] for _ in range(partitions)]
        # Of what was looked for and not found, since it is likely to be put there: to hash it again costs as much.
        self._hashes: dict[Identity, int] = {}

    def find(self, identities: Iterable[Identity]) -> dict[Identity, Token]:
        """Where events of these identities stand, for those that are on the log."""
        found: dict[Identity, Token] = {}
        recent = self._recent
        if len(self._hashes) > _MOST_HASHES:
            self._hashes = {}
        wanted: dict[Identity, int] = {}
        for identity in identities:
            if (token := recent.get(identity)) is None:
                wanted[identity] = _hash(identity, 0)
            else:
                found[identity] = token
        self._hashes.update(wanted)
        salt = 0
        while wanted:
            # Nearly none is there: what a hash stands for is looked for only when it is.
            hits = dict(_by_hash(self._reading, list(wanted.values())))
            again = {}
            for identity, value in wanted.items() if hits else ():
                if (position := hits.get(value)) is None:
                    continue
                if identity == self._stored(position):
                    found[identity] = token_at(position)
                else:
                    again[identity] = _hash(identity, salt + 1)
            wanted = again
            salt += 1
        return found

    def add(self, identities: Mapping[Identity, Token]) -> None:
        """These have been committed, and are to be indexed."""
        self._recent.update(identities)
        for identity, token in identities.items():
            self._waiting[token.partition].append(identity)

    def due(self) -> int | None:
        """The partition with the longest list, if that is long: one a commit, so that none takes long."""
        longest = max(range(len(self._waiting)), key=lambda partition: len(self._waiting[partition]))
        return longest if len(self._waiting[longest]) >= INDEX_EVERY else None

    def waiting(self) -> list[int]:
        """The partitions of which something waits to be indexed."""
        return [partition for partition, waiting in enumerate(self._waiting) if waiting]

    def index(self, partition: int) -> int:
        """Put what waits into ``seen``, sorted, within a transaction; up to where the partition is indexed by it.

        An identity whose hash another one has takes the next of its own. ``indexed`` follows once it is committed.
        """
        waiting, salt, end = self._waiting[partition], 0, 0
        recent, hashes = self._recent, self._hashes
        while waiting:
            rows = []
            for identity in waiting:
                offset = recent[identity].offset
                value = hashes.get(identity) if salt == 0 else None
                rows.append((_hash(identity, salt) if value is None else value, key(partition, offset), identity))
                end = max(end, offset + 1)
            rows.sort()
            if execute_rows(self._writing, "INSERT OR IGNORE INTO seen", [row[:2] for row in rows]) == len(rows):
                break
            stored = dict(_by_hash(self._writing, [row[0] for row in rows]))
            waiting = [identity for value, position, identity in rows if stored[value] != position]
            salt += 1
        return end

    def indexed(self, partition: int) -> None:
        """What waited is in the file: it need not be in memory any more."""
        for identity in self._waiting[partition]:
            self._recent.pop(identity, None)
            self._hashes.pop(identity, None)
        self._waiting[partition] = []


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
