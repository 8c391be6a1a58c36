"""Rows as a Parquet file with the types that the read model's columns have, for tools that read nothing of ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from engage.durable import take_place
from engage.services.moving.files import UNFINISHED, ExportFile, measured
from engage.views.columns import ViewColumn

_GROUP = 20_000
"""Rows in memory at once, and in one row group of the file."""

_encode = msgspec.json.Encoder().encode


class ParquetMissingError(RuntimeError):
    """What writes Parquet is not installed."""


class ParquetFile:
    """Writes ``path`` in ``folder`` row by row, packed with zstd; without ``finish`` nothing of that name is left.

    Moments are timestamps in microseconds, UTC; what has no column type of its own is JSON as text. A column's
    description is in its metadata. ParquetMissingError without pyarrow.
    """

    def __init__(self, folder: Path, path: str, columns: Sequence[ViewColumn]) -> None:
        require()
        import pyarrow
        from pyarrow import parquet

        self._folder, self._path = folder, path
        self._final = folder / path
        self._draft = self._final.with_name(self._final.name + UNFINISHED)
        self._final.parent.mkdir(parents=True, exist_ok=True)
        self._json = [column.name for column in columns if column.type == "json"]
        self._schema = pyarrow.schema([_field(pyarrow, column) for column in columns])
        self._batch = pyarrow.RecordBatch
        self._writer = parquet.ParquetWriter(self._draft, self._schema, compression="zstd")
        self._waiting: list[dict[str, Any]] = []
        self._rows = 0

    def write(self, row: Any) -> None:
        """Add a row, a Struct with these columns."""
        values = msgspec.structs.asdict(row)
        for name in self._json:
            if values[name] is not None:
                values[name] = _encode(values[name]).decode()
        self._waiting.append(values)
        if len(self._waiting) == _GROUP:
            self._put()

    def finish(self) -> ExportFile:
        """Make it durable under its name; what it is."""
        self._put()
        self._writer.close()
        whole = measured(self._folder, self._path + UNFINISHED, self._rows)
        take_place(self._draft, self._final)
        return msgspec.structs.replace(whole, path=self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._writer.close()
        self._draft.unlink(missing_ok=True)

    def _put(self) -> None:
        if self._waiting:
            self._writer.write_batch(self._batch.from_pylist(self._waiting, schema=self._schema))
            self._rows += len(self._waiting)
            self._waiting = []


def require() -> None:
    """ParquetMissingError where pyarrow is not installed."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ParquetMissingError(
            "what writes Parquet is not installed: install engage-platform[parquet], or leave it out (--no-parquet)"
        ) from error


def _field(pyarrow: Any, column: ViewColumn) -> Any:
    kinds = {
        "text": pyarrow.string(),
        "integer": pyarrow.int64(),
        "number": pyarrow.float64(),
        "decimal": pyarrow.decimal256(76, 18),
        "boolean": pyarrow.bool_(),
        "moment": pyarrow.timestamp("us", tz="UTC"),
        "date": pyarrow.date32(),
        "json": pyarrow.string(),
    }
    metadata = {"description": column.description} if column.description else None
    return pyarrow.field(column.name, kinds[column.type], nullable=column.nullable, metadata=metadata)
