"""Recency, frequency and money in fixed bands, 1 (the least) to 5 (the most), so that accounts can be compared.

The way of marking customers is that of direct mail (J. R. Bult and T. Wansbeek, "Optimal Selection for Direct Mail",
Marketing Science 14, 1995); the bands are fixed, not quintiles, so that nobody's mark moves with other accounts.

| mark | days since the last order | orders | spent, in the main currency |
|---|---|---|---|
| 5 | less than 30 | 12 or more | 1,500 or more |
| 4 | less than 90 | 6 | 500 |
| 3 | less than 180 | 3 | 150 |
| 2 | less than 365 | 2 | 50 |
| 1 | more | 1 | less |
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime, timedelta

from msgspec import Struct

RECENCY = tuple(timedelta(days=days) for days in (30, 90, 180, 365))
FREQUENCY = (2, 3, 6, 12)
MONEY = (50, 150, 500, 1_500)

UNITS: dict[str, int] = {
    **dict.fromkeys(("AUD", "CAD", "CHF", "EUR", "GBP", "NZD", "SGD", "USD"), 1),
    **dict.fromkeys(("BRL", "PLN", "RON", "ILS", "CNY", "AED", "SAR"), 4),
    **dict.fromkeys(("DKK", "HKD", "NOK", "SEK"), 8),
    **dict.fromkeys(("CZK", "MXN", "THB", "TRY", "TWD", "ZAR"), 25),
    **dict.fromkeys(("INR", "JPY"), 100),
    **dict.fromkeys(("HUF", "ISK"), 300),
    **dict.fromkeys(("KRW",), 1_000),
}
"""By how much the bands of money are multiplied in a currency; there is no mark in one that is not here.

A rough scale, fixed so that a mark never moves with an exchange rate. It is for marking only: nothing is converted.
"""


class Purse(Struct):
    """What was ordered in one currency: how many orders that stand, and their value in hundredths."""

    orders: int = 0
    cents: int = 0


def recency_mark(last: datetime, moment: datetime) -> int:
    """5 to 1, by how long ago the last order was at ``moment``."""
    return 5 - bisect_right(RECENCY, moment - last)


def next_recency(last: datetime, moment: datetime) -> datetime | None:
    """When the mark falls next, if there is no other order; None when it can fall no further."""
    return next((last + band for band in RECENCY if last + band > moment), None)


def frequency_mark(orders: int) -> int:
    """1 to 5, by the number of orders."""
    return 1 + bisect_right(FREQUENCY, orders)


def money_mark(currency: str, cents: int) -> int | None:
    """1 to 5, by what was spent; None in a currency of which we do not know how far money goes in it."""
    unit = UNITS.get(currency)
    return None if unit is None else 1 + bisect_right(MONEY, cents / 100 / unit)


def main_currency(purses: dict[str, Purse]) -> str | None:
    """The currency of most orders, of equals the one with more spent; None without orders."""
    held = [(purse.orders, purse.cents, currency) for currency, purse in purses.items() if purse.orders > 0]
    return max(held)[2] if held else None
