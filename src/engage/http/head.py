"""The headers of a request as the server hands them over: looked through, because few are ever asked for."""

from __future__ import annotations

from starlette.types import Scope


def header_of(scope: Scope, name: bytes) -> bytes | None:
    """The first header of this name (in small letters), None if there is none."""
    for known, value in scope["headers"]:
        if known == name:
            found: bytes = value
            return found
    return None
