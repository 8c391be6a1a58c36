"""Events on disk until engage has them: append-only lines of JSON, durable before ``append`` returns, sent in order.

A spool is a folder: files of lines, each named by the position of its first byte, and ``sent``, the position up to
which engage has everything. A process that is killed leaves at most half a line behind, which was not acknowledged and
is cut off; what was sent and not noted is sent again, and is a duplicate there.
"""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

from engage.durable import keep_names

_SEGMENT_BYTES = 8_000_000
_DIGITS = 20
MOST_BYTES = 256_000_000


class SpoolError(RuntimeError):
    """The folder cannot be used as a spool: it says why, and what to do."""


class SpoolFullError(SpoolError):
    """Too much waits to be sent: nothing of what was appended was kept."""


class Spool:
    """The spool in ``folder``, which is made; one process owns it (SpoolError). ``most_bytes`` may wait at most."""

    def __init__(self, folder: str | Path, *, most_bytes: int = MOST_BYTES) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._most = most_bytes
        self._changing = threading.Lock()
        self._lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise SpoolError(
                f"{self.folder} is another process's spool: give each process a folder of its own"
            ) from None
        self._note = os.open(self.folder / "sent", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._open_end()
            self.sent = self._read_note()
        except BaseException:
            self._lock.close()
            raise

    @property
    def waiting(self) -> int:
        """How many bytes wait to be sent."""
        return self._end - self.sent

    def append(self, lines: bytes) -> None:
        """Keep ``lines``, each ended by a newline; when it returns they survive whatever happens to this process.

        SpoolFullError, or the OSError of a disk that is full: nothing of them is kept.
        """
        with self._changing:
            if self.waiting + len(lines) > self._most:
                raise SpoolFullError(
                    f"{self.waiting:,} bytes wait in {self.folder} for engage, and {self._most:,} may: see why it is "
                    "away, or allow more; this event was not kept"
                )
            if self._end - self._start >= _SEGMENT_BYTES:
                os.close(self._file)
                self._begin(self._end)
            try:
                _write(self._file, lines, self._end - self._start)
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, self._end - self._start)
                raise
            self._end += len(lines)

    def next(self, most_bytes: int, most_lines: int) -> list[bytes]:
        """The first lines that wait, without newlines; one at least if there is any. ``done`` goes behind them."""
        with self._changing:
            start, path = self._segment_of(self.sent)
            with path.open("rb") as file:
                file.seek(self.sent - start)
                found = file.read(most_bytes)
                if found and not found.endswith(b"\n"):
                    found = found[: found.rfind(b"\n") + 1] or found + file.readline()
        return found.split(b"\n")[:-1][:most_lines]

    def done(self, lines: list[bytes]) -> None:
        """Engage has these, the next ones."""
        with self._changing:
            self.sent += sum(len(line) + 1 for line in lines)
            _write(self._note, b"%0*d" % (_DIGITS, self.sent), 0)
            os.fsync(self._note)
            for start, path in self._segments():
                if start < self._start and self._next_start(start) <= self.sent:
                    path.unlink()

    def close(self) -> None:
        """Let go of the folder; what waits is sent by whoever opens it next."""
        with self._changing:
            os.close(self._file)
            os.close(self._note)
            self._lock.close()

    def _open_end(self) -> None:
        segments = self._segments()
        if not segments:
            self._begin(0)
            return
        self._start, path = segments[-1]
        self._file = os.open(path, os.O_RDWR)
        whole = path.read_bytes()
        kept = whole.rfind(b"\n") + 1  # half a line was not acknowledged
        os.ftruncate(self._file, kept)
        self._end = self._start + kept

    def _begin(self, start: int) -> None:
        self._start = self._end = start
        self._file = os.open(self._path(start), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        keep_names(self.folder)  # else the file's name may be lost with the power, and its lines with it

    def _read_note(self) -> int:
        noted = os.pread(self._note, _DIGITS, 0)
        first = self._segments()[0][0]
        sent = int(noted) if noted.isdigit() and len(noted) == _DIGITS else first
        if not first <= sent <= self._end:
            raise SpoolError(
                f"{self.folder / 'sent'} says {sent}, and the spool goes from {first} to {self._end}: the files do not "
                "belong together; remove `sent` to send all of it again, what engage has is not taken twice"
            )
        return sent

    def _segments(self) -> list[tuple[int, Path]]:
        return sorted((int(path.stem), path) for path in self.folder.glob("*.ndjson") if path.stem.isdecimal())

    def _segment_of(self, position: int) -> tuple[int, Path]:
        return max(one for one in self._segments() if one[0] <= position)

    def _next_start(self, start: int) -> int:
        return min(one for one, _ in self._segments() if one > start)

    def _path(self, start: int) -> Path:
        return self.folder / f"{start:0{_DIGITS}d}.ndjson"


def _write(file: int, content: bytes, at: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(file, view, at)
        view, at = view[written:], at + written
