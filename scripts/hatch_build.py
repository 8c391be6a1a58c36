"""Puts the compiled engine into a wheel, where it can be compiled; an editable installation is compiled by make."""

from __future__ import annotations

import runpy
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledCore(BuildHookInterface[Any]):
    """Hatchling's hook: it is asked before files are gathered, and told when that is done."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the compiled modules; where they cannot be compiled, say so and leave the wheel a pure one."""
        if version == "editable":
            return
        script = runpy.run_path(str(Path(self.root, "scripts/compile_core.py")))
        self._made = tempfile.TemporaryDirectory()
        try:
            files = script["compile_core"](Path(self._made.name, "_compiled"))
        except Exception as error:
            self.app.display_warning(f"the engine goes into the wheel as plain Python: {script['reason'](error)}")
            return
        build_data["pure_python"], build_data["infer_tag"] = False, True
        placed = {str(file): f"engage/_compiled/{file.parent.name}/{file.name}" for file in files}
        build_data["force_include"].update(placed)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """What was made is in the wheel by now."""
        if version != "editable":
            self._made.cleanup()
