"""Errors as a user sees them: one line that says what to do and an exit code; a traceback only for what is a bug."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from engage.cli.log_lines import warnings_to_stderr
from engage.cli.output import FAILED, INTERRUPTED, NOT_FOUND, USAGE, CommandFailedError, say
from engage.cli.tree import APART, dress, unknown

_DATABASES = ("sqlite3", "sqlalchemy", "psycopg", "eventsourcing")
_WRONG_USE = (
    "SettingsError",
    "ConfigurationError",
    "MappingError",
    "ApiKeyError",
    "AheadError",
    "SumsError",
    "NoExportError",
    "WrongChoiceError",
)
_HTTP_NOT_FOUND = 404
_SQLITE = b"SQLite format 3\0"


class Commands(TyperGroup):
    """The group of all commands, which tells what they raise, and gives each what all have alike."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        dress(self)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with errors_told():
            if wrong := unknown(_flags_given(), self):
                raise CommandFailedError(wrong, USAGE)
            warnings_to_stderr()
            return super().invoke(ctx)


def _flags_given() -> list[str]:
    """The variables that are set and named as a command's option is; click looks for them in the environment."""
    return [name for name in os.environ if name.startswith("ENGAGE_") and APART in name]


@contextmanager
def errors_told() -> Iterator[None]:
    """Tell what we foresaw and exit with its code; what nobody foresaw is a bug, and keeps its traceback."""
    try:
        yield
    except CommandFailedError as error:
        _end(str(error), error.code)
    except KeyboardInterrupt:
        _end("interrupted; what was done stands, and the same command can be given again", INTERRUPTED)
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        if _is_ours(error):
            _end(str(error), FAILED)
        if home := _home_that_is_a_file(error):
            _end(f"ENGAGE_HOME is {home}, which is a file: name a folder", USAGE)
        where = f"{error.filename}: " if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _end(f"{where}{error.strerror}: make room there, then give the same command again", FAILED)
        _end(f"{where}{error.strerror or error}: check the name and what you may do there, then try again", FAILED)
    except Exception as error:
        if _is_ours(error):
            _end(str(error), _code(error))
        if type(error).__module__.partition(".")[0] in _DATABASES:
            first = str(getattr(error, "orig", None) or error).partition("\n")[0]
            _end(_of_database(first), FAILED)
        raise


def _home_that_is_a_file(error: OSError) -> str | None:
    if not isinstance(error, NotADirectoryError | FileExistsError):
        return None
    home = _home()
    return str(home) if home.exists() and not home.is_dir() else None


def _of_database(first: str) -> str:
    """What is said of a database that cannot be used: the file that is wrong by name, where it is one of the home's."""
    for path in sorted(_home().glob("*.db")):
        try:
            with path.open("rb") as file:
                begins = file.read(len(_SQLITE))
        except OSError as error:
            return f"{path} cannot be read: {error.strerror}: see to its rights, or restore it"
        if begins and begins != _SQLITE:
            remedy = (
                "move it away, it is folded from the log again"
                if path.name in ("views.db", "relationships.db")
                else "restore it from the backup"
            )
            return f"{path} is damaged, it is no SQLite database: {remedy}"
    if "disk is full" in first:
        return f"{first}: make room where {_home()} is, then give the same command again"
    return f"a database of engage's cannot be used ({first}): see to {_home()} and ENGAGE_VIEWS"


def _home() -> Path:
    from engage import bootstrap

    return bootstrap.settings().home_path


def _is_ours(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] == "engage"


def _code(error: Exception) -> int:
    if type(error).__name__ in _WRONG_USE:
        return USAGE
    if type(error).__name__ == "NoApiKeyError":
        return NOT_FOUND
    return NOT_FOUND if getattr(error, "status", None) == _HTTP_NOT_FOUND else FAILED


def _end(message: str, code: int) -> NoReturn:
    say(f"engage: {message}")
    raise typer.Exit(code)
