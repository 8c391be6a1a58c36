"""The lines of a file from outside, numbered, so that what is wrong can be said of a line and not of the file."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from msgspec import Struct

from engage.events.validation import MAX_BYTES, Fault

STDIN = "-"
_CHUNK = 65_536
_GZIP_MAGIC = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_STRANGE = bytes({*range(32)} - {*b"\t\n\r\f\x1b"})
_BINARY_SHARE = 0.05


class Line(Struct, frozen=True, gc=False):
    """One line and its number in the file, counted from 1: its text, or the JSON of an event that it reports."""

    number: int
    value: bytes


class LineFault(Struct, frozen=True):
    """Why a line, or one event on it, was not taken; a fault's ``pointer`` is a JSON pointer or a column's name.

    ``of_file``: it is the file that is wrong, not this line alone, and nothing after the line can be read.
    """

    number: int
    faults: tuple[Fault, ...]
    of_file: bool = False

    def __str__(self) -> str:
        said = (f"{fault.pointer}: {fault.message}" if fault.pointer else fault.message for fault in self.faults)
        return f"line {self.number}: {'; '.join(said)}"


def line_fault(number: int, message: str, field: str = "") -> LineFault:
    """The fault that says ``message`` of ``field`` (a pointer or a column) on line ``number``."""
    return LineFault(number, (Fault(field, message),))


def file_fault(number: int, message: str, field: str = "") -> LineFault:
    """The fault that says ``message`` of the whole file, seen on line ``number``."""
    return LineFault(number, (Fault(field, message),), of_file=True)


def open_input(name: str) -> BufferedReader:
    """The file called ``name``, or standard input for ``-``; OSError if it cannot be read."""
    return open(0, "rb", closefd=False) if name == STDIN else Path(name).open("rb")


def file_label(name: str) -> str:
    """What ids are made of: the file's name without its folder and ``.gz``, ``stdin`` for ``-``."""
    return "stdin" if name == STDIN else Path(name).name.removesuffix(".gz")


def read_lines(file: BufferedReader) -> Iterator[Line | LineFault]:
    """The lines of ``file``, plain or gzip (told by its first bytes), without their line ends, blank ones included.

    No more than one line is held in memory, and of a line no more than an event may have. A line that is too long is a
    fault and the lines after it follow. A gzip file that breaks off ends in a fault of the file; of one that is damaged
    that fault is all, for nobody can tell from where on its lines are wrong, unless it comes in a pipe, where the
    damage is seen when it has been read.
    """
    packed = file.peek(2)[:2] == _GZIP_MAGIC
    if packed and file.seekable() and (damage := _damage(file)):
        yield damage
        return
    source = gzip.GzipFile(fileobj=file) if packed else file
    number, pending = 0, bytearray()
    while True:
        try:
            chunk = source.read1(_CHUNK)
        except EOFError:
            yield file_fault(
                number + 1,
                f"gzip breaks off after line {number:,}: get the file whole and run this again; the lines before it "
                "stand and are not taken twice",
            )
            return
        except (gzip.BadGzipFile, zlib.error) as error:
            yield file_fault(
                number + 1,
                f"gzip damaged at or before line {number + 1:,} ({error}): what was taken from the lines before it "
                "may be wrong; get the file whole and run this again",
            )
            return
        if not chunk:
            break
        if number == 0 and not pending and _is_binary(chunk):
            yield file_fault(1, "the file is no text in UTF-8 (nor gzip of one): give lines of text")
            return
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            number += 1
            yield _line(number, bytes(pending) + piece)
            pending.clear()
        pending += rest[: max(0, MAX_BYTES + 2 - len(pending))]
    if pending:
        yield _line(number + 1, bytes(pending))
    elif number == 0:
        yield file_fault(1, "the file is empty: nothing was taken from it")


def text_of(line: Line) -> str | LineFault:
    """The line as text, or which of its bytes is not UTF-8."""
    try:
        return line.value.decode()
    except UnicodeDecodeError as error:
        return line_fault(
            line.number,
            f"byte {error.start + 1} of the line (0x{line.value[error.start]:02x}) is not UTF-8: re-encode the file",
        )


def _damage(file: BufferedReader) -> LineFault | None:
    """The fault of a gzip file whose content is not what was packed; ``file`` stands where it stood."""
    at, number = file.tell(), 0
    try:
        with gzip.GzipFile(fileobj=file) as packed:
            while chunk := packed.read1(_CHUNK):
                number += chunk.count(b"\n")
    except EOFError:
        return None  # What came before the end it breaks off at is right.
    except (gzip.BadGzipFile, zlib.error) as error:
        return file_fault(
            number + 1,
            f"gzip damaged at or before line {number + 1:,} ({error}): nothing was taken, get the file whole and run "
            "this again",
        )
    finally:
        file.seek(at)
    return None


def _is_binary(chunk: bytes) -> bool:
    strange = len(chunk) - len(chunk.translate(None, _STRANGE))
    return b"\0" in chunk or strange > len(chunk) * _BINARY_SHARE


def _line(number: int, value: bytes) -> Line | LineFault:
    value = value.removesuffix(b"\r")
    if number == 1:
        value = value.removeprefix(_BYTE_ORDER_MARK)
    if len(value) > MAX_BYTES:
        return line_fault(
            number, f"has more than the {MAX_BYTES:,} bytes an event may have: store the rest elsewhere and link it"
        )
    return Line(number, value)
