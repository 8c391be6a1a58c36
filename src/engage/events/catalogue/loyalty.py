"""Loyalty: points, tiers and referrals."""

from __future__ import annotations

from engage.events.catalogue.base import Count, EventData, Ref
from engage.events.envelope import Instant


class PointsEarned(EventData):
    """The account earned points; ``reason`` is a short code such as ``order``, ``expires`` when they lapse."""

    points: Count
    reason: Ref | None = None
    order_id: Ref | None = None
    expires: Instant | None = None


class PointsRedeemed(EventData):
    """The account spent points on a reward."""

    points: Count
    reward: Ref | None = None
    order_id: Ref | None = None


class PointsExpiring(EventData):
    """Unless they are used by ``expires``, points will lapse."""

    points: Count
    expires: Instant


class PointsExpired(EventData):
    """Points lapsed unused."""

    points: Count


class TierReached(EventData):
    """The account rose to a tier; ``until`` is how long it is sure of it."""

    tier: Ref
    until: Instant | None = None


class TierLost(EventData):
    """The account fell out of ``tier`` into ``now``, None when that is no tier."""

    tier: Ref
    now: Ref | None = None


class ReferralMade(EventData):
    """The account brought somebody along; ``referred`` is the new account's id, when there is one."""

    referral_id: Ref
    referred: Ref | None = None
    campaign: Ref | None = None
