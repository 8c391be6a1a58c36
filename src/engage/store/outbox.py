"""What read models have to tell the log, kept with the rows that say so until it is published."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct
from sqlalchemy import BigInteger, Column, Connection, Integer, Table, Text, delete, select

from engage.events.catalogue import type_of
from engage.store.columns import Moment, as_it_is, moment_kind
from engage.store.database import Statement
from engage.store.positions import TABLES
from engage.views.walk import Announced

ANNOUNCEMENTS = Table(
    "announcements",
    TABLES,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, comment="the order"),
    Column("id", Text, nullable=False, comment="of the event; the same however often the same step is folded"),
    Column("projection", Text, nullable=False, comment="the read model that tells it"),
    Column("partition", BigInteger, nullable=False),
    Column("subject", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("data", Text, nullable=False, comment="JSON"),
    Column("time", Moment, nullable=False, comment="when it came about"),
    Column("cause", Text, comment="the id of the event that led to it; null: time did"),
    Column("offset", BigInteger, nullable=False, comment="of the record at which it came about"),
    comment="Events of read models that wait to be published; gone once they are.",
)


class Announcement(Struct, frozen=True):
    """One that waits: see the columns' comments."""

    number: int
    id: str
    projection: str
    partition: int
    subject: str
    type: str
    data: str
    time: datetime
    cause: str | None
    offset: int


_PUT = 'id, projection, partition, subject, type, data, time, cause, "offset"'
_PUT_SQLITE = f"INSERT INTO announcements ({_PUT}) VALUES ({','.join('?' * 9)})"
_PUT_POSTGRESQL = f"""INSERT INTO announcements ({_PUT}) SELECT {_PUT} FROM unnest(
%s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::text[], %s::bigint[])
WITH ORDINALITY AS told ({_PUT}, place) ORDER BY place"""
# As text: most batches of a shop run them, and SQLAlchemy takes several times as long as the database.


def putting(told: Iterable[tuple[str, Announced]], *, sqlite: bool) -> list[Statement]:
    """What keeps what read models, by name, announce, in this order, to be published."""
    encode = moment_kind(sqlite=sqlite).encode or as_it_is
    rows = [
        (
            one.id,
            projection,
            one.partition,
            one.subject,
            type_of(type(one.data)),
            _encode(one.data).decode(),
            encode(one.time),
            one.cause,
            one.offset,
        )
        for projection, one in told
    ]
    if not rows:
        return []
    return [(_PUT_SQLITE, rows) if sqlite else (_PUT_POSTGRESQL, tuple(map(list, zip(*rows, strict=True))))]


def waiting(connection: Connection, limit: int, partitions: Collection[int] | None, behind: int) -> list[Announcement]:
    """The first ``limit`` that wait behind so many others, of these partitions or all, in order."""
    found = select(*(ANNOUNCEMENTS.c[name] for name in Announcement.__struct_fields__))
    if partitions is not None:
        found = found.where(ANNOUNCEMENTS.c.partition.in_(partitions))
    rows = connection.execute(found.order_by(ANNOUNCEMENTS.c.number).limit(limit).offset(behind))
    return [Announcement(*row) for row in rows]


def waits(connection: Connection, projection: str, partition: int) -> bool:
    """Whether something of this read model waits, on this partition."""
    of = ANNOUNCEMENTS.c.projection == projection, ANNOUNCEMENTS.c.partition == partition
    return connection.scalar(select(ANNOUNCEMENTS.c.number).where(*of).limit(1)) is not None


def published(connection: Connection, numbers: Sequence[int]) -> None:
    """Let go of these."""
    for start in range(0, len(numbers), 900):  # SQLite before 3.32 takes 999 values
        connection.execute(delete(ANNOUNCEMENTS).where(ANNOUNCEMENTS.c.number.in_(numbers[start : start + 900])))


_encode = msgspec.json.Encoder().encode
