"""The demo's relationship managers: what one of them does about a follow-up, decided by a hash of its id."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import blake2b
from math import log
from typing import Literal

from msgspec import Struct


class Action(Struct, frozen=True):
    """What is done, and ``at`` which moment; ``code`` is the outcome or the reason of a dismissal."""

    at: datetime
    verb: Literal["complete", "dismiss"]
    code: str


class Habit(Struct, frozen=True):
    """How follow-ups of one rule are dealt with: shares (0-1) of what is done, the rest is left to expire.

    ``hours`` is the mean time until somebody comes to it; ``outcomes`` and ``reasons`` are codes with equal shares.
    """

    completed: float
    dismissed: float
    hours: float
    outcomes: tuple[str, ...]
    reasons: tuple[str, ...]


USUAL = Habit(0.6, 0.15, 40, ("reached", "no_answer"), ("not_needed",))
HABITS: Mapping[str, Habit] = {
    "post-sale-survey": Habit(0.75, 0.05, 30, ("sent", "sent", "answered"), ("recently_asked",)),
    "win-back": Habit(0.5, 0.2, 60, ("reached", "offer_sent", "no_answer"), ("moved_away", "not_worth_it")),
    "support-answer-overdue": Habit(0.9, 0.05, 5, ("answered", "escalated"), ("answered_already",)),
    "tutorial-unfinished": Habit(0.55, 0.25, 50, ("reminded", "helped"), ("not_interested",)),
    "welcome": Habit(0.85, 0.02, 8, ("sent",), ("known_already",)),
    "cart-left-behind": Habit(0.8, 0.05, 5, ("reminded", "reminded", "ordered"), ("ordered_elsewhere",)),
    "video-unfinished": Habit(0.5, 0.3, 50, ("reminded",), ("not_interested",)),
    "newsletter-fatigue": Habit(0.7, 0.1, 60, ("sends_less", "topics_chosen", "no_answer"), ("reads_elsewhere",)),
    "detractor-recovery": Habit(0.85, 0.03, 6, ("reached", "made_good", "no_answer"), ("misunderstanding",)),
    "replenishment": Habit(0.7, 0.1, 30, ("reminded", "ordered"), ("stocked_up",)),
    "loyalty-tier-reached": Habit(0.9, 0.02, 12, ("sent",), ("tier_corrected",)),
    "points-expiring": Habit(0.85, 0.05, 20, ("reminded", "redeemed"), ("programme_extended",)),
    "valued-customer-slipping": Habit(0.7, 0.1, 40, ("reached", "offer_sent", "no_answer"), ("moved_away",)),
    "refund-repair": Habit(0.8, 0.08, 10, ("reached", "made_good"), ("settled_already",)),
    "referral-ask": Habit(0.6, 0.2, 40, ("asked", "asked", "referred"), ("asked_lately",)),
    "agreement-renewal-due": Habit(0.85, 0.05, 90, ("renewed", "renegotiating"), ("let_it_end",)),
    "deliveries-slipping": Habit(0.8, 0.05, 40, ("plan_agreed", "second_source", "escalated"), ("known_cause",)),
    "agreement-lapsed": Habit(0.8, 0.1, 60, ("renewed", "new_agreement"), ("no_longer_needed",)),
    "agreement-term-breached": Habit(0.8, 0.1, 40, ("plan_agreed", "made_good", "credited"), ("known_cause",)),
    "cross-sell-opening": Habit(0.4, 0.3, 120, ("offered", "sold"), ("no_need", "has_another_supplier")),
    "deal-decision-due": Habit(0.9, 0.05, 20, ("decided",), ("decided_already",)),
    "dispute-stage-overdue": Habit(0.85, 0.05, 20, ("reached", "escalated"), ("settled_already",)),
    "invoice-overdue": Habit(0.8, 0.15, 12, ("paid", "reminded", "promised"), ("paid_already",)),
    "negotiation-stalled": Habit(0.75, 0.1, 40, ("offer_made", "reached"), ("on_purpose",)),
    "new-partner-welcome": Habit(0.85, 0.05, 40, ("welcomed", "met"), ("known_well",)),
    "partner-gone-quiet": Habit(0.7, 0.1, 50, ("reached", "no_answer"), ("holiday",)),
    "quality-falling": Habit(0.8, 0.05, 40, ("plan_agreed", "second_source"), ("known_cause",)),
    "trust-falling": Habit(0.8, 0.05, 40, ("met", "plan_agreed"), ("known_cause",)),
}
"""By rule; a rule that is not named here is dealt with as ``USUAL``."""


def act(follow_up: str, rule: str, requested_at: datetime, expires: datetime) -> Action | None:
    """What becomes of the follow-up with this id: an action before it expires, or None if it is left to expire."""
    habit = HABITS.get(rule, USUAL)
    fate, delay, choice = _shares(follow_up)
    at = requested_at + timedelta(hours=0.2 - habit.hours * log(1 - delay))
    if at >= expires:
        return None
    if fate < habit.completed:
        return Action(at, "complete", _pick(habit.outcomes, choice))
    if fate < habit.completed + habit.dismissed:
        return Action(at, "dismiss", _pick(habit.reasons, choice))
    return None


def _shares(text: str) -> tuple[float, float, float]:
    """Three numbers, 0 up to but not 1, that look random and are always the same for ``text``."""
    digest = blake2b(text.encode(), digest_size=12).digest()
    first, second, third = (int.from_bytes(digest[at : at + 4]) / 2**32 for at in (0, 4, 8))
    return first, second, third


def _pick(codes: tuple[str, ...], share: float) -> str:
    return codes[int(share * len(codes))]
