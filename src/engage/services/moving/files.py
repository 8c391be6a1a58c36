"""Files of an export: NDJSON packed with zstd, there whole and durable or not at all."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import Struct

from engage.durable import keep, take_place

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACKED = ".ndjson.zst"
UNFINISHED = ".part"
"""How the name of a file ends that is being written; what is left of one is written anew."""

_LEVEL = 6
_CHUNK = 1 << 20


class DamagedError(ValueError):
    """The export is not what was written: the message names the file and what is wrong with it."""


class ExportFile(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A file that is whole: its ``path`` in the folder, its rows, its bytes, and SHA-256 of these.

    Of a segment of the log also the partition, and the positions of its first record and behind its last.
    """

    path: str
    rows: int
    bytes: int
    sha256: str
    partition: int | None = None
    first: int | None = None
    next: int | None = None


class Writer:
    """Writes ``path`` in ``folder`` line by line; a context manager. Without ``finish`` nothing is left of it."""

    def __init__(self, folder: Path, path: str) -> None:
        self._path = path
        self._final = folder / path
        self._draft = self._final.with_name(self._final.name + UNFINISHED)
        self._final.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._draft.open("wb")
        self._packer = zstd.ZstdCompressor(_LEVEL)
        self._digest = hashlib.sha256()
        self._waiting = bytearray()
        self.rows = 0
        self.taken = 0
        """Bytes before they were packed."""

    def write(self, line: bytes) -> None:
        """Add one line, given without its end."""
        self._waiting += line
        self._waiting += b"\n"
        self.rows += 1
        self.taken += len(line) + 1
        if len(self._waiting) >= _CHUNK:
            self._put(self._packer.compress(bytes(self._waiting)))
            self._waiting.clear()

    def finish(self, **where: int) -> ExportFile:
        """Make it durable under its name; what it is. ``where``: partition, first and next of a segment."""
        self._put(self._packer.compress(bytes(self._waiting)))
        self._put(self._packer.flush())
        size = self._file.tell()
        keep(self._file)
        take_place(self._draft, self._final)
        return ExportFile(path=self._path, rows=self.rows, bytes=size, sha256=self._digest.hexdigest(), **where)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._file.close()
        self._draft.unlink(missing_ok=True)

    def _put(self, packed: bytes) -> None:
        self._digest.update(packed)
        self._file.write(packed)


def lines(path: Path) -> Iterator[bytes]:
    """The lines of a packed file, without their ends; DamagedError if it is not what zstd makes, or not all of it."""
    try:
        with zstd.open(path, "rb") as opened:
            for line in opened:
                yield line.removesuffix(b"\n")
    except (zstd.ZstdError, EOFError) as error:
        raise DamagedError(f"{path} cannot be unpacked ({error}): take another copy of the export") from error


def measured(folder: Path, path: str, rows: int) -> ExportFile:
    """What a file is that somebody else has written; it is made durable."""
    with (folder / path).open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ExportFile(path=path, rows=rows, bytes=(folder / path).stat().st_size, sha256=digest)
