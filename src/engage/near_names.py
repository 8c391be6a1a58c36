"""What somebody may have meant by a name that there is not."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches


def nearly(name: str, known: Iterable[str]) -> str:
    """`` (did you mean 'loyalty'?)``, or nothing where none is near."""
    folded = {one.casefold(): one for one in known}
    close = get_close_matches(name.casefold(), folded, n=1)
    return f" (did you mean {folded[close[0]]!r}?)" if close else ""


def meant(name: str, known: Collection[str]) -> str:
    """``did you mean loyalty?``, or all that are ``known`` where none is near."""
    folded = {one.casefold(): one for one in known}
    close = get_close_matches(name.casefold(), folded, n=1)
    return f"did you mean {folded[close[0]]}?" if close else ", ".join(known)
