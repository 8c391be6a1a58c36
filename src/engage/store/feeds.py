"""How far the changes of each read model were passed on to its topic, by partition: kept beside the rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct
from sqlalchemy import BigInteger, Column, MetaData, Table, Text, delete, insert

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


_BEHIND = """SELECT positions.projection, positions.partition, view_models.epoch, coalesce(view_feeds.change, 0)
FROM positions JOIN view_models ON view_models.projection = positions.projection
LEFT JOIN view_feeds ON view_feeds.projection = positions.projection
    AND view_feeds.partition = positions.partition AND view_feeds.epoch = view_models.epoch
WHERE positions.changes > coalesce(view_feeds.change, 0)"""


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

    def behind(self, projections: Collection[str], partitions: Collection[int]) -> dict[int, dict[str, Fed]]:
        """Which of these have changed since they were passed on, and since where, by partition and name."""
        found: dict[int, dict[str, Fed]] = {}
        of, names = self._database.among("positions.projection", projections)
        on, numbers = self._database.among("positions.partition", partitions)
        with self._database.read() as connection:
            [rows] = self._database.ask(connection, [(f"{_BEHIND} AND {of} AND {on}", (*names, *numbers))])
        for name, partition, epoch, change in rows:
            found.setdefault(partition, {})[name] = Fed(epoch, change)
        return found

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
