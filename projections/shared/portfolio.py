"""What does each relationship manager look after, how is it doing, and what waits for them?

The rows of ``managed_accounts``, added up by manager. An account's band is the one last announced, ``unknown`` before.
"""

from __future__ import annotations

from msgspec import Struct, field

from engage.views.aggregate import Aggregate
from projections.shared.managed_accounts import ManagedAccount, managed_accounts

NOBODY = "nobody"
"""The row of the accounts that no manager looks after."""
_MANAGED = "manager "


class PortfolioShard(Struct):
    """Sums of one manager over accounts.

    whose: "manager " and the manager's id, or nobody
    accounts: accounts that they look after
    kinds: by kind of account, how many
    bands: by band of health, how many
    kinds_and_bands: by kind and band ("supplier|steady"), how many
    value_cents: by currency, what orders of the last 12 calendar months left with us, in hundredths
    open_follow_ups: follow-ups that are not closed
    overdue_follow_ups: of those, the ones whose service level is missed
    open_disputes: disputes that are not settled
    renewals: agreements that run and end within 90 days
    """

    whose: str
    accounts: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    bands: dict[str, int] = field(default_factory=dict)
    kinds_and_bands: dict[str, int] = field(default_factory=dict)
    value_cents: dict[str, int] = field(default_factory=dict)
    open_follow_ups: int = 0
    overdue_follow_ups: int = 0
    open_disputes: int = 0
    renewals: int = 0


class Portfolio(Struct):
    """One manager's accounts, or those that nobody looks after.

    portfolio: "manager " and the manager's id, or nobody
    manager: the manager's id; null of the accounts that nobody looks after
    accounts: accounts in it
    kinds: by kind of account, how many; "unknown" where nobody said what they are
    bands: by band of health, how many; "unknown" until the log was told one
    kinds_and_bands: by kind and band ("supplier|steady"), how many
    value: by currency, what orders of the last 12 calendar months left with us, in major units
    open_follow_ups: follow-ups that are not closed
    overdue_follow_ups: of those, the ones whose service level is missed
    open_disputes: disputes that are not settled
    renewals: agreements that run and end within 90 days
    """

    portfolio: str
    manager: str | None
    accounts: int
    kinds: dict[str, int]
    bands: dict[str, int]
    kinds_and_bands: dict[str, int]
    value: dict[str, float]
    open_follow_ups: int
    overdue_follow_ups: int
    open_disputes: int
    renewals: int


portfolio = Aggregate("portfolio", version=1, row=PortfolioShard, reads=Portfolio, of=managed_accounts)


@portfolio.of_row
def share(row: ManagedAccount) -> list[PortfolioShard]:
    """What an account adds to its manager's portfolio."""
    kind, band = row.kind or "unknown", row.band or "unknown"
    return [
        PortfolioShard(
            NOBODY if row.manager is None else f"{_MANAGED}{row.manager}",
            1,
            {kind: 1},
            {band: 1},
            {f"{kind}|{band}": 1},
            row.value_cents,
            row.open_follow_ups,
            row.overdue_follow_ups,
            row.open_disputes,
            row.renewals,
        )
    ]


@portfolio.read
def portfolios(shards: list[PortfolioShard]) -> list[Portfolio]:
    """A row for each manager."""
    return [
        Portfolio(
            portfolio=shard.whose,
            manager=None if shard.whose == NOBODY else shard.whose.removeprefix(_MANAGED),
            accounts=shard.accounts,
            kinds=shard.kinds,
            bands=shard.bands,
            kinds_and_bands=shard.kinds_and_bands,
            value={currency: amount / 100 for currency, amount in sorted(shard.value_cents.items())},
            open_follow_ups=shard.open_follow_ups,
            overdue_follow_ups=shard.overdue_follow_ups,
            open_disputes=shard.open_disputes,
            renewals=shard.renewals,
        )
        for shard in shards
    ]
