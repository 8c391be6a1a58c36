"""A house that is not whole yet: what is restored there is noted, and until it is done nobody else works there."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from engage.durable import keep, take_place
from engage.services.moving.files import UNFINISHED
from engage.services.moving.manifest import NotEmptyError

NAME = "restoring.json"


class UnfinishedRestoreError(RuntimeError):
    """The house is being restored, or was when that was cut off: only the restore may work in it."""


class Beginning(Struct, frozen=True):
    """Which ``export`` is restored, from which ``folder``, since when."""

    export: str
    folder: str
    began: datetime

    def goes_on(self, home: Path) -> bool:
        """Whether a restore of the same export began there; NotEmptyError if one of another did."""
        found = _found(home)
        if found is not None and found.export != self.export:
            raise NotEmptyError(
                f"{home} holds the beginning of a restore of another export, that in {found.folder}: go on with that "
                "one, or name an empty folder as ENGAGE_HOME"
            )
        return found is not None

    def note(self, home: Path) -> None:
        """Let everybody know, durably."""
        draft = home / (NAME + UNFINISHED)
        with draft.open("wb") as file:
            file.write(msgspec.json.encode(self))
            keep(file)
        take_place(draft, home / NAME)


def ended(home: Path) -> None:
    """The house is whole."""
    (home / NAME).unlink()


def is_unfinished(home: Path) -> bool:
    """Whether a house is not whole yet."""
    return _found(home) is not None


def must_not_be_restoring(home: Path) -> None:
    """UnfinishedRestoreError where a house is not whole yet."""
    if (found := _found(home)) is not None:
        raise UnfinishedRestoreError(
            f"{home} is half restored from {found.folder}: `engage restore {found.folder}` goes on with it"
        )


def _found(home: Path) -> Beginning | None:
    path = home / NAME
    return msgspec.json.decode(path.read_bytes(), type=Beginning) if path.exists() else None
