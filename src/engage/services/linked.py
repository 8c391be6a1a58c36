"""Who is linked to whom, as far as this process knows: the embedded log does, on Kafka a read model says it."""

from __future__ import annotations

import asyncio

from engage.events.linking import Links
from engage.services.platform import Platform
from engage.store.views import ViewStore
from projections.shared.identities import identities


async def links_of(platform: Platform, *accounts: str) -> Links:
    """Links that tell to whom these are linked, and those in turn."""
    if platform.embedded is not None:
        return platform.embedded.links
    return await asyncio.to_thread(_chains, platform.store, accounts)


async def linked_to(platform: Platform, account: str) -> list[str]:
    """Those whose events belong to ``account``, by name."""
    if platform.embedded is not None:
        return list(platform.embedded.links.of(account))
    return await asyncio.to_thread(_linked_to, platform.store, account)


def _chains(store: ViewStore, accounts: tuple[str, ...]) -> Links:
    known: dict[str, str] = {}
    for account in accounts:
        while account not in known and (row := store.get(identities, account)) is not None:
            end = row.account
            while end != account and end in known:
                end = known[end]
            if end == account:  # a ring, which intake is about to open
                break
            known[account] = row.account
            account = row.account
    return Links(known.items())


def goes_round(store: ViewStore, visitor: str) -> bool:
    """Whether those to whom ``visitor`` is linked are linked to it: a ring, which intake opens again."""
    passed: set[str] = set()
    account = visitor
    while account not in passed and (row := store.get(identities, account)) is not None:
        passed.add(account)
        account = row.account
    return account == visitor and bool(passed)


def _linked_to(store: ViewStore, account: str) -> list[str]:
    found: set[str] = set()
    asked = [account]
    while asked:
        rows = store.select(identities, {"account": asked.pop()})
        new = {row.visitor for row in rows} - found - {account}
        found |= new
        asked += new
    return sorted(found)
