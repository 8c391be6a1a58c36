"""The read models in an export: the rows that readers see, as NDJSON and as Parquet, all of one moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, select

from engage.services.moving.files import PACKED, ExportFile, Writer
from engage.services.moving.manifest import ExportedView
from engage.services.moving.parquet import ParquetFile
from engage.store.outbox import ANNOUNCEMENTS
from engage.store.pauses import PAUSES
from engage.store.positions import POSITIONS, STANDINGS
from engage.store.reader import ViewMissingError, ViewReader
from engage.store.table_rows import lines
from engage.views.aggregate import Aggregate
from engage.views.columns import columns_of, seen_row
from engage.views.projection import ReadModel

SETTINGS = (PAUSES, ANNOUNCEMENTS)
"""What is kept beside the read models and is no fold of the log: what stands still, what was not told yet."""

_encode = msgspec.json.Encoder().encode


class Exported(Struct, frozen=True):
    """What was written of the read models."""

    files: list[ExportFile]
    views: list[ExportedView]


def write_views(
    reader: ViewReader, models: Sequence[ReadModel[Any]], folder: Path, *, parquet: bool
) -> Iterator[tuple[str, int] | Exported]:
    """Write all of them as of one moment; after some rows each the name of the model and the rows so far, at last all.

    A read model that nobody may read just now, for it is being folded, is left out, and said to be.
    """
    files: list[ExportFile] = []
    views: list[ExportedView] = []
    with _one_moment(reader, models) as (connection, readable):
        for model in models:
            standing = _standing(connection, model)
            if model.name in readable:
                views.append(msgspec.structs.replace(standing, left_out=readable[model.name]))
                continue
            path = f"views/{model.name}"
            with ExitStack() as stack:
                packed = stack.enter_context(Writer(folder, path + PACKED))
                columns = columns_of(seen_row(model))
                beside = stack.enter_context(ParquetFile(folder, f"{path}.parquet", columns)) if parquet else None
                for row in _rows(reader, connection, model):
                    packed.write(_encode(row))
                    if beside is not None:
                        beside.write(row)
                    if packed.rows % _TOLD_EVERY == 0:
                        yield model.name, packed.rows
                files.append(packed.finish())
                if beside is not None:
                    files.append(beside.finish())
            views.append(msgspec.structs.replace(standing, rows=packed.rows))
            yield model.name, packed.rows
        for table in SETTINGS:
            with Writer(folder, f"stores/views.{table.name}{PACKED}") as packed:
                for line in lines(connection, table):
                    packed.write(line)
                files.append(packed.finish())
    yield Exported(files, views)


_TOLD_EVERY = 2_000


@contextmanager
def _one_moment(reader: ViewReader, models: Sequence[ReadModel[Any]]) -> Iterator[tuple[Connection, dict[str, str]]]:
    """A transaction that reads all of them, and which of them may not be read, with the reason."""
    closed: dict[str, str] = {}
    for model in models:
        try:
            with reader.reading(model):
                pass
        except ViewMissingError as error:
            closed[model.name] = str(error)
    with reader.database.read() as connection:
        if not reader.database.sqlite:
            # Before anything is read: what is put in a table's place meanwhile would be of another moment.
            quote = connection.dialect.identifier_preparer.quote
            names = [quote(model.name) for model in models if model.name not in closed]
            if names:
                connection.exec_driver_sql(f"LOCK TABLE {', '.join(names)} IN ACCESS SHARE MODE")
        yield connection, closed


def _rows(reader: ViewReader, connection: Connection, model: ReadModel[Any]) -> Iterable[Any]:
    rows = reader.table(model).scan(connection)
    return model.merged(rows) if isinstance(model, Aggregate) else rows


def _standing(connection: Connection, model: ReadModel[Any]) -> ExportedView:
    table = POSITIONS.c
    found = select(table.partition, table.position, table.announces_from).where(table.projection == model.name)
    stands = connection.execute(found.order_by(table.partition)).all()
    stood = select(STANDINGS.c.partition).where(STANDINGS.c.projection == model.name).order_by(STANDINGS.c.partition)
    return ExportedView(
        name=model.name,
        version=model.version,
        positions={row.partition: row.position for row in stands},
        announces={row.partition: row.announces_from for row in stands if row.announces_from is not None},
        stood=tuple(connection.scalars(stood)),
    )
