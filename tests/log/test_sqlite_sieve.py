"""What the embedded log is not asked for, because it surely does not have it: the answers are those of a dictionary."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from unittest.mock import patch
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engage.log import sqlite_seen, sqlite_sieve
from engage.log.contract import Token
from engage.log.sqlite import SqliteLog
from engage.log.sqlite_seen import Identity, Seen
from engage.log.sqlite_sieve import Sieve
from tests.log.test_sqlite_log import commit, record

NAMES, HASHES = 90, 300
"""So few hashes that some identities have the same one, of which the first and the last that there are."""


def few_hashes(identities: Sequence[Identity], salt: int = 0) -> dict[Identity, int]:
    places = {one: crc32(f"{one}{salt}".encode()) % HASHES for one in identities}
    return {one: -(1 << 63) + place * ((1 << 64) - 1) // (HASHES - 1) for one, place in places.items()}


class House:
    """One partition's identities as ``SqliteLog`` keeps them, its records being a list in the test's hands."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._indexed = [0]
        self.records: list[Identity] = []
        db.execute("CREATE TABLE seen (hash INTEGER PRIMARY KEY, position INTEGER NOT NULL)")
        self.open()

    def open(self) -> None:
        self.seen = Seen(self._db, self._db, 1, lambda db, position: self.records[position])
        self.seen.begin(self._indexed)
        begin = self._indexed[0]
        self.seen.add({one: Token(0, at) for at, one in enumerate(self.records[begin:], begin)})

    def commit(self, names: list[int], fails: bool) -> None:
        fresh = [one for name in names if (one := ("acc", "test", str(name))) not in self.records]
        due = self.seen.due()
        self._db.execute("BEGIN")
        self.seen.sift()
        indexed = self.seen.index() if due else self._indexed
        if fails:
            self._db.execute("ROLLBACK")
            return
        self._db.execute("COMMIT")
        self._indexed = indexed
        if due:
            self.seen.indexed()
        begin = len(self.records)
        self.records += dict.fromkeys(fresh)
        self.seen.add({one: Token(0, at) for at, one in enumerate(self.records[begin:], begin)})


name = st.integers(0, NAMES - 1)
committed = st.tuples(st.lists(name, min_size=1, max_size=12), st.sampled_from([False, False, False, True]))
steps = st.lists(st.one_of(committed, committed, committed, st.none()), min_size=1, max_size=30)


@given(steps)
def test_nothing_that_is_on_the_log_is_taken_for_new_whatever_was_committed_failed_grew_or_was_opened_again(
    history: list[tuple[list[int], bool] | None],
) -> None:
    """None opens it again. What may be on the log is asked for as ever, so the answers are those of a dictionary."""
    with (
        patch.object(sqlite_seen, "_hashed", few_hashes),
        patch.object(sqlite_seen, "INDEX_EVERY", 6),
        patch.object(sqlite_sieve, "SMALLEST", 16),
        patch.object(sqlite_sieve, "STEP", 5),
        closing(sqlite3.connect(":memory:", isolation_level=None)) as db,
    ):
        house = House(db)
        for step in history:
            if step is None:
                house.open()
            else:
                house.commit(*step)
            asked = [("acc", "test", str(name)) for name in range(NAMES)]
            assert house.seen.find(asked) == {one: Token(0, at) for at, one in enumerate(house.records)}


def asked_of(find: Callable[[list[Identity]], object], identities: list[Identity]) -> int:
    """For how many of the identities the index is asked."""
    counted = 0
    by_hash = sqlite_seen._by_hash

    def counting(db, hashes):
        nonlocal counted
        counted += len(hashes)
        return by_hash(db, hashes)

    with patch.object(sqlite_seen, "_by_hash", counting):
        find(identities)
    return counted


new = [("acc-1", "test", f"new-{number}") for number in range(2_000)]


def test_nearly_none_that_is_new_is_asked_for_also_when_the_log_has_grown_and_when_it_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_seen, "INDEX_EVERY", 300)
    monkeypatch.setattr(sqlite_sieve, "SMALLEST", 256)
    monkeypatch.setattr(sqlite_sieve, "STEP", 500)
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        assert asked_of(log.find, new) == len(new), "until the index has been read everything is asked for"
        for begin in range(0, 4_000, 100):
            commit(log, *(record(offset) for offset in range(begin, begin + 100)))
            assert asked_of(log.find, new) < 100
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        assert asked_of(log.find, new) == len(new)
        for offset in range(4_000, 4_010):
            commit(log, record(offset))
        assert asked_of(log.find, new) < 100
        known = [("acc-1", "test", f"e-0-{offset}") for offset in range(4_010)]
        assert log.find([*known, *new]) == {one: Token(0, offset) for offset, one in enumerate(known)}


def test_the_bitmap_is_as_large_as_the_log_asks_for_and_never_larger_than_16_mb() -> None:
    sieve = Sieve()
    sizes = []
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE seen (hash INTEGER PRIMARY KEY, position INTEGER NOT NULL)")
        for expected in (0, 200_000, 1_000_000, 1_000_000_000):
            sieve.begin(expected, ())
            sieve.fill(db)
            assert sieve._whole is not None
            sizes.append(sieve._whole.size)
    assert sizes == [1 << 18, 1 << 20, 1 << 22, 1 << 24]


def test_what_another_writer_put_into_the_index_is_found_as_soon_as_it_is_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_sieve, "STEP", 5)
    with closing(SqliteLog(tmp_path / "log.db")) as log, closing(SqliteLog(tmp_path / "log.db")) as other:
        commit(log, record(0))
        assert asked_of(log.find, new) == 0
        commit(other, *(record(offset) for offset in range(1, 20)))
        other.index()
        with pytest.raises(sqlite3.IntegrityError):
            commit(log, record(1))
        known = {("acc-1", "test", f"e-0-{offset}"): Token(0, offset) for offset in range(20)}
        assert log.find(known) == known
