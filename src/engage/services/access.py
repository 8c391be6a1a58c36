"""The keeper of the door: who brings a credential, and whether one is needed at all."""

from __future__ import annotations

from engage.services.callers import ANYBODY, Caller


class UnknownCallerError(Exception):
    """Nobody is known by what was brought; the message says so without repeating it."""


class Access:
    """Tells callers by what they bring."""

    async def caller(self, authorization: str | None) -> Caller:
        """Who brings this ``Authorization`` header; UnknownCallerError if nobody is known by it."""
        return ANYBODY
