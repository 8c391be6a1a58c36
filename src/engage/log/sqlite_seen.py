"""Which events the embedded log holds, so that the same one again is counted once: exact, and for ever.

Identities are kept as 64-bit hashes inserted in sorted order, which costs half of a unique index on 16 random bytes; a
hit is compared with the record itself. The table is a fold of the log: what it lacks of the log's tail is in memory,
as hashes too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import chain
from struct import unpack

from engage.log.contract import Token
from engage.log.sqlite_rows import execute_rows
from engage.log.sqlite_sieve import Sieve

INDEX_EVERY = 24_000
"""Records whose identities are kept in memory until some are indexed, sorted: then they share the index's pages. One by
one, each would write a page of its own (``benchmarks/http.py``). One takes 150 bytes meanwhile."""
DRAWERS = 32
"""They lie in so many drawers by their hash. One is indexed at a time, so that no commit takes long for it, and what is
in it stands close together in the index."""
_TO_DRAWER = 59
"""Bits to shift a hash by to get its drawer; those below zero are counted from the last."""
SHIFT = 40
_MOST_HASHES = 100_000
_WIDTHS = (1, 8, 64, 512)
_SELECT_HITS = {width: f"SELECT hash, position FROM seen WHERE hash IN ({','.join('?' * width)})" for width in _WIDTHS}
"""A few statements, which stay prepared: to prepare one takes longer than to look up what it asks for."""

Identity = tuple[str, str, str]
_Row = tuple[int, int]
"""A hash, and the ``key`` of whose it is."""


class Seen:
    """The identities of a log's records. One thread may ``find`` what was committed while another one commits.

    ``stored`` is who stands at a position (``key``) of the log, as a connection sees it; None where that cannot be read
    any more: then whoever has its hash is taken for it.
    """

    def __init__(
        self,
        writing: sqlite3.Connection,
        reading: sqlite3.Connection,
        partitions: int,
        stored: Callable[[sqlite3.Connection, int], Identity | None],
    ) -> None:
        self._writing = writing
        self._reading = reading
        self._stored = stored
        # Of all that is not indexed, by its hash; and of those whose hash another one of them has.
        self._drawers: list[dict[int, int]] = [{} for _ in range(DRAWERS)]
        self._clashing: dict[Identity, _Row] = {}
        self._count = 0
        self._ends = [0] * partitions
        self._indexed = [[0] * partitions for _ in range(DRAWERS)]
        self._turn = 0
        self._put_now: list[int] = []
        # Of what was looked for and not found, since it is likely to be put there: to hash it again costs as much.
        self._hashes: dict[Identity, int] = {}
        self._sieve = Sieve()
        self._doubted = True

    def find(self, identities: Iterable[Identity]) -> dict[Identity, Token]:
        """Where events of these identities stand, for those that are on the log."""
        if len(self._hashes) > _MOST_HASHES:
            self._hashes = {}
        wanted = _hashed(list(identities))
        self._hashes.update(wanted)
        wanted = self._sieve.passed(wanted)
        found = self._found_recent(wanted)
        for identity in found:
            del wanted[identity]
        salt = 0
        while wanted:
            # Few are there: what a hash stands for is looked for only when it is.
            hits = dict(_by_hash(self._reading, list(wanted.values())))
            again: list[Identity] = []
            for identity, value in wanted.items() if hits else ():
                if (position := hits.get(value)) is None:
                    continue
                if self._stands_at(position, identity):
                    found[identity] = token_at(position)
                else:
                    again.append(identity)
            salt += 1
            wanted = _hashed(again, salt)
        return found

    def _found_recent(self, wanted: Mapping[Identity, int]) -> dict[Identity, Token]:
        """Where those of them stand that are not indexed yet."""
        drawers = self._drawers
        found: dict[Identity, Token] = {}
        for identity, value in wanted.items():
            position = drawers[value >> _TO_DRAWER].get(value)
            if position is not None:
                if self._stands_at(position, identity):
                    found[identity] = token_at(position)
                elif (row := self._clashing.get(identity)) is not None:
                    found[identity] = token_at(row[1])
        return found

    def _stands_at(self, position: int, identity: Identity) -> bool:
        return self._stored(self._reading, position) in (identity, None)

    def begin(self, indexed: Sequence[int]) -> None:
        """Up to where each partition's records were indexed by whoever had the file before: those behind are added."""
        self._ends = list(indexed)
        self._indexed = [list(indexed) for _ in range(DRAWERS)]

    def doubt(self) -> None:
        """Another connection may have written to the index: what it lacks is not known any more."""
        self._doubted = True

    def sift(self) -> None:
        """Let ``find`` know a little more of what the log lacks without asking; the first thing of a commit."""
        sieve = self._sieve
        if self._doubted:
            self._doubted = False
            sieve.forget()
            sieve.begin(sum(self._ends), list(chain.from_iterable(self._drawers)))
        elif many := sieve.outgrown():
            sieve.begin(many, list(chain.from_iterable(self._drawers)))
        sieve.fill(self._writing)

    def add(self, identities: Mapping[Identity, Token]) -> None:
        """These have been committed, and are to be indexed."""
        drawers, hashes, ends = self._drawers, self._hashes, self._ends
        added: list[int] = []
        for identity, token in identities.items():
            value = hashes.pop(identity, None)
            if value is None:
                value = _hashed([identity])[identity]
            added.append(value)
            partition, offset = token.partition, token.offset
            position = partition << SHIFT | offset  # ``key``, which to call takes as long as all else of it
            ends[partition] = offset + 1
            if drawers[value >> _TO_DRAWER].setdefault(value, position) != position:
                self._clashing[identity] = value, position
        self._sieve.add(added)
        self._count = self._counted()

    def due(self) -> bool:
        """Whether so many wait that some are to be indexed with the next commit."""
        return self._count >= INDEX_EVERY

    def index(self, most: int | None = None) -> list[int]:
        """Put drawers into ``seen``, in a transaction, until less than ``most`` wait; ``indexed`` follows its commit.

        Up to where each partition is indexed by it.
        """
        most, left = INDEX_EVERY if most is None else most, self._count
        self._put_now = []
        while len(self._put_now) < DRAWERS and left >= most:
            number = (self._turn + len(self._put_now)) % DRAWERS
            drawer = self._drawers[number]
            rows = [(value, drawer[value]) for value in sorted(drawer)]  # pairs take twice as long to sort
            if clashing := [row for row in self._clashing.values() if _in(row, number)]:
                rows = sorted(rows + clashing)
            self._put(rows)
            self._put_now.append(number)
            left -= len(rows)
        standing = [self._ends if one in self._put_now else ends for one, ends in enumerate(self._indexed)]
        return [min(ends) for ends in zip(*standing, strict=True)]

    def indexed(self) -> None:
        """What was put is in the file: it need not be in memory any more."""
        for number in self._put_now:
            self._drawers[number] = {}
            self._indexed[number] = list(self._ends)
            if self._clashing:
                self._clashing = {one: row for one, row in self._clashing.items() if not _in(row, number)}
        self._turn = (self._turn + len(self._put_now)) % DRAWERS
        self._put_now = []
        self._count = self._counted()

    def waiting(self) -> int:
        """How many are not indexed yet."""
        return self._count

    def _counted(self) -> int:
        return sum(map(len, self._drawers)) + len(self._clashing)

    def _put(self, rows: list[_Row]) -> None:
        """An identity whose hash another one has takes the next of its own."""
        salt = 0
        while execute_rows(self._writing, "INSERT OR IGNORE INTO seen", rows) != len(rows):
            stored = dict(_by_hash(self._writing, [value for value, _ in rows]))
            salt += 1
            rows = sorted(
                (_hashed([identity], salt)[identity], position)
                for value, position in rows
                if stored[value] != position and (identity := self._stored(self._writing, position)) is not None
            )


def _in(row: _Row, drawer: int) -> bool:
    return (row[0] >> _TO_DRAWER) % DRAWERS == drawer


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


def _hashed(identities: Sequence[Identity], salt: int = 0) -> dict[Identity, int]:
    """The hash of each: all are read together, in a third of the time that reading each by itself takes."""
    texts = ["\x1f".join((*one, str(salt)) if salt else one) for one in identities]
    digests = [blake2b(text.encode(), digest_size=8).digest() for text in texts]
    return dict(zip(identities, unpack(f"<{len(digests)}q", b"".join(digests)), strict=True))
