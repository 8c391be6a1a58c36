"""A folder that the command line works on within this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from engage.cli.main import app
from engage.events import codec
from engage.events.envelope import Event

_RUNNER = CliRunner()


class House:
    """Runs engage on ``folder``, as ada."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, *words: str, code: int = 0) -> str:
        """Standard output of ``engage WORDS``, which must end with ``code``."""
        return self._done(words, code).stdout

    def refused(self, *words: str, code: int) -> str:
        """What ``engage WORDS`` says on standard error, where it must end with ``code``."""
        return self._done(words, code).stderr

    def _done(self, words: Sequence[str], code: int) -> Result:
        environment = {"ENGAGE_HOME": str(self._folder), "ENGAGE_ACTOR": "ada"}
        done = _RUNNER.invoke(app, list(words), env=environment)
        assert done.exit_code == code, f"{words}: {done.output}"
        return done

    def publish(self, *events: Event[Any]) -> str:
        """Standard output of ``engage publish`` of these."""
        file = self._folder / "events.ndjson"
        file.write_text("\n".join(codec.encode(event).decode() for event in events))
        return self("publish", str(file))
