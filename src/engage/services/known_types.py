"""Whether there are events of a type: engage knows it, or the log has some of it, for other types are welcome too."""

from __future__ import annotations

from collections.abc import Iterable

from engage.events.catalogue import CATALOGUE
from engage.log.contract import Log
from engage.near_names import nearly
from engage.services.log_search import Wanted, newest


class NoSuchTypeError(LookupError):
    """Engage knows no such event type, and the log has none of it."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there are no events of type {name!r}{nearly(name, CATALOGUE)}: `engage log count` shows those there are"
        )
        self.status = 404


async def types_must_be_known(log: Log, names: Iterable[str]) -> None:
    """NoSuchTypeError for one that engage does not know and the log does not have; only such are looked for there."""
    for name in names:
        if name not in CATALOGUE and not await newest(log, Wanted(types=(name,)), 1):
            raise NoSuchTypeError(name)
