"""The manifest of an export: what is in the folder, from where, as of when; written last, so that it says "whole".

Until then the folder holds a journal: what the export was begun as, and each file that is whole. Whoever was cut off
goes on from there, and nobody takes the half for the whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from engage.durable import keep, take_place
from engage.services.moving.files import PACKED, UNFINISHED, DamagedError, ExportFile, lines

FORMAT = 1
NAME = "manifest.json"
JOURNAL = "unfinished.ndjson"

Backend = Literal["sqlite", "kafka", "postgresql"]


class UnfinishedError(RuntimeError):
    """The folder holds an export that was cut off: the same command that began it goes on."""


class NoExportError(DamagedError):
    """There is no export where one was said to be: the message names the folder."""


class NotEmptyError(RuntimeError):
    """The folder, or the house, holds something already; the message says what to do."""


class Cut(Struct, frozen=True):
    """A partition of the log in the export: ``records`` up to before ``end``, the last one recorded at ``recorded``."""

    partition: int
    end: int
    records: int
    recorded: datetime | None = None


class ExportedView(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A read model in the export: its rows as of ``positions`` of the log, by partition.

    ``announces`` are the positions from which on it speaks, ``stood`` the partitions on which it has told how its rows
    stand. ``left_out`` says why there are no rows of it.
    """

    name: str
    version: int
    rows: int = 0
    positions: dict[int, int] = {}
    announces: dict[int, int] = {}
    stood: tuple[int, ...] = ()
    left_out: str = ""


class Begun(Struct, frozen=True, kw_only=True):
    """What an export was begun as: of which log, by which engage, with which contents."""

    id: str
    format: int = FORMAT
    engage: str
    began: datetime
    log: Backend
    stores: Backend
    generation: str
    partitions: int
    parquet: bool
    master_key: bool


class Manifest(Begun, frozen=True, kw_only=True):
    """A whole export. ``read`` is when its log was cut; ``schemas`` the versions of its stores' tables, by store."""

    read: datetime
    cuts: tuple[Cut, ...]
    views: tuple[ExportedView, ...]
    schemas: dict[str, int]
    files: tuple[ExportFile, ...]

    @property
    def records(self) -> int:
        """How many records of the log there are."""
        return sum(cut.records for cut in self.cuts)

    @property
    def bytes(self) -> int:
        """How much room the files take."""
        return sum(file.bytes for file in self.files)

    def segments(self, partition: int) -> list[ExportFile]:
        """The files of a partition of the log, in order."""
        return [file for file in self.files if file.partition == partition]


class Ends(Struct, frozen=True, tag="ends"):
    """The log was cut here, at that moment: every store but the keys was read before, the keys are read behind."""

    read: datetime
    ends: dict[int, int]


class Done(Struct, frozen=True, tag="done"):
    """A part of the export is whole: its files, and what the manifest says of it."""

    part: str
    files: tuple[ExportFile, ...]
    views: tuple[ExportedView, ...] = ()
    schemas: dict[str, int] = {}
    recorded: datetime | None = None


_entry = msgspec.json.Decoder(Ends | Done).decode
_encode = msgspec.json.Encoder().encode


class Journal:
    """What has been done of an export in ``folder``, durable entry by entry."""

    def __init__(self, folder: Path, begun: Begun, ends: Ends | None, done: Iterable[Done]) -> None:
        self._folder = folder
        self.begun = begun
        self.ends = ends
        self.done = {one.part: one for one in done}

    @classmethod
    def opened(cls, folder: Path, begun: Begun) -> Journal:
        """The journal of an export in ``folder``: the one that was cut off there, or a new one that begins as said.

        NotEmptyError if the folder holds a whole export, something else, or an export of another log or kind.
        """
        if (folder / NAME).exists():
            whole = read_manifest(folder)
            raise NotEmptyError(
                f"{folder} holds a whole export of {whole.began:%Y-%m-%d %H:%M} (UTC): name another folder"
            )
        if (folder / JOURNAL).exists():
            found = cls._read(folder)
            if found is not None:
                _refuse_another(folder, found.begun, begun)
                return found
        elif folder.exists() and any(folder.iterdir()):
            raise NotEmptyError(f"{folder} is not empty, and what is in it is no export: name another folder")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = folder / (JOURNAL + UNFINISHED)
        with draft.open("wb") as file:
            file.write(_encode(begun) + b"\n")
            keep(file)
        take_place(draft, folder / JOURNAL)
        return cls(folder, begun, None, ())

    def cut(self, ends: Ends) -> None:
        """Note where the log is cut."""
        self._append(ends)
        self.ends = ends

    def note(self, done: Done) -> None:
        """Note that a part is whole."""
        self._append(done)
        self.done[done.part] = done

    def close(self, manifest: Manifest) -> None:
        """The export is whole: write its manifest, then drop the journal."""
        draft = self._folder / (NAME + UNFINISHED)
        with draft.open("wb") as file:
            file.write(msgspec.json.format(_encode(manifest), indent=1) + b"\n")
            keep(file)
        take_place(draft, self._folder / NAME)
        (self._folder / JOURNAL).unlink()

    def _append(self, entry: Ends | Done) -> None:
        with (self._folder / JOURNAL).open("r+b") as file:
            # What a crash left of a last line is written over.
            file.seek(file.read().rfind(b"\n") + 1)
            file.write(_encode(entry) + b"\n")
            file.truncate()
            keep(file)

    @classmethod
    def _read(cls, folder: Path) -> Journal | None:
        told = (folder / JOURNAL).read_bytes().split(b"\n")[:-1]
        try:
            begun = msgspec.json.decode(told[0], type=Begun)
            entries = [_entry(line) for line in told[1:]]
        except (IndexError, msgspec.DecodeError) as error:
            raise DamagedError(
                f"{folder / JOURNAL} cannot be read ({error}): remove {folder}, then export again"
            ) from error
        ends = next((one for one in entries if isinstance(one, Ends)), None)
        return cls(folder, begun, ends, [one for one in entries if isinstance(one, Done)])


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a whole export.

    UnfinishedError for one that was cut off; NoExportError if there is none; DamagedError for one of a newer engage.
    """
    path = folder / NAME
    if not path.exists():
        if (folder / JOURNAL).exists():
            raise UnfinishedError(f"the export in {folder} was cut off: `engage export {folder}` goes on with it")
        raise NoExportError(f"{folder} holds no export: there is no {NAME} in it")
    try:
        told = path.read_bytes()
        stands = msgspec.json.decode(told, type=_Format).format
        if stands > FORMAT:
            raise DamagedError(f"{path} has format {stands}, this engage knows {FORMAT}: use a newer engage")
        return msgspec.json.decode(told, type=Manifest)
    except msgspec.DecodeError as error:
        raise DamagedError(f"{path} cannot be read ({error}): take another copy of the export") from error


class _Format(Struct):
    format: int


def prove(folder: Path, manifest: Manifest) -> Iterator[tuple[str, int, str]]:
    """Of each file its path, its bytes, and what is wrong with it: empty where it is what was written, all of it.

    Last come the partitions of the log whose segments do not make a whole.
    """
    for file in manifest.files:
        yield file.path, file.bytes, _fault(folder / file.path, file)
    for partition, fault in _amiss(manifest).items():
        yield f"log/{partition:04}", 0, fault


def _fault(path: Path, file: ExportFile) -> str:
    if not path.exists():
        return "it is missing"
    if (size := path.stat().st_size) != file.bytes:
        return f"it has {size:,} bytes, and had {file.bytes:,}"
    with path.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
            return "its bytes are not those that were written"
    if path.name.endswith(PACKED) and (rows := sum(1 for _ in lines(path))) != file.rows:
        return f"it has {rows:,} rows, and the manifest says {file.rows:,}"
    return ""


def _amiss(manifest: Manifest) -> dict[int, str]:
    found: dict[int, str] = {}
    for cut in manifest.cuts:
        segments = manifest.segments(cut.partition)
        rows = sum(segment.rows for segment in segments)
        ends = [0, *(segment.next for segment in segments)]
        if rows != cut.records:
            found[cut.partition] = f"it has {cut.records:,} records, and {rows:,} in its segments"
        elif [segment.first for segment in segments] != ends[:-1] or ends[-1] != cut.end:
            found[cut.partition] = f"its segments do not follow one another up to {cut.end}"
    return found


def _refuse_another(folder: Path, found: Begun, wanted: Begun) -> None:
    if found.generation != wanted.generation:
        raise NotEmptyError(f"{folder} holds the beginning of an export of another log: name another folder")
    if (found.parquet, found.master_key) != (wanted.parquet, wanted.master_key):
        raise NotEmptyError(
            f"{folder} holds the beginning of an export with other contents: give the flags that it was begun with, or "
            "name another folder"
        )
    if found.engage != wanted.engage:
        raise NotEmptyError(
            f"{folder} holds the beginning of an export by engage {found.engage}, and this is {wanted.engage}: name "
            "another folder"
        )
