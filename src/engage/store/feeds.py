"""How far the changes of each read model were passed on to its topic, by partition: kept beside the rows."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from sqlalchemy import BigInteger, Column, MetaData, Table, Text, delete, insert, select

from engage.store.database import Database

TABLES = MetaData()
FEEDS = Table(
    "view_feeds",
    TABLES,
    Column("projection", Text, primary_key=True),
    Column("partition", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", Text, nullable=False, comment="changes are counted anew where it differs from the read model's"),
    Column("change", BigInteger, nullable=False, comment="the last change that was passed on"),
    comment="How far the changes of each read model were passed on to its topic.",
)


class Fed(Struct, frozen=True):
    """The last change of a read model that was passed on, and the epoch it was counted in."""

    epoch: str
    change: int


class Feeds:
    """The notes of all feeds in ``database``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.change_tables() as connection:
            TABLES.create_all(connection)

    def of(self, partition: int) -> dict[str, Fed]:
        """How far each read model was passed on from this partition, by its name."""
        columns = FEEDS.c.projection, FEEDS.c.epoch, FEEDS.c.change
        with self._database.read() as connection:
            found = connection.execute(select(*columns).where(FEEDS.c.partition == partition))
            return {name: Fed(epoch, change) for name, epoch, change in found}

    def note(self, partition: int, fed: Mapping[str, Fed]) -> None:
        """These were passed on."""
        rows = [
            {"projection": name, "partition": partition, "epoch": one.epoch, "change": one.change}
            for name, one in fed.items()
        ]
        with self._database.write() as connection:
            ours = FEEDS.c.partition == partition, FEEDS.c.projection.in_(list(fed))
            connection.execute(delete(FEEDS).where(*ours))
            connection.execute(insert(FEEDS), rows)
