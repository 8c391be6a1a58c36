"""The master key that wraps the accounts' keys: a file that only its owner reads, made once."""

from __future__ import annotations

import base64
import os
import secrets
import stat
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Struct

from engage.events.sealing import new_secret

_PREFIX = "engage-master-key"
_SECRET_BYTES = 32


class MasterKey(Struct, frozen=True):
    """32 secret bytes and their generation, counted from 1."""

    generation: int
    secret: bytes

    def __repr__(self) -> str:
        """Without the secret: a key must not reach a log by a careless print."""
        return f"MasterKey(generation={self.generation})"

    def derived(self, purpose: str) -> bytes:
        """32 bytes for one ``purpose`` alone (HKDF, RFC 5869): what leaks of them says nothing of this key."""
        info = f"{_PREFIX}:{purpose}".encode()
        return HKDF(hashes.SHA256(), _SECRET_BYTES, salt=None, info=info).derive(self.secret)


class MasterKeyError(RuntimeError):
    """The master key cannot be used; the message says why and what to do."""


def load_master_key(path: Path) -> MasterKey:
    """The key in the file at ``path``, made if there is none (mode 0600, durable before this returns).

    The file is one line, ``engage-master-key:<generation>:<base64 of 32 bytes>``. MasterKeyError if others than its
    owner may read it, or if it holds no key.
    """
    if not path.exists():
        _create(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise MasterKeyError(
            f"the master key {path} can be read by others (mode {mode:04o}): take that away with `chmod 600 {path}`; "
            "if others had access to this machine, treat what it protects as known to them"
        )
    try:
        prefix, generation, secret = path.read_text("ascii").strip().split(":")
        key = MasterKey(int(generation), base64.b64decode(secret, validate=True))
        if prefix != _PREFIX or len(key.secret) != _SECRET_BYTES or key.generation < 1:
            raise ValueError("wrong form")
    except ValueError as error:
        raise MasterKeyError(f"{path} holds no master key: put the file that belongs to the keys back") from error
    return key


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    line = f"{_PREFIX}:1:{base64.b64encode(new_secret()).decode()}\n"
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # fails if another process was first: then theirs is the key
        except FileExistsError:
            return
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
