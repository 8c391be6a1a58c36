"""Whether the log has ever heard of an account: who asks for one that it has not is told so, and not shown nothing."""

from __future__ import annotations

from datetime import datetime

from engage.log.contract import Log
from engage.services.log_search import Wanted, newest
from engage.services.prefix import INSTANT


class NoSuchAccountError(LookupError):
    """The log has nothing of the account, or had nothing of it ``then``."""

    def __init__(self, account: str, *, then: bool = False) -> None:
        when = " at that time" if then else ""
        super().__init__(f"there is no account {account!r}{when}: check the id; an account begins with its first event")
        self.status = 404


async def must_be_known(log: Log, account: str, moment: datetime | None = None) -> None:
    """NoSuchAccountError unless something of the account is on the log, or was recorded by ``moment``."""
    until = None if moment is None else moment + INSTANT
    if not await newest(log, Wanted(account=account, until=until), 1):
        raise NoSuchAccountError(account, then=moment is not None)
