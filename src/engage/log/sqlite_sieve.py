"""Which identities the embedded log surely lacks, told from memory: nearly all that come are new, and need no query.

An identity sets two bits of a bitmap, which its 64-bit hash names. Where one of them is not set it is not on the log;
where both are it may be, and the log is asked. That is a fold of the index, made anew by whoever opens the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import TypeVar

SMALLEST, _LARGEST = 1 << 18, 1 << 24
"""Bytes of a bitmap. The index of a hash's second byte ends where what else is taken of it begins: no larger ones."""
_GROWS = 4
"""Times as large is the next one: all that the index holds is put into it, which takes 0.4 us an identity."""
_ROOM = 2
"""Bytes an identity when it is full: then 1.4 % of what is new is asked for, and 0.1 % in the next one. With one bit an
identity it would be 6 %, nearly each batch of a hundred, and to look takes as long."""
STEP = 2_000
"""Identities that are read from the index with a commit: 0.8 ms."""
_SECOND, _SECOND_BIT = 3, 25
"""Bits to shift a hash by to get its second byte, and that by to get the bit of it. The first byte is named by the
hash's first bits, so that what comes from the index lies close together; those below zero are counted from the last."""
_BITS = tuple(1 << bit for bit in range(8))
_FIRST_HASH = -(1 << 63)
# One row: with each that it is handed, this thread would wait for the interpreter beside a busy event loop.
_SOME = "SELECT max(hash), group_concat(hash) FROM (SELECT hash FROM seen WHERE hash >= ? ORDER BY hash LIMIT ?)"
_Key = TypeVar("_Key")


class Sieve:
    """What is passed on of hashes that are looked for. One thread may look while another one, always the same, adds."""

    def __init__(self) -> None:
        self._whole: _Bitmap | None = None
        self._filling: _Bitmap | None = None
        self._next = _FIRST_HASH

    def begin(self, expected: int, waiting: Sequence[int]) -> None:
        """Have all that the index holds, about so many, and what waits for it, read a part at a time by ``fill``.

        Until that is done everything is passed on, or what the bitmap before lets through.
        """
        size = SMALLEST
        while size < expected * _ROOM and size < _LARGEST:
            size *= _GROWS
        self._filling, self._next = _Bitmap(size), _FIRST_HASH
        self._filling.add(waiting)

    def add(self, hashes: Sequence[int]) -> None:
        """These are to be passed on from now on."""
        for bitmap in (self._whole, self._filling):
            if bitmap is not None:
                bitmap.add(hashes)

    def fill(self, db: sqlite3.Connection) -> None:
        """Read a part of the index, if any is left to be read."""
        if (filling := self._filling) is None:
            return
        [(last, text)] = db.execute(_SOME, (self._next, STEP)).fetchall()
        hashes = list(map(int, text.split(","))) if text else []
        filling.add(hashes)
        if len(hashes) == STEP:
            self._next = last  # which is read again, for the last of all has no next one
        else:
            self._whole, self._filling = filling, None

    def outgrown(self) -> int:
        """For how many the next bitmap is to be, 0 while this one is large enough or is as large as any."""
        whole = self._whole
        if whole is None or self._filling is not None or whole.size == _LARGEST or whole.count * _ROOM <= whole.size:
            return 0
        return whole.size * _GROWS // _ROOM

    def passed(self, wanted: dict[_Key, int]) -> dict[_Key, int]:
        """Those of them, by their hashes, that may be on the log; who is left out is not."""
        whole = self._whole  # which who adds may change meanwhile
        return wanted if whole is None else whole.holds(wanted)

    def forget(self) -> None:
        """Pass everything on until the index has been read anew."""
        self._whole = self._filling = None


class _Bitmap:
    def __init__(self, size: int) -> None:
        self.size = size
        self.count = 0
        self._bytes = bytearray(size)
        self._first = 64 - (size.bit_length() - 1)

    def add(self, hashes: Sequence[int]) -> None:
        """How often something was added is counted, for few are twice."""
        held, bits, first, last = self._bytes, _BITS, self._first, self.size - 1
        for value in hashes:
            held[value >> first] |= bits[value & 7]
            second = value >> _SECOND
            held[second & last] |= bits[second >> _SECOND_BIT & 7]
        self.count += len(hashes)

    def holds(self, wanted: Mapping[_Key, int]) -> dict[_Key, int]:
        held, first, last = self._bytes, self._first, self.size - 1
        return {
            one: value
            for one, value in wanted.items()
            if held[value >> first] & _BITS[value & 7]
            and held[(second := value >> _SECOND) & last] & _BITS[second >> _SECOND_BIT & 7]
        }
