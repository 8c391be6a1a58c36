"""What all commands have alike: an example in the help of each, and an environment variable for each option.

The variable is ``ENGAGE_`` + the command + two underscores + the option: ``ENGAGE_LOG_TAIL__ACCOUNT``. No setting of
engage has two, so neither is ever taken for the other. What is said on the command line goes first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from inspect import cleandoc
from typing import Any

from engage.cli.examples import EXAMPLES

APART = "__"
"""Between the command and its option."""
LISTED = ","
"""Parts the values of an option that may be given again; paths are parted as in ``PATH``."""


class Variables(list[str]):
    """The variables that an option is taken from, the first that is set; a message names them as people do."""

    def __str__(self) -> str:
        return " or ".join(self)


def commands(root: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command below ``root`` that does something, with the words that it is called by."""
    for name, inner in root.commands.items():
        if hasattr(inner, "commands"):
            yield from commands(inner, (*path, name))
        else:
            yield (*path, name), inner


def options(command: Any) -> list[Any]:
    """The options of a command, its help aside."""
    return [one for one in command.params if one.param_type_name == "option"]


def flag(option: Any) -> str:
    """What people call it: ``--account``."""
    return str(max(option.opts, key=len))


def variable(path: Sequence[str], option: Any) -> str:
    """The environment variable of a command's option."""
    name = f"{'_'.join(path)}{APART}{flag(option).removeprefix('--')}"
    return f"ENGAGE_{name.replace('-', '_').upper()}"


def dress(root: Any) -> None:
    """Give every command its example and help that flows, its options their variables, and flags no type."""
    _hide_types_of_flags(root)
    for path, command in commands(root):
        example = EXAMPLES.get(" ".join(path))
        command.help = _flowing(command.help or "")
        command.epilog = None if example is None else f"Example: engage {example}"
        for option in options(command):
            known = [option.envvar] if isinstance(option.envvar, str) else list(option.envvar or ())
            option.envvar = Variables([variable(path, option), *known])
            option.show_envvar = bool(known)
            option.envvar_list_splitter = LISTED  # of paths typer itself parts them, as PATH does


def unknown(names: Collection[str], root: Any) -> str | None:
    """What is wrong with variables of these ``names``, as far as they are to be an option's; None if nothing is."""
    known = {variable(path, option) for path, command in commands(root) for option in options(command)}
    for name in sorted(names):
        if name not in known:
            close = get_close_matches(name, known, n=1)
            meant = f"did you mean {close[0]}?" if close else "docs/command-line.md lists them"
            return f"{name} is the variable of no command's option: {meant}; otherwise unset it"
    return None


def _flowing(text: str) -> str:
    """Paragraphs without the line breaks of the source, for terminals of any width."""
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in cleandoc(text).split("\n\n"))


def _hide_types_of_flags(command: Any) -> None:
    for parameter in (*command.params, command.get_help_option(command.context_class(command))):
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    for inner in getattr(command, "commands", {}).values():
        _hide_types_of_flags(inner)
