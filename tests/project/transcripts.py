"""The transcripts of docs/operating.md, run on a small demo; ``python -m tests.project.transcripts`` renews them.

Each section begins with the house as the demo leaves it: what the commands of others did, they did by today's clock.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from contextlib import chdir
from pathlib import Path

from typer.testing import CliRunner

from engage.cli.main import app

PAGE = Path(__file__).parents[2] / "docs/operating.md"
DEMO = ("demo", "--once", "--json", "--today", "2026-03-01", "--scale", "0.003")
_SECTION = re.compile(r"^(?=## )", re.MULTILINE)
_BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"(?<![\w-])[0-9a-f]{12}\b")
"""A master key's name, which is another one on each demo."""
_RUNNER = CliRunner()


def run_anew(page: str, home: Path) -> str:
    """The page with every transcript as it is now, on the demo in ``home``, which is loaded if it is not there."""
    loaded = _RUNNER.invoke(app, [*DEMO], env={"ENGAGE_HOME": str(home)})
    assert loaded.exit_code == 0, loaded.output
    return "".join(_section(section, home) for section in _SECTION.split(page))


def _section(text: str, home: Path) -> str:
    """It as its commands tell it on a copy of the house, called from a folder of their own."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as elsewhere, chdir(elsewhere):
        house = shutil.copytree(home, Path(folder, "house")) if _BLOCK.search(text) else home
        environment = {"ENGAGE_HOME": str(house), "ENGAGE_ACTOR": "ada"}

        def told(block: re.Match[str]) -> str:
            commands = [line for line in block[0].splitlines() if line.startswith("$ ")]
            return "\n".join(f"{command}\n{_said(command, environment)}" for command in commands)

        return _BLOCK.sub(told, text)


def _said(command: str, environment: dict[str, str]) -> str:
    words = shlex.split(command.removeprefix("$ "))
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        environment = environment | {name: value}
    assert words[0] == "engage", command
    done = _RUNNER.invoke(app, words[1:], env=environment)
    assert done.exit_code == 0, f"{command}: {done.output}"
    return _NAME.sub("0" * 12, done.stdout)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ.pop("ENGAGE_HOME", None)
        PAGE.write_text(run_anew(PAGE.read_text(), Path(folder)))
