"""Many rows at once reach PostgreSQL as few do, whatever stands in their texts and whether they were there before."""

import itertools
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec import Raw, Struct, structs
from sqlalchemy import Connection, event

from engage.store.positions import Position
from engage.store.row_copying import COPIED
from engage.store.views import Change, UnstorableRowsError, ViewStore
from engage.testing.store_rows import FULL, GENERATION, PARTITIONS, Everything, change, everything, growing
from engage.views.passes import Folded
from engage.views.projection import Projection

pytestmark = pytest.mark.postgres

MARKS = [
    '"',
    "\\",
    "\\n",
    "n",
    "u0041",
    ",",
    "'",
    "{}",
    "null",
    "NULL",
    "\\.",
    "\\N",
    ".",
    " ",
    "é",
    "😀",
    "\x7f",
    "\u2028",
]
TEXTS = ["".join(pair) for pair in itertools.product(MARKS, repeat=2)]
CONTROLS = ["\n", "\t", "\r\n", "\b", "\f", "\x01", "\\\n", '"\n', "\\n\n"]


class Noted(Struct):
    """A note as it was written."""

    place: str
    note: Any = None


noted = Projection("noted", version=1, row=Noted, append_only=True)


@pytest.fixture
def store(postgres_url: str) -> Iterator[ViewStore]:
    opened = ViewStore(postgres_url)
    opened.prepare([everything, growing, noted], GENERATION, PARTITIONS)
    yield opened
    opened.close()


@pytest.fixture
def copied(store: ViewStore) -> list[str]:
    """The copies that were made, as PostgreSQL is told."""
    found: list[str] = []
    send = store.database.send

    def told(connection: object, statements: list[tuple[str, object]]) -> None:
        found.extend(sql for sql, values in statements if isinstance(values, bytes))
        send(connection, statements)  # type: ignore[arg-type]

    store.database.send = told  # type: ignore[method-assign, assignment]
    return found


def rows_of(texts: list[str]) -> list[Everything]:
    """At least so many rows that they are copied, texts in all places that hold any."""
    many = itertools.islice(itertools.cycle(texts), max(COPIED, len(texts)))
    return [
        structs.replace(
            FULL, key=f"{number}{text}", name=text, maybe_name=text, tags=[text], totals={text: 0.1}, anything=text
        )
        for number, text in enumerate(many)
    ] + [Everything("empty")]


def by_key(rows: list[Everything]) -> dict[str, Everything]:
    return {row.key: row for row in rows}


def test_texts_come_back_as_they_were_whether_rows_are_new_or_replaced(store: ViewStore, copied: list[str]) -> None:
    first = rows_of(TEXTS)
    store.commit([change(0, 1, *first)])
    assert by_key(store.select(everything)) == by_key(first)
    later = [structs.replace(row, count=row.count - 1, maybe_name=None) for row in first] + [Everything("more")]
    store.commit([change(1, 2, *later)])
    assert by_key(store.select(everything)) == by_key(later)
    assert len(copied) == 2


def test_a_text_that_csv_would_read_otherwise_is_not_copied(store: ViewStore, copied: list[str]) -> None:
    for position, text in enumerate(CONTROLS):
        rows = rows_of(["plain"] * COPIED + [text])
        store.commit([change(position, position + 1, *rows)])
        assert store.get(everything, rows[COPIED].key) == rows[COPIED]
    assert copied == []


def test_rows_of_which_none_was_there_go_straight_in_beside_those_that_were(
    store: ViewStore, copied: list[str]
) -> None:
    first, new = rows_of(TEXTS), rows_of([f"{text}!" for text in TEXTS])[:-1]
    store.commit([change(0, 1, *first)])
    batch = change(1, 2, *[structs.replace(row, count=7) for row in first], *new)
    store.commit([structs.replace(batch, counted=1, fresh={row.key for row in new})])
    assert by_key(store.select(everything)) == by_key([*batch.folded.rows.values()])
    assert [sql.split()[1] for sql in copied] == ["pg_temp.staged", "pg_temp.staged", "everything"]


def test_each_row_keeps_when_it_wants_to_be_woken(store: ViewStore, copied: list[str]) -> None:
    rows = [structs.replace(row, maybe_seen=FULL.seen + timedelta(number)) for number, row in enumerate(rows_of(TEXTS))]
    batch = change(0, 1, *rows, projection=growing)
    batch.folded.due.update({row.key: row.maybe_seen for row in rows[1:] if row.maybe_seen})
    store.commit([batch])
    assert store.due_keys(growing, 0, FULL.seen + timedelta(2)) == [rows[1].key, rows[2].key]
    assert store.next_dues([growing], range(PARTITIONS)) == {0: rows[1].maybe_seen}
    assert len(copied) == 1


@pytest.mark.parametrize(
    ("note", "copies"),
    [(b'{"a": 1}', 1), (b'{\n  "a": 1\n}', 0), (b'{\t"a":\r1}', 0)],
    ids=["a line", "several", "tabs and returns"],
)
def test_what_is_only_appended_goes_straight_in_if_it_can(
    store: ViewStore, copied: list[str], note: bytes, copies: int
) -> None:
    for start in range(2):
        rows = {f"{start}:{number}": Noted(f"{start}:{number}", Raw(note)) for number in range(COPIED)}
        store.commit(
            [Change(Position("noted", 1, 0, GENERATION, start), start + 1, Folded(noted, rows), counted=start)]
        )
    assert [row.note for row in store.select(noted)] == [{"a": 1}] * 2 * COPIED
    assert [sql.split()[1] for sql in copied] == ["noted"] * 2 * copies


def test_what_a_copy_is_refused_for_and_no_row_goes_in_without_one(store: ViewStore, copied: list[str]) -> None:
    first, listed = rows_of(["plain"]), Everything("listed", name=["a", "b"])  # type: ignore[arg-type]  # a fold's fault
    store.commit([change(0, 1, *first, listed)])
    assert by_key(store.select(everything)) == by_key([*first, Everything("listed", name='["a","b"]')])
    later = [structs.replace(row, count=7) for row in first]
    there_after_all = change(1, 2, *later)
    store.commit([structs.replace(there_after_all, counted=1, fresh={row.key for row in later})])
    assert store.get(everything, later[0].key) == later[0]
    assert [sql.split()[1] for sql in copied] == ["pg_temp.staged", "everything"]


@pytest.fixture
def modest(store: ViewStore) -> Iterator[None]:
    """The store works for a role that may write its tables, and make none on the way."""
    role, database = f"modest_{uuid.uuid4().hex}", store.database.url.database
    with store.database.write() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role}")
        connection.exec_driver_sql(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        connection.exec_driver_sql(f'REVOKE TEMPORARY ON DATABASE "{database}" FROM PUBLIC')

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(f"SET LOCAL ROLE {role}")

    event.listen(store.database.engine, "begin", begun)
    yield
    event.remove(store.database.engine, "begin", begun)
    with store.database.write() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {role}")
        connection.exec_driver_sql(f"DROP ROLE {role}")


@pytest.mark.usefixtures("modest")
def test_a_role_that_may_make_no_table_on_the_way_writes_as_many(
    store: ViewStore, copied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_unstorable", lambda _: pytest.fail("no row is bad, and to look takes long"))
    rows = rows_of(["plain"])
    store.commit([change(0, 1, *rows)])
    assert by_key(store.select(everything)) == by_key(rows)
    assert copied != []


@pytest.mark.parametrize(
    "bad",
    [Everything("bad", name="a\0b"), Everything("bad", count=2**63), Everything("bad", anything="\0")],
    ids=["a null character", "an integer too large", "a null character in JSON"],
)
def test_of_many_the_one_that_no_column_can_hold_is_named(store: ViewStore, bad: Everything) -> None:
    with pytest.raises(UnstorableRowsError) as refused:
        store.commit([change(0, 1, *rows_of(["plain"]), bad)])
    assert list(refused.value.failures) == [("everything", "bad")]
    assert store.select(everything) == []


def test_a_time_without_an_offset_is_refused_among_many(store: ViewStore) -> None:
    with pytest.raises(UnstorableRowsError, match="has no UTC offset"):
        store.commit([change(0, 1, *rows_of(["plain"]), Everything("bad", maybe_seen=datetime(2026, 1, 1)))])
