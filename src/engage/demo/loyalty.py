"""The demo's loyalty programme, simulated: points, tiers and referrals of those who buy often."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random

from engage.demo.purchases import LABEL, Purchase
from engage.demo.story import MINUTE, Story
from engage.events.catalogue.loyalty import PointsEarned, PointsRedeemed, ReferralMade, TierReached

_TIERS = {3: "silver", 6: "gold", 12: "platinum"}
"""By the number of purchases that reach it."""
_POINTS_LAST = 365
"""Days until points lapse."""


def collect(story: Story, rng: Random, times: list[float], purchases: list[Purchase], first_day: datetime) -> None:
    """Now and then somebody brings somebody along; some of those who come often collect points, ten a dollar.

    ``times`` (days since ``first_day``, a UTC midnight) are those of ``purchases``, in order.
    """
    if rng.random() < 0.01:
        story.add(rng.choice(times) + rng.expovariate(1 / 20), ReferralMade(referral_id=f"referral:{story.subject}"))
    if len(times) < 3 or rng.random() > 0.1:
        return
    balance = 0
    for count, (at, purchase) in enumerate(zip(times, purchases, strict=True), start=1):
        order_id, points = f"{LABEL}:{purchase.line}", purchase.cents // 10
        lapse = first_day + timedelta(days=int(at) + _POINTS_LAST)
        story.add(at + MINUTE, PointsEarned(points=points, reason="order", order_id=order_id, expires=lapse))
        balance += points
        if count in _TIERS:
            story.add(at + 2 * MINUTE, TierReached(tier=_TIERS[count]))
        if balance and rng.random() < 0.06:
            story.add(at + 3 * MINUTE, PointsRedeemed(points=balance, reward="voucher"))
            balance = 0
