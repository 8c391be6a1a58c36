"""Names in a path, which stays percent-encoded while it is routed: so an id with a slash in it is one id."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from engage.http.problems import ProblemError


def decoded(raw: str, what: str) -> str:
    """The name in a path; 404 for what can be no name of a ``what``."""
    try:
        name = unquote_to_bytes(raw.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise ProblemError(404, f"no {what} has such a name: it is not UTF-8") from None
    if "\x00" in name:
        raise ProblemError(404, f"no {what} has such a name: it holds U+0000")
    return name
