"""What the shop and a partner talk business about, all simulated: negotiations that may stall, and registered deals."""

from __future__ import annotations

from random import Random

from engage.demo.purchases import DAYS
from engage.demo.story import HOUR, Story
from engage.events.catalogue.agreements import Party
from engage.events.catalogue.deals import DealApproved, DealLost, DealRegistered, DealRejected, DealWon
from engage.events.catalogue.negotiations import NegotiationClosed, NegotiationOpened, OfferMade

_SIDES: tuple[Party, Party] = ("us", "them")


def negotiate(story: Story, rng: Random) -> None:
    """One or two negotiations of some rounds; now and then an offer waits for weeks."""
    for number in range(rng.randint(1, 2)):
        negotiation = f"negotiation-{story.subject}-{number}"
        at = _office(rng, rng.uniform(40 + 200 * number, 220 + 200 * number))
        value, rounds, first = rng.randint(20, 400) * 100.0, rng.randint(2, 5), rng.randint(0, 1)
        story.add(at, NegotiationOpened(negotiation_id=negotiation, topic="prices", by=_SIDES[first]))
        for turn in range(rounds):
            at = _office(rng, at + (rng.uniform(14, 28) if rng.random() < 0.25 else rng.uniform(1, 5)))
            value = round(value * rng.uniform(0.9, 1.02), 2)
            party = _SIDES[(first + turn) % 2]
            story.add(
                at, OfferMade(negotiation_id=negotiation, round=turn + 1, party=party, value=value, currency="USD")
            )
        story.add(
            _office(rng, at + rng.uniform(1, 4)),
            NegotiationClosed(
                negotiation_id=negotiation,
                outcome="agreed" if rng.random() < 0.8 else "declined",
                value=value,
                currency="USD",
                rounds=rounds,
            ),
        )


def register_deals(story: Story, rng: Random) -> None:
    """A deal about every month; most are decided within days, some wait too long for our word."""
    for number, day in enumerate(range(30, DAYS, 30)):
        deal, value = f"deal-{story.subject}-{number}", rng.randint(10, 200) * 100.0
        at = _office(rng, day + rng.uniform(0, 20))
        story.add(at, DealRegistered(deal_id=deal, value=value, currency="USD"))
        at = _office(rng, at + (rng.uniform(6, 14) if rng.random() < 0.2 else rng.uniform(1, 4)))
        if rng.random() < 0.2:
            story.add(at, DealRejected(deal_id=deal, reason="already_registered"))
            continue
        story.add(at, DealApproved(deal_id=deal))
        at = _office(rng, at + rng.uniform(15, 60))
        if rng.random() < 0.45:
            story.add(at, DealWon(deal_id=deal, value=value, currency="USD"))
        else:
            story.add(at, DealLost(deal_id=deal, reason=rng.choice(("price", "competitor", "no_decision"))))


def _office(rng: Random, day: float) -> float:
    """A moment in the working hours of the day after ``day``."""
    return int(day) + 1 + rng.uniform(8, 17) * HOUR
