"""Files that survive a failure of the power: what was written is on the disk, and so is its name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def keep(file: Any) -> None:
    """Make what was written to an open file durable, and close it."""
    file.flush()
    os.fsync(file.fileno())
    file.close()


def take_place(draft: Path, final: Path) -> None:
    """Give a durable draft its name, durably."""
    draft.replace(final)
    keep_names(final.parent)


def keep_names(folder: Path) -> None:
    """Make durable which files are in a folder, and how they are called."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
