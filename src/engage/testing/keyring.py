"""Accounts' keys in memory, for tests that need something to seal with and nothing to keep."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from engage.events.sealing import AccountKey, new_secret


class MemoryKeyring:
    """A keyring (``engage.services.edge.EdgeKeyring``) that is gone with its process."""

    def __init__(self) -> None:
        self._keys: dict[str, AccountKey] = {}

    def current(self, accounts: Iterable[str]) -> dict[str, AccountKey]:
        """The key of each account, made where there is none yet."""
        return {account: self._keys.setdefault(account, AccountKey(1, new_secret())) for account in accounts}

    def at_hand(self, accounts: Collection[str]) -> dict[str, AccountKey]:
        """The keys of those accounts that have one."""
        return {account: self._keys[account] for account in accounts if account in self._keys}

    def all_of(self, account: str) -> dict[int, AccountKey]:
        """Every key of the account, by generation."""
        key = self._keys.get(account)
        return {key.generation: key} if key else {}
