"""Why a command is refused: what happened, to which thing, and what to do."""

from __future__ import annotations


class CommandError(ValueError):
    """A command that the aggregate does not accept; nothing was recorded."""


class InvalidError(CommandError):
    """A field of the command is empty, too long, or of the wrong form: mend it and ask again.

    ``field`` is its name, empty where the message alone says it.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class NotFoundError(CommandError):
    """There is nothing with this id: list what is open, and take an id from there."""


class ClosedError(CommandError):
    """It is done, dismissed or expired: nothing more can happen to it."""


class SnoozeError(CommandError):
    """It cannot rest until that moment: choose one that lies ahead and before its expiry."""


class ConflictError(CommandError):
    """Somebody else changed it meanwhile: read it again, then decide."""


class KeyReusedError(CommandError):
    """Another request came with this key before: a key belongs to one request; take a new one."""
