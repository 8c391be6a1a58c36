"""Compiles the engine's modules (``engage.compiled``) with Cython and a C compiler, where they are not yet.

``make setup`` runs it, and the build of a wheel. The sources stay what they are: the ``.pxd`` beside each says which C
types its names have. Without a compiler nothing is lost but speed, so that is said and is no failure.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

SRC = Path(__file__).resolve().parent.parent / "src"
_DIRECTIVES = {
    "language_level": 3,
    # Annotations are for people and mypy: what is a C type stands in the .pxd alone.
    "annotation_typing": False,
    # Functions are called in the shortest way; nobody asks these for their signature.
    "binding": False,
}
_FLAGS = [] if sys.platform == "win32" else ["-O2", "-g0", "-w"]


def main() -> None:
    """Compile what is not compiled yet; say on standard error if it cannot be."""
    compiled = _compiled()
    places, changed = map(compiled.place, compiled.NAMES), Path(__file__).stat().st_mtime
    if all(place.exists() and place.stat().st_mtime >= changed for place in places):
        return  # of these sources, and in the way that stands here
    try:
        compile_core(compiled.FOLDER)
    except Exception as error:
        print(f"setup: the engine runs as plain Python, up to a quarter slower: {reason(error)}", file=sys.stderr)


def compile_core(folder: Path) -> list[Path]:
    """Compile for the running Python into ``folder``, in place of what is there; raises what Cython and compiler do.

    What other Pythons run stays, and so does what a process is running.
    """
    compiled = _compiled()
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        # In a copy: nothing is left beside the sources, and tracebacks name files as they are called from there.
        packages = {file.with_name("__init__.py") for file in compiled.sources()} | {SRC / "engage/__init__.py"}
        for source in [*compiled.sources(), *packages]:
            copy = source.relative_to(SRC)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
        _build(compiled.NAMES)
        return _put(sorted(Path("lib/engage/rules").iterdir()), folder / compiled.digest())


def reason(error: Exception) -> str:
    """Why it could not be compiled, in a line."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]


def _build(names: tuple[str, ...]) -> None:
    """Make the modules below ``lib``, several at a time."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    extensions = [Extension(name, [f"{name.replace('.', '/')}.py"], extra_compile_args=_FLAGS) for name in names]
    made = cythonize(extensions, compiler_directives=_DIRECTIVES, quiet=True)
    build: Any = Distribution({"ext_modules": made}).get_command_obj("build_ext")
    build.build_lib, build.build_temp, build.parallel = "lib", "temp", os.cpu_count()
    build.ensure_finalized()
    build.run()


def _put(files: list[Path], target: Path) -> list[Path]:
    """Put the files into a folder, each whole from when it is seen; what is of older sources, beside it, goes."""
    target.mkdir(parents=True, exist_ok=True)
    placed = []
    for file in files:
        draft = target / f"{file.name}.{os.getpid()}"
        shutil.copy(file, draft)
        placed.append(draft.replace(target / file.name))
    for old in target.parent.glob(f"*/*{EXTENSION_SUFFIXES[0]}"):
        if old.parent != target:
            old.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # another Python's are there still
                old.parent.rmdir()
    return placed


def _compiled() -> Any:
    """``engage.compiled`` by its file: where a wheel is built engage is not installed."""
    spec = spec_from_file_location("compiled", SRC / "engage/compiled.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
