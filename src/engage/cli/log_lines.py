"""The log of what a process does, on standard error: in colour on a terminal, else one JSON object a line.

It holds no personal data: account ids, positions and routes, never payloads, names, queries or keys.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from engage.cli.output import messages
from engage.services.request_context import REQUEST

if TYPE_CHECKING:
    from engage.settings import Settings

_LEVELS = {"debug": 10, "access": 20, "info": 20, "warning": 30, "error": 40}
"""Access lines are information that is left out unless asked for: they come with their own level and with ``debug``."""
Line = MutableMapping[str, Any]


def log_to_stderr(settings: Settings, *, least: str = "debug") -> None:
    """Send engage's own log, and what libraries say, to standard error, so that standard output holds data alone.

    ``least``: what is below is left out, whatever the settings say; a command that tells what it did asks for it.
    """
    import structlog

    level = max(_LEVELS[settings.log_level], _LEVELS[least])
    common, rendered = _configured(level)
    lines = _Stderr()
    lines.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=common,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    logging.basicConfig(handlers=[lines], level=max(level, logging.WARNING), force=True)


def warnings_to_stderr() -> None:
    """Until a command asks for more: engage's own warnings to standard error, nothing to standard output.

    What a library could not do, the command's own error says.
    """
    _configured(_LEVELS["warning"])
    logging.getLogger().addHandler(logging.NullHandler())


def _configured(level: int) -> tuple[list[Any], list[Any]]:
    """Have structlog tell what is of ``level`` or above; what is added to each line, and how it is written."""
    import structlog

    console = messages()
    common: list[Any] = [_level, _request, structlog.processors.TimeStamper(fmt="iso", utc=True)]
    rendered: list[Any]
    if console.is_terminal:
        colours = not console.no_color
        rendered = [
            structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback),
        ]
    else:
        rendered = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[*common, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # Asked for each time: a test, or a shell that redirects, may have replaced it since.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    return common, rendered


class _Stderr(logging.Handler):
    """What libraries say through the standard library's logging."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)  # noqa: T201


def _level(_: Any, method: str, line: Line) -> Line:
    record = line.get("_record")
    line.setdefault("level", record.levelname.lower() if record else method)
    return line


def _request(_: Any, __: str, line: Line) -> Line:
    """Which request it is about, if it is about one."""
    context = REQUEST.get()
    if context is not None:
        line["request_id"] = context.request_id
        if context.trace_id:
            line["trace_id"] = context.trace_id
    return line
