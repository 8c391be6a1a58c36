"""The embedded log file by itself: what is committed stays, identities are exact, readers are told of gaps."""

import asyncio
import sqlite3
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from engage.events import codec
from engage.events.catalogue.commerce import OrderDelivered
from engage.log import sqlite, sqlite_seen
from engage.log.contract import LogGapError, Record, Token
from engage.log.sqlite import LogMovedError, LogVersionError, SqliteLog, Writes

START = datetime(2026, 3, 1, tzinfo=UTC)


def record(offset, *, partition=0, subject="acc-1", hours=None):
    recorded = START + timedelta(hours=offset if hours is None else hours)
    event = codec.new_event(
        OrderDelivered(order_id=f"o-{offset}"),
        id=f"e-{partition}-{offset}",
        source="test",
        subject=subject,
        time=recorded,
    )
    event.recorded = recorded
    return Record(partition, offset, recorded, codec.encode(event))


def commit(log, *records, marker=None):
    writes = Writes(records=list(records), marker=marker)
    for each in records:
        writes.identities[codec.decode(each.value).identity] = Token(each.partition, each.offset)
        writes.ends[each.partition] = (each.offset + 1, each.recorded)
    log.commit(writes)


@pytest.fixture
def log(tmp_path):
    opened = SqliteLog(tmp_path / "log.db")
    yield opened
    opened.close()


async def test_what_is_committed_is_read_in_order_from_any_position(log):
    commit(log, *(record(offset) for offset in range(10)))
    batch = await log.read(0, 4, 3)
    assert [each.offset for each in batch.records] == [4, 5, 6]
    assert batch.next_position == 7
    assert (await log.read(0, 10, 5)).records == []
    assert await log.end(0) == 10
    assert await log.end(1) == 0


async def test_partitions_do_not_mix(log):
    commit(log, record(0, partition=0), record(0, partition=3), record(1, partition=3))
    assert [len((await log.read(partition, 0, 9)).records) for partition in range(log.partitions)] == [1, 0, 0, 2]


async def test_a_position_is_found_by_time(log):
    commit(log, *(record(offset) for offset in range(5)))
    assert await log.position_at(0, START - timedelta(days=1)) == 0
    assert await log.position_at(0, START + timedelta(hours=2)) == 2
    assert await log.position_at(0, START + timedelta(hours=2, seconds=1)) == 3
    assert await log.position_at(0, START + timedelta(days=9)) == 5


async def test_a_reader_ahead_of_the_log_is_told_so(log):
    commit(log, record(0))
    with pytest.raises(LogGapError, match="ends at 1, a reader stands at 7"):
        await log.read(0, 7, 1)


async def test_a_record_that_is_gone_is_an_error_and_not_a_jump(log, tmp_path):
    commit(log, *(record(offset) for offset in range(3)))
    with sqlite3.connect(tmp_path / "log.db") as other:
        other.execute("DELETE FROM log WHERE position = 1")
    other.close()
    with pytest.raises(LogGapError, match="no record 1, the next is 2"):
        await log.read(0, 1, 5)


async def test_a_waiting_reader_wakes_when_the_log_grows(log):
    assert not await log.wait({0: 0}, 0.02)
    waiting = asyncio.create_task(log.wait({0: 0, 1: 0}, 10))
    await asyncio.sleep(0)
    commit(log, record(0, partition=1))
    assert await waiting


async def test_a_waiting_reader_sees_what_another_process_writes(log, tmp_path):
    reader = SqliteLog(tmp_path / "log.db", read_only=True)
    waiting = asyncio.create_task(reader.wait({0: 0}, 10))
    await asyncio.sleep(0)
    commit(log, record(0))
    assert await waiting
    reader.close()


async def test_a_hole_further_on_is_found_as_well(log, tmp_path):
    commit(log, *(record(offset) for offset in range(5)))
    with sqlite3.connect(tmp_path / "log.db") as other:
        other.execute("DELETE FROM log WHERE position IN (2, 3)")
    other.close()
    with pytest.raises(LogGapError, match="no record 2, the next is 4"):
        await log.read(0, 0, 5)


def test_records_that_do_not_follow_the_end_are_not_appended(log):
    commit(log, record(0))
    with pytest.raises(LogMovedError, match="does not end at 3 any more"):
        commit(log, record(3))
    assert [each.offset for each in log.scan(0)] == [0]


def test_identities_are_found_where_they_stand(log):
    commit(log, record(0), record(1))
    known = ("acc-1", "test", "e-0-1")
    assert log.find([known, ("acc-1", "test", "never")]) == {known: Token(0, 1)}


def test_identities_stay_exact_when_their_hashes_collide(log, monkeypatch):
    monkeypatch.setattr(sqlite_seen, "_hashed", lambda identities, salt=0: dict.fromkeys(identities, salt))
    identities = [("acc-1", "test", f"e-0-{offset}") for offset in range(4)]
    for committed in ([record(0), record(1)], [record(2)]):
        commit(log, *committed)
        known = {identities[offset]: Token(0, offset) for offset in range(committed[-1].offset + 1)}
        assert log.find(identities) == known
        log.index()
        assert log.find(identities) == known


@pytest.mark.parametrize("indexed", [False, True])
def test_a_record_that_is_damaged_is_known_by_its_hash_and_hides_no_other(log, indexed):
    commit(log, record(0), record(1))
    if indexed:
        log.index()
    damage(log, 0)
    known = {("acc-1", "test", f"e-0-{offset}"): Token(0, offset) for offset in range(2)}
    assert log.find([*known, ("acc-1", "test", "never")]) == known


def test_a_record_that_is_damaged_before_it_is_indexed_stops_no_other(log, monkeypatch):
    monkeypatch.setattr(sqlite_seen, "_hashed", lambda identities, salt=0: dict.fromkeys(identities, salt))
    commit(log, *(record(offset) for offset in range(3)))
    damage(log, 1)
    log.index()
    known = {("acc-1", "test", f"e-0-{offset}"): Token(0, offset) for offset in (0, 2)}
    assert log.find(known) == known


def damage(log, offset):
    with log._transaction():
        log._db.execute("UPDATE log SET value = x'7b' WHERE position = ?", (offset,))


def test_identities_are_known_before_they_are_indexed_afterwards_and_when_the_file_is_opened_again(
    log, tmp_path, monkeypatch
):
    monkeypatch.setattr(sqlite_seen, "INDEX_EVERY", 4)
    for offset in range(11):
        commit(log, record(offset), record(offset, partition=1))
    with sqlite3.connect(tmp_path / "log.db") as other:
        (indexed,) = other.execute("SELECT count(*) FROM seen").fetchone()
    other.close()
    assert 0 < indexed < 22
    again = SqliteLog(tmp_path / "log.db")
    for opened in (log, again):
        for partition in (0, 1):
            identities = [("acc-1", "test", f"e-{partition}-{offset}") for offset in range(12)]
            assert opened.find(identities) == {
                identity: Token(partition, offset) for offset, identity in enumerate(identities[:11])
            }
    again.close()


def cells_by_rule(db):
    """As versions up to 4 kept them."""
    db.executescript("""
        ALTER TABLE cells RENAME TO by_share;
        CREATE TABLE cells (
            partition INTEGER NOT NULL, rule TEXT NOT NULL, account TEXT NOT NULL, value BLOB NOT NULL,
            PRIMARY KEY (partition, rule, account)
        ) WITHOUT ROWID;
        INSERT INTO cells SELECT partition, rule, account, value FROM by_share;
        DROP TABLE by_share;
    """)


def test_cells_that_lay_by_rule_are_those_that_are_changed_and_given_up_by_share(tmp_path):
    accounts = [f"acc-{number}" for number in range(100)]
    before = [(1, rule, account, account.encode()) for rule in ("b", "a") for account in accounts]
    first = SqliteLog(tmp_path / "log.db")
    first.commit(Writes(cells=before, engines={1: ([7, 9], b"\x80")}))
    first.close()
    with sqlite3.connect(tmp_path / "log.db") as other:
        cells_by_rule(other)
        other.execute("UPDATE meta SET value = '4' WHERE name = 'schema_version'")
    other.close()
    reader = SqliteLog(tmp_path / "log.db", read_only=True)
    assert sorted(reader.engine_state(1).cells) == sorted(cell[1:] for cell in before)
    assert reader.engine_state(1).shares == [7, 9]
    reader.close()
    log = SqliteLog(tmp_path / "log.db")
    assert sorted(log.engine_state(1).cells) == sorted(cell[1:] for cell in before)
    given_up = [(1, "a", account, None) for account in accounts[:50]]
    log.commit(Writes(cells=[*given_up, (1, "b", "acc-99", b"another")], engines={1: ([8, 9], b"\x80")}))
    left = {
        (rule, account): value for _, rule, account, value in before if not (rule == "a" and account in accounts[:50])
    }
    left["b", "acc-99"] = b"another"
    assert {(rule, account): value for rule, account, value in log.engine_state(1).cells} == left
    log.close()


def test_a_file_of_version_1_which_indexed_at_once_is_brought_up_to_date(tmp_path):
    first = SqliteLog(tmp_path / "log.db")
    commit(first, record(0), record(1))
    first.index()
    first.close()
    with sqlite3.connect(tmp_path / "log.db") as other:
        other.execute("ALTER TABLE partitions DROP COLUMN indexed")
        other.execute("ALTER TABLE partitions DROP COLUMN shares")
        cells_by_rule(other)
        other.execute("UPDATE meta SET value = '1' WHERE name = 'schema_version'")
    other.close()
    reader = SqliteLog(tmp_path / "log.db", read_only=True)
    assert reader.end_now(0) == 2
    assert reader.engine_state(0).cells == []
    reader.close()
    for _ in range(2):
        log = SqliteLog(tmp_path / "log.db")
        known = ("acc-1", "test", "e-0-1")
        assert log.find([known]) == {known: Token(0, 1)}
        log.close()


def test_a_commit_is_all_or_nothing(log):
    commit(log, record(0))
    with pytest.raises(sqlite3.IntegrityError):
        commit(log, record(1), record(0), marker=("import", 9))
    assert [each.offset for each in log.scan(0)] == [0]
    assert log.marker("import") == 0


def test_the_log_keeps_its_name_and_its_partitions(tmp_path):
    first = SqliteLog(tmp_path / "log.db", partitions=3)
    again = SqliteLog(tmp_path / "log.db", partitions=8)
    assert (again.partitions, again.generation) == (3, first.generation)
    first.close()
    again.close()


def test_a_file_of_another_schema_is_refused_with_the_remedy(tmp_path):
    SqliteLog(tmp_path / "log.db").close()
    with sqlite3.connect(tmp_path / "log.db") as other:
        other.execute("UPDATE meta SET value = '99' WHERE name = 'schema_version'")
    other.close()
    with pytest.raises(LogVersionError, match=r"schema version 99.*run the engage that wrote it"):
        SqliteLog(tmp_path / "log.db")


def test_the_log_file_lies_where_it_was_put(tmp_path: Path):
    SqliteLog(tmp_path / "odd name é#?.db").close()
    reader = SqliteLog(tmp_path / "odd name é#?.db", read_only=True)
    assert reader.partitions == 4
    reader.close()


async def test_the_records_that_hold_a_text_are_read_without_the_others_and_gaps_are_told_all_the_same(log, tmp_path):
    commit(log, *(record(offset, subject=f"acc-{offset % 3}") for offset in range(10)))
    batch = await log.read_holding(b'"acc-1"', 0, 2, 6)
    assert ([each.offset for each in batch.records], batch.next_position) == ([4, 7], 8)
    assert (await log.read_holding(b'"acc-1"', 0, 10, 6)).next_position == 10
    with pytest.raises(LogGapError, match="ends at 10, a reader stands at 12"):
        await log.read_holding(b'"acc-1"', 0, 12, 6)
    with sqlite3.connect(tmp_path / "log.db") as other:
        other.execute("DELETE FROM log WHERE position = 3")
    other.close()
    with pytest.raises(LogGapError, match="no record 3, the next is 4"):
        await log.read_holding(b'"acc-1"', 0, 2, 6)


def indexed(path):
    with sqlite3.connect(path) as other:
        (count,) = other.execute("SELECT count(*) FROM seen").fetchone()
    other.close()
    return count


def test_what_is_to_be_indexed_is_put_there_a_part_at_a_time_so_that_few_wait(log, tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite_seen, "INDEX_EVERY", 40)
    commit(log, *(record(offset) for offset in range(39)))
    assert indexed(tmp_path / "log.db") == 0
    counts = [0]
    for offset in range(39, 100):
        commit(log, record(offset))
        counts.append(indexed(tmp_path / "log.db"))
        assert offset - counts[-1] < 40
    assert max(after - before for before, after in pairwise(counts)) < 20
    identities = [("acc-1", "test", f"e-0-{offset}") for offset in range(100)]
    again = SqliteLog(tmp_path / "log.db")
    for opened in (log, again):
        assert len(opened.find(identities)) == 100
    again.close()


def test_identities_are_known_when_indexing_was_broken_off_or_could_not_be_committed(log, tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite_seen, "INDEX_EVERY", 6)
    commit(log, *(record(offset) for offset in range(6)))
    commit(log, record(6))
    with pytest.raises(LogMovedError):
        commit(log, record(9))
    assert 0 < indexed(tmp_path / "log.db") < 7
    identities = {("acc-1", "test", f"e-0-{offset}"): Token(0, offset) for offset in range(7)}
    again = SqliteLog(tmp_path / "log.db")
    for opened in (log, again):
        assert opened.find(identities) == identities
    again.index()
    assert again.find(identities) == identities
    again.close()
    assert indexed(tmp_path / "log.db") == 7


def test_what_is_committed_gets_into_the_file_itself_beside_whoever_commits(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "_MERGED_BYTES", 4_096)
    log = SqliteLog(tmp_path / "log.db")
    commit(log, record(0))
    deadline = time.monotonic() + 10
    while not merged(tmp_path):
        assert time.monotonic() < deadline, "it was not merged"
        time.sleep(0.01)
    log.close()


def test_a_file_of_an_earlier_version_keeps_its_larger_pages_and_as_many_bytes_ahead_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "_CHECKPOINT_BYTES", 40 * 16_384)
    with closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as db:
        db.execute("PRAGMA page_size=16384")
        db.execute("VACUUM")
    log = SqliteLog(tmp_path / "log.db")
    for offset in range(200):
        commit(log, record(offset))
    ahead = (tmp_path / "log.db-wal").stat().st_size
    assert [each.offset for each in log.scan(0)] == list(range(200))
    log.close()
    assert ahead < 4 * 40 * 16_384
    with closing(sqlite3.connect(tmp_path / "log.db")) as db:
        assert db.execute("PRAGMA page_size").fetchone() == (16_384,)


def test_what_is_written_ahead_of_the_file_stays_bounded_while_others_read(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "_CHECKPOINT_BYTES", 40 * 4_096)
    monkeypatch.setattr(sqlite, "_MERGED_BYTES", 5 * 4_096)
    log = SqliteLog(tmp_path / "log.db")
    reader = SqliteLog(tmp_path / "log.db", read_only=True)
    longest = 0
    for offset in range(400):
        commit(log, record(offset))
        assert [each.offset for each in reader.scan(0, offset)] == [offset]
        longest = max(longest, (tmp_path / "log.db-wal").stat().st_size)
    reader.close()
    log.close()
    assert longest < 4 * 40 * 4_096, "each commit writes two pages at least, all of them twenty times as many"


def test_what_is_written_ahead_of_the_file_stays_bounded_while_somebody_always_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "_CHECKPOINT_BYTES", 40 * 4_096)
    monkeypatch.setattr(sqlite, "_MERGED_BYTES", 5 * 4_096)
    log, done = SqliteLog(tmp_path / "log.db"), threading.Event()
    begun = [threading.Semaphore(0), threading.Semaphore(0)]

    def read(number):
        with closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as db:
            while not done.is_set():
                db.execute("BEGIN")
                db.execute("SELECT count(*) FROM log").fetchall()
                begun[1 - number].release()
                begun[number].acquire(timeout=5)  # and goes on reading until the other one does
                db.execute("COMMIT")

    readers = [threading.Thread(target=read, args=(number,)) for number in range(2)]
    for reader in readers:
        reader.start()
    longest = 0
    for offset in range(600):
        commit(log, record(offset))
        longest = max(longest, (tmp_path / "log.db-wal").stat().st_size)
    done.set()
    for each in begun:
        each.release(2)
    for reader in readers:
        reader.join()
    log.close()
    assert longest < 12 * 40 * 4_096, "each commit writes two pages at least, all of them thirty times as many"


def merged(folder):
    """Whether the file alone, without what is written ahead of it, has a record."""
    copied = folder / "alone" / "log.db"
    copied.parent.mkdir(exist_ok=True)
    copied.write_bytes((folder / "log.db").read_bytes())
    try:
        with sqlite3.connect(copied) as other:
            return other.execute("SELECT count(*) FROM log").fetchone() == (1,)
    except sqlite3.DatabaseError:
        return False
    finally:
        other.close()


def test_identities_are_found_whoever_is_in_the_middle_of_reading(log):
    commit(log, record(0), record(1))
    reading = log.scan(0)
    next(reading)
    commit(log, record(2))
    log.index()
    known = ("acc-1", "test", "e-0-2")
    assert log.find([known]) == {known: Token(0, 2)}
    assert [each.offset for each in reading] == [1]
