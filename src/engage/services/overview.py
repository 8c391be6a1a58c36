"""The whole book of relationships at a glance: how many accounts are in which band, and what became of follow-ups."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from msgspec import Struct

from engage.events.catalogue.follow_up import CLOSED
from engage.store.views import ViewStore
from projections.shared.account_health import account_health, score_at
from projections.shared.follow_ups import follow_ups


class Overview(Struct, frozen=True):
    """Counts: of accounts with a health, by band, and of follow-ups by rule and what became of them."""

    accounts: int
    health: dict[str, int]
    follow_ups: dict[str, dict[str, int]]


def read_overview(store: ViewStore, moment: datetime) -> Overview:
    """The overview at ``moment``; reads every account and every follow-up."""
    bands: Counter[str] = Counter()
    with store.snapshot(account_health) as (_, rows):
        for row in rows:
            bands[score_at(row, max(moment, row.as_of)).band] += 1
    outcomes: dict[str, Counter[str]] = {}
    with store.snapshot(follow_ups) as (_, rows):
        for row in rows:
            became = row.outcome or row.reason or row.status if row.status in CLOSED else "open"
            outcomes.setdefault(row.rule, Counter())[became] += 1
    return Overview(
        bands.total(),
        dict(bands.most_common()),
        {rule: dict(outcomes[rule].most_common()) for rule in sorted(outcomes)},
    )
