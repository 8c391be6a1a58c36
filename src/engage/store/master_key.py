"""The master key that wraps the accounts' keys: a file that only its owner reads, made once.

While a rotation goes on the file holds two of them, the newest first; who holds an older look at it looks again.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Struct

from engage.durable import keep, keep_names, take_place
from engage.events.sealing import new_secret

_PREFIX = "engage-master-key"
_KEPT = "engage-derived-key"
_SECRET_BYTES = 32
_NAME_CHARACTERS = 12


class MasterKey(Struct, frozen=True):
    """32 secret bytes and their generation, counted from 1."""

    generation: int
    secret: bytes

    def __repr__(self) -> str:
        """Without the secret: a key must not reach a log by a careless print."""
        return f"MasterKey(generation={self.generation})"

    @property
    def name(self) -> str:
        """12 characters that tell one key from another, and nothing of what it is: to find the right backup by."""
        return hashlib.sha256(self.derived("name")).hexdigest()[:_NAME_CHARACTERS]

    def derived(self, purpose: str) -> bytes:
        """32 bytes for one ``purpose`` alone (HKDF, RFC 5869): what leaks of them says nothing of this key."""
        info = f"{_PREFIX}:{purpose}".encode()
        return HKDF(hashes.SHA256(), _SECRET_BYTES, salt=None, info=info).derive(self.secret)


class Kept(Struct, frozen=True):
    """What was derived for ``purpose`` from a master key that is no more."""

    purpose: str
    generation: int
    secret: bytes

    def __repr__(self) -> str:
        return f"Kept(purpose={self.purpose!r}, generation={self.generation})"


class MasterKeyError(RuntimeError):
    """The master key cannot be used; the message says why and what to do."""


class MasterKeyFile:
    """The file at ``path``, as it was when it was last looked at.

    A line a key, ``engage-master-key:<generation>:<base64 of 32 bytes>``, and one for each key derived from a former
    one that is still needed, ``engage-derived-key:<purpose>:<generation>:<base64>``. MasterKeyError if others than its
    owner may read it, or if it holds no key.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int] | None = None
        self._keys: tuple[MasterKey, ...] = ()
        self._kept: tuple[Kept, ...] = ()
        self._look()

    @property
    def keys(self) -> tuple[MasterKey, ...]:
        """Those it holds now, the newest first: two while a rotation goes on."""
        self._look()
        return self._keys

    @property
    def newest(self) -> MasterKey:
        """The one of the highest generation."""
        return self.keys[0]

    def of(self, generation: int) -> MasterKey | None:
        """The key of this generation; the file is looked at again only if it was not known yet."""
        known = {key.generation: key for key in self._keys}
        return known.get(generation) or next((key for key in self.keys if key.generation == generation), None)

    def derived(self, purpose: str) -> list[bytes]:
        """The keys for ``purpose``: the one to use now first, then those that what is older was made with."""
        return [key.derived(purpose) for key in self.keys] + [
            kept.secret for kept in self._kept if kept.purpose == purpose
        ]

    @contextmanager
    def rotating(self) -> Iterator[None]:
        """Nobody else changes the file meanwhile; MasterKeyError if somebody does."""
        with self.path.with_name(f"{self.path.name}.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise MasterKeyError(
                    f"another process rotates {self.path}: wait for it, then look at `engage sealing-keys list`"
                ) from error
            yield

    def add(self) -> MasterKey:
        """A new key, durable beside the one there is before this returns."""
        key = MasterKey(self.newest.generation + 1, new_secret())
        self._write((key, *self._keys), self._kept)
        return key

    def drop(self, generation: int) -> None:
        """Take the key of this generation out again, as if it had never been."""
        self._write([key for key in self.keys if key.generation != generation], self._kept)

    def let_go(self, *, keep: Sequence[str] = ()) -> None:
        """Hold no key but the newest; what was derived from the others for the purposes in ``keep`` is kept."""
        newest, *others = self.keys
        derived = [Kept(purpose, key.generation, key.derived(purpose)) for purpose in keep for key in others]
        self._write([newest], [*derived, *(kept for kept in self._kept if kept.purpose in keep)])

    def _look(self) -> None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            if self._keys:  # somebody moved it away under a process that knows it: that one can go on
                return
            raise
        seen = found.st_ino, found.st_mtime_ns
        if seen == self._seen:
            return
        mode = stat.S_IMODE(found.st_mode)
        if mode & 0o077:
            raise MasterKeyError(
                f"the master key {self.path} can be read by others (mode {mode:04o}): take that away with `chmod 600 "
                f"{self.path}`; if others had access to this machine, treat what it protects as known to them"
            )
        try:
            self._keys, self._kept = _parsed(self.path.read_text("ascii"))
        except ValueError as error:
            raise MasterKeyError(
                f"{self.path} holds no master key: put the file that belongs to the keys back"
            ) from error
        self._seen = seen

    def _write(self, keys: Sequence[MasterKey], kept: Sequence[Kept]) -> None:
        lines = [f"{_PREFIX}:{key.generation}:{_text(key.secret)}\n" for key in keys]
        lines += [f"{_KEPT}:{one.purpose}:{one.generation}:{_text(one.secret)}\n" for one in kept]
        with _draft(self.path, "".join(lines)) as draft:
            take_place(draft, self.path)
        self._look()


def load_master_key(path: Path) -> MasterKeyFile:
    """The key in the file at ``path``, made if there is none (mode 0600, durable before this returns).

    MasterKeyError if it cannot be used.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # If another process was first, theirs is the key.
        with _draft(path, f"{_PREFIX}:1:{_text(new_secret())}\n") as draft, suppress(FileExistsError):
            os.link(draft, path)
        keep_names(path.parent)
    return MasterKeyFile(path)


def _parsed(text: str) -> tuple[tuple[MasterKey, ...], tuple[Kept, ...]]:
    """The keys, the newest first, and what is kept of former ones; ValueError for what is neither."""
    keys: dict[int, MasterKey] = {}
    kept = []
    for line in text.split():
        prefix, *between, secret = line.split(":")
        generation, plain = int(between[-1]), base64.b64decode(secret, validate=True)
        if len(plain) != _SECRET_BYTES or generation < 1 or generation in keys:
            raise ValueError("wrong form")
        if prefix == _PREFIX and len(between) == 1:
            keys[generation] = MasterKey(generation, plain)
        elif prefix == _KEPT and len(between) == 2:
            kept.append(Kept(between[0], generation, plain))
        else:
            raise ValueError("wrong form")
    if not keys:
        raise ValueError("no key")
    return tuple(keys[generation] for generation in sorted(keys, reverse=True)), tuple(kept)


def _text(secret: bytes) -> str:
    return base64.b64encode(secret).decode()


@contextmanager
def _draft(path: Path, text: str) -> Iterator[Path]:
    """A file with ``text``, durable, that only its owner reads; gone after the block unless it was moved."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            keep(file)
        yield draft
    finally:
        draft.unlink(missing_ok=True)
