"""Where the engine's modules are found once a C compiler has made machine code of them; else they run as they are.

``scripts/compile_core.py`` compiles them from the very files that Python would run, into a folder that is named by a
digest of those files: what was compiled from other sources is never found. ``ENGAGE_PURE=1`` runs the sources too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

NAMES = tuple(f"engage.rules.{name}" for name in ("cell", "cells", "deciding", "decisions", "engine", "policy"))
"""The modules that are compiled, all or none: they call one another past Python."""
_HERE = Path(__file__).parent
FOLDER = _HERE / "_compiled"
PURE = "ENGAGE_PURE"
"""The environment variable that has the sources run, whatever is compiled."""
_NO = ("", "0", "false")


class Finder:
    """Finds compiled modules before Python looks for their sources."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The compiled module of that name, None if there is none: others look for it then."""
        file = found().get(name) if name in NAMES else None
        return None if file is None else spec_from_file_location(name, file)


def install() -> None:
    """Have compiled modules found from here on."""
    if Finder not in sys.meta_path:
        sys.meta_path.insert(0, Finder)


@cache
def found() -> dict[str, Path]:
    """The compiled modules' files by name: of these sources, for this Python; empty where one is missing."""
    if is_pure() or not FOLDER.is_dir():
        return {}
    files = {name: place(name) for name in NAMES}
    return files if all(file.exists() for file in files.values()) else {}


def is_pure() -> bool:
    """Whether the sources are to run."""
    return os.environ.get(PURE, "").lower() not in _NO


def place(name: str) -> Path:
    """Where the module's compiled file is, or would be."""
    return FOLDER / digest() / f"{name.rpartition('.')[2]}{EXTENSION_SUFFIXES[0]}"


@cache
def digest() -> str:
    """Of the sources that are compiled, in 16 hexadecimal digits."""
    from hashlib import blake2b  # not every command needs it

    whole = blake2b(digest_size=8)
    for file in sources():
        whole.update(file.read_bytes())
    return whole.hexdigest()


def sources() -> list[Path]:
    """The files that are compiled, each with the one that says of what types its names are."""
    stems = [_HERE.parent.joinpath(*name.split(".")) for name in NAMES]
    return [stem.with_suffix(suffix) for stem in stems for suffix in (".py", ".pxd")]


def told() -> str:
    """What the engine runs as, in words."""
    if found():
        return "compiled"
    if is_pure():
        return f"plain Python, because {PURE} is set"
    return "plain Python, up to a quarter slower: these sources are not compiled (make setup does, with a C compiler)"
