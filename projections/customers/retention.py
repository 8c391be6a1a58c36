"""Do customers come back, what do they leave with us, and what did it cost to win them, what does it to keep them?

Customers are looked at by cohort: all whose first order that stands was placed in the same month. What adverts cost is
known by account, so it is told apart by the account's first order: before it, it was to acquire, afterwards to keep.
What went to accounts that never bought is in the row ``prospects``. Campaign costs that nobody can tell apart by
account stand beside the month in which their period begins. What a follow-up costs is on no record, so follow-ups are
counted and never priced.
"""

from __future__ import annotations

from msgspec import Struct, field

from engage.events.catalogue.advertising import CampaignSpendReported
from engage.events.envelope import Event
from engage.views.aggregate import Aggregate
from engage.views.months import month_of, months_between
from projections.customers.customer_months import MILLION, CustomerMonths, add, customer_months

PROSPECTS = "prospects"
"""The row of those who have not bought."""


class CohortShard(Struct):
    """Sums of one cohort over its customers; months since the first one are texts, "0" the first month itself.

    cohort: the month of the first order, such as 2026-03, or prospects
    accounts: accounts in it
    active: by months since, customers with an order that stands
    repeated: by months since, customers whose second order fell there
    value_cents: by months since and currency ("2|EUR"), what they left with us, in hundredths
    acquire_micros: by currency, what adverts cost before the first order, in millionths
    keep_micros: by months since and currency, what adverts cost after it, in millionths
    follow_ups_before: follow-ups done before the first order
    follow_ups: by months since, follow-ups done after it
    spend_micros: by currency, campaign costs of that calendar month that are of no account, in millionths
    last: by months since, customers of whom that is the last month we know anything of
    """

    cohort: str
    accounts: int = 0
    active: dict[str, int] = field(default_factory=dict)
    repeated: dict[str, int] = field(default_factory=dict)
    value_cents: dict[str, int] = field(default_factory=dict)
    acquire_micros: dict[str, int] = field(default_factory=dict)
    keep_micros: dict[str, int] = field(default_factory=dict)
    follow_ups_before: int = 0
    follow_ups: dict[str, int] = field(default_factory=dict)
    spend_micros: dict[str, int] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)


class CohortMonth(Struct):
    """One cohort in one month since its first; the newest calendar month may not be over.

    cohort_month: the cohort and the months since, such as 2026-03+002, or prospects
    cohort: the month of the first order, such as 2026-03, or prospects
    months_since: months since the cohort's first one, 0 that one itself
    customers: customers of the cohort; of prospects: accounts that have not bought
    active: customers with an order in that month that stands
    active_share: active by customers, 0-1; null of prospects
    repeat_rate: customers who had ordered a second time by the end of that month by all, 0-1; null of prospects
    value: what orders placed in that month left with us, by currency, less what was given back, in major units
    cost_to_acquire: in month 0: what adverts cost before the first orders, by currency, in major units
    cost_to_keep: what adverts cost in that month after the first orders, by currency, in major units
    follow_ups_to_acquire: in month 0: follow-ups done before the first orders
    follow_ups_to_keep: follow-ups done in that month after the first orders
    campaign_spend: in month 0: campaign costs of that calendar month that are of no account, by currency, major units
    """

    cohort_month: str
    cohort: str
    months_since: int
    customers: int
    active: int
    active_share: float | None
    repeat_rate: float | None
    value: dict[str, float]
    cost_to_acquire: dict[str, float]
    cost_to_keep: dict[str, float]
    follow_ups_to_acquire: int
    follow_ups_to_keep: int
    campaign_spend: dict[str, float]


retention = Aggregate("retention", version=1, row=CohortShard, reads=CohortMonth, of=customer_months)


@retention.of_row
def share(row: CustomerMonths) -> list[CohortShard]:
    """What one account adds to its cohort."""
    if row.cohort is None:
        return _prospect(row)
    shard = CohortShard(row.cohort, 1, acquire_micros=dict(row.before), follow_ups_before=row.follow_ups_before)
    orders = 0
    for name in sorted(row.months):
        month, since = row.months[name], months_between(row.cohort, name)
        if since < 0:
            shard.follow_ups_before += month.follow_ups
            for currency, micros in month.costs.items():
                add(shard.acquire_micros, currency, micros)
            continue
        key = str(since)
        if month.orders > 0:
            shard.active[key] = 1
            if orders < 2 <= orders + month.orders:
                shard.repeated[key] = 1
            orders += month.orders
        for currency, amount in month.cents.items():
            add(shard.value_cents, f"{key}|{currency}", amount)
        for currency, micros in month.costs.items():
            add(shard.keep_micros, f"{key}|{currency}", micros - (0 if since else row.before.get(currency, 0)))
        if done := month.follow_ups - (0 if since else row.follow_ups_before):
            shard.follow_ups[key] = done
    shard.last[str(months_between(row.cohort, max(row.months)))] = 1
    return [shard]


@retention.on(CampaignSpendReported)
def spend(event: Event[CampaignSpendReported]) -> list[CohortShard]:
    """What a campaign cost beyond single adverts."""
    data = event.data
    micros = round(data.spend * MILLION)
    return [CohortShard(month_of(data.starts or event.time), spend_micros={data.currency: micros})] if micros else []


@retention.read
def cohort_months(shards: list[CohortShard]) -> list[CohortMonth]:
    """Every cohort in every month up to the newest that any of them knows of."""
    cohorts = [shard for shard in shards if shard.cohort != PROSPECTS]
    ends = [_number(shard.cohort) + int(since) for shard in cohorts for since in shard.last]
    newest = max(ends, default=0)
    rows = [row for shard in cohorts for row in _months(shard, max(newest - _number(shard.cohort), 0))]
    return rows + [_prospects(shard) for shard in shards if shard.cohort == PROSPECTS]


def _number(month: str) -> int:
    """The months since the calendar began."""
    return months_between("0001-01", month)


def _prospect(row: CustomerMonths) -> list[CohortShard]:
    shard = CohortShard(PROSPECTS, 1)
    for month in row.months.values():
        shard.follow_ups_before += month.follow_ups
        for currency, micros in month.costs.items():
            add(shard.acquire_micros, currency, micros)
    return [shard]


def _months(shard: CohortShard, until: int) -> list[CohortMonth]:
    rows, repeated = [], 0
    value, kept = _by_month(shard.value_cents, 100), _by_month(shard.keep_micros, MILLION)
    for since in range(until + 1):
        key, active = str(since), shard.active.get(str(since), 0)
        repeated += shard.repeated.get(key, 0)
        rows.append(
            CohortMonth(
                cohort_month=f"{shard.cohort}+{since:03}",
                cohort=shard.cohort,
                months_since=since,
                customers=shard.accounts,
                active=active,
                active_share=active / shard.accounts if shard.accounts else None,
                repeat_rate=repeated / shard.accounts if shard.accounts else None,
                value=value.get(key, {}),
                cost_to_acquire={} if since else _major(shard.acquire_micros),
                cost_to_keep=kept.get(key, {}),
                follow_ups_to_acquire=0 if since else shard.follow_ups_before,
                follow_ups_to_keep=shard.follow_ups.get(key, 0),
                campaign_spend={} if since else _major(shard.spend_micros),
            )
        )
    return rows


def _prospects(shard: CohortShard) -> CohortMonth:
    return CohortMonth(
        cohort_month=PROSPECTS,
        cohort=PROSPECTS,
        months_since=0,
        customers=shard.accounts,
        active=0,
        active_share=None,
        repeat_rate=None,
        value={},
        cost_to_acquire=_major(shard.acquire_micros),
        cost_to_keep={},
        follow_ups_to_acquire=shard.follow_ups_before,
        follow_ups_to_keep=0,
        campaign_spend={},
    )


def _by_month(sums: dict[str, int], unit: int) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for name, amount in sorted(sums.items()):
        since, _, currency = name.partition("|")
        found.setdefault(since, {})[currency] = amount / unit
    return found


def _major(sums: dict[str, int]) -> dict[str, float]:
    return {currency: micros / MILLION for currency, micros in sorted(sums.items())}
