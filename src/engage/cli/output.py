"""Where output goes and how it looks: data to standard output, words to standard error, exit codes with a meaning."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from engage.settings import Settings

FAILED, USAGE, REFUSED, NOT_FOUND, INTERRUPTED = 1, 2, 3, 4, 130
_PIPE_WIDTH = 180

SHORT_ID = 8
"""So many characters of a follow-up's id are shown where people read it; so many are enough to name it."""

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]

Actor = Annotated[
    str | None,
    typer.Option(
        "--actor",
        metavar="PERSON",
        envvar="ENGAGE_ACTOR",
        help="Who does it; who is logged in on this machine, if left out.",
    ),
]

Rejects = Annotated[
    Path | None,
    typer.Option("--rejects", metavar="FILE", help="Write the refused lines there, to mend and try again."),
]


class CommandFailedError(Exception):
    """What is said to the user, in one line that says what to do, and the exit ``code``."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def who(actor: str | None) -> str:
    """Who gives the command: whoever was named, or is logged in on this machine."""
    from getpass import getuser

    return actor or getuser()


def data() -> Console:
    """Standard output, for tables; wide where it is no terminal."""
    return _console(stderr=False)


def messages() -> Console:
    """Standard error."""
    return _console(stderr=True)


def say(text: str) -> None:
    """A message."""
    typer.echo(text, err=True)


def emit(value: Any) -> None:
    """``value`` as JSON on standard output."""
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def moment(when: datetime | None) -> str:
    """A moment for people: minutes, in UTC."""
    return "" if when is None else f"{when:%Y-%m-%d %H:%M}"


def day(when: datetime) -> str:
    """A moment for people who look at a queue: ``Nov 25 10:00``, with the year where it is not this one, in UTC."""
    return f"{when:%b %d %H:%M}" if when.year == datetime.now(UTC).year else f"{when:%Y-%m-%d}"


def span(length: timedelta) -> str:
    """A length of time in its largest unit: ``3 d``, ``5 h``, ``12 min``."""
    minutes = int(length.total_seconds() // 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} d"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """Lines of columns set apart by two blanks, below a ``header`` if there is one; those in ``right`` flush right.

    Nothing is cut, and no line ends blank.
    """
    from rich.cells import cell_len

    every = [header, *rows] if header else list(rows)
    widths = [max(map(cell_len, column)) for column in zip(*every, strict=True)]
    lines = []
    for row in every:
        cells = []
        for at, (text, width) in enumerate(zip(row, widths, strict=True)):
            blank = " " * (width - cell_len(text))
            cells.append(blank + text if at in right else text + blank)
        lines.append("  ".join(cells).rstrip())
    return lines


def show_below(out: Console, words: str) -> None:
    """A note on the line above, dim, set in below its id."""
    from textwrap import wrap

    indent = " " * (SHORT_ID + 2)
    for line in wrap(words, max(out.width, 40), initial_indent=indent, subsequent_indent=indent):
        out.print(line, style="dim", soft_wrap=True)


def bar(share: float, width: int) -> str:
    """A bar of ``width`` characters, ``share`` (0-1) of it full; in ASCII where the terminal knows no better."""
    full, empty = "█░" if carries("█░") else "#-"
    filled = round(share * width)
    return full * filled + empty * (width - filled)


def carries(text: str) -> bool:
    """Whether standard output can show ``text``."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def program(settings: Settings | None = None) -> str:
    """How to call engage from here, as it was called itself, and with the folder it was told to use."""
    called = sys.argv[0] or "engage"
    name = Path(called).name
    if name == "__main__.py":
        command = f"{shlex.quote(sys.executable)} -m engage"
    elif name == called or shutil.which(name) == str(Path(called).absolute()):
        command = name
    else:
        absolute, here = Path(called).absolute(), Path.cwd()
        command = shlex.quote(str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute))
    if settings is None or settings.home == type(settings)().home:
        return command
    return f"ENGAGE_HOME={shlex.quote(str(settings.home_path.absolute()))} {command}"


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    # What we print comes from outside in part: no markup, no emoji codes in it.
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if terminal else _PIPE_WIDTH
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, width=width)
