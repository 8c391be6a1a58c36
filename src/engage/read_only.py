"""How a SQLite file is opened by who only reads it, also from a copy that nobody may write to."""

from __future__ import annotations

import os
from pathlib import Path


def read_only_uri(path: Path) -> str:
    """The SQLite URI of the file at ``path`` for reading alone.

    In a folder that cannot be written to, SQLite cannot make the index of the write-ahead log that readers share: with
    no such log beside it the file is taken for one that does not change, as it then cannot.
    """
    absolute = path.absolute()
    log = absolute.with_name(f"{absolute.name}-wal")
    closed = not log.exists() or log.stat().st_size == 0
    still = closed and not os.access(absolute.parent, os.W_OK)
    return f"{absolute.as_uri()}?{'immutable=1' if still else 'mode=ro'}"
