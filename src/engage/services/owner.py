"""One process owns the folder: the lock, and where the others find the owner."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Struct, structs

_ROOM = 256


class Holder(Struct, frozen=True):
    """Who owns the folder: its process id, and the URL of its HTTP service if it has one."""

    pid: int
    url: str | None = None


class FolderOwnedError(RuntimeError):
    """Another process owns the folder; ``owner`` says which, as far as it said so."""

    def __init__(self, home: Path, owner: Holder | None) -> None:
        self.owner = owner
        who = f"process {owner.pid}" if owner and owner.pid else "another process"
        serves = f", which serves at {owner.url}: stop {who} first" if owner and owner.url else ""
        super().__init__(f"{home} is in use by {who}{serves or ': wait for it to end, or stop it'}")


class Owner:
    """Holds the folder's lock for as long as the process lives; FolderOwnedError if another holds it."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self._path = home / "owner.lock"
        self._file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        if not self._lock():
            self._file.close()
            raise FolderOwnedError(home, find_owner(home))
        self._say(Holder(os.getpid()))

    def serving(self, url: str, secret: str) -> None:
        """Let others know where this process listens, and whoever may read the file what opens its door."""
        os.fchmod(self._file.fileno(), 0o600)
        self._say(Holder(os.getpid(), url), secret=secret)

    def release(self) -> None:
        """Give the folder back."""
        self._file.truncate(0)
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.release()

    def _lock(self) -> bool:
        # Who only asks for the owner holds the lock for an instant: that is no owner.
        for patience in (0.0, 0.01, 0.05, 0.1):
            time.sleep(patience)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            return True
        return False

    def _say(self, held: Holder, **more: str) -> None:
        # In one write over what was there, so that a reader finds the old words or the new.
        os.pwrite(self._file.fileno(), msgspec.json.encode(structs.asdict(held) | more).ljust(_ROOM), 0)


def find_owner(home: Path) -> Holder | None:
    """Who owns the folder now, None if nobody does."""
    path = home / "owner.lock"
    if not path.exists():
        return None

    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            try:
                return msgspec.json.decode(file.read(), type=Holder)
            except msgspec.DecodeError:
                return Holder(pid=0)
    return None


def door_secret(home: Path) -> str | None:
    """What opens the door of the process that serves this folder, for whoever may read it; None if none serves."""
    try:
        secret: str = msgspec.json.decode((home / "owner.lock").read_bytes())["secret"]
    except (OSError, msgspec.DecodeError, KeyError):
        return None
    return secret
