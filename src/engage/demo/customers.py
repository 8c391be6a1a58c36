"""What the CDNOW file lacks of its customers' lives, simulated around their real purchases.

Nothing a customer does happens before their first purchase, and they pay attention while their last one is fresh.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime
from math import exp
from random import Random

from engage.demo.loyalty import collect
from engage.demo.people import manager_of, person, place
from engage.demo.purchases import DAYS, LABEL, Purchase
from engage.demo.story import HOUR, MINUTE, Entry, Story
from engage.events.catalogue.advertising import AdvertClicked, AdvertShown
from engage.events.catalogue.commerce import CartViewed, ChargebackReceived, OrderDelivered, OrderRefunded
from engage.events.catalogue.consent import ConsentGiven, ConsentWithdrawn
from engage.events.catalogue.newsletters import (
    NewsletterClicked,
    NewsletterOpened,
    NewsletterSent,
    NewsletterSubscribed,
    NewsletterUnsubscribed,
)
from engage.events.catalogue.profile import AccountIdentified
from engage.events.catalogue.support import TicketAnswered, TicketOpened, TicketRated, TicketReopened, TicketResolved
from engage.events.catalogue.surveys import ReviewPosted, SurveyAnswered
from engage.events.catalogue.tutorials import TutorialCompleted, TutorialStarted, TutorialStepCompleted
from engage.events.catalogue.video import VideoCompleted, VideoProgressed, VideoStarted

ISSUE_EVERY = 45
"""Days between two issues of the newsletter."""
_LIST = "new-releases"
_ATTENTION_DAYS = 120
"""How fast attention fades after a purchase: to a third in this many days."""

_TOPICS = ("jazz", "classical", "rock", "country", "soundtracks")
_TICKETS = (
    ("delivery", "My parcel has not arrived yet."),
    ("damaged", "The case arrived broken."),
    ("wrong_item", "This is not the album I ordered."),
    ("billing", "I was charged twice."),
    ("account", "I cannot sign in any more."),
)
_BAD_WORDS = ("Took far too long.", "The disc was scratched.", "Nobody answered me.")
_GOOD_WORDS = ("Quick and well packed.", "Great selection.", "Will order again.")
_VIDEOS = tuple((f"session-{number:02}", 180.0 + 35 * number) for number in range(1, 21))
_TUTORIALS = (
    ("build-your-collection", "Build your collection", 4),
    ("listen-like-a-pro", "Listen like a pro", 6),
    ("wish-lists", "Wish lists and gifts", 3),
)
_AGENTS = ("agent-1", "agent-2", "agent-3", "agent-4")


def live(customer: str, purchases: list[Purchase], first_day: datetime, seed: int) -> list[Entry]:
    """Everything a customer of the file does and is sent, in no order; the same for the same seed.

    ``first_day`` is the UTC midnight with which their story begins.
    """
    life = _Life(customer, purchases, seed)
    life.buy()
    life.introduce()
    life.read()
    life.see_adverts()
    life.watch()
    life.learn()
    life.say()
    life.settle()
    collect(life.story, life.rng, life.times, purchases, first_day)
    return life.story.entries


class _Life:
    def __init__(self, customer: str, purchases: list[Purchase], seed: int) -> None:
        self.story = Story(f"cdnow-{customer}")
        self.number = int(customer)
        self.purchases = purchases
        self.rng = Random(f"{seed}:{customer}")
        self.times = sorted(purchase.day + self.rng.triangular(7, 23.5, 19) * HOUR for purchase in purchases)
        self.first = self.times[0]

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def after(self, days: float) -> float:
        """A waiting time, ``days`` on average, at least a minute."""
        return MINUTE + self.rng.expovariate(1 / days)

    def attention(self, at: float) -> float:
        """0-1: how much they care, by the time since their last real purchase."""
        return exp(-(at - self.times[bisect_right(self.times, at) - 1]) / _ATTENTION_DAYS)

    def visit(self) -> float:
        """A moment at which they come by: some days after one of their purchases."""
        return self.rng.choice(self.times) + self.after(20)

    def buy(self) -> None:
        for at, purchase in zip(self.times, self.purchases, strict=True):
            order_id = f"{LABEL}:{purchase.line}"
            self.story.bought(at, purchase)
            if at > self.first + HOUR and self.chance(0.1):
                self.story.add(at - 10 * MINUTE, CartViewed(cart_id=f"cart-{purchase.line}"))
            delivered = None
            if self.chance(1 / 3):
                delivered = self.story.add(
                    int(at) + self.rng.randint(2, 6) + self.rng.uniform(8, 18) * HOUR,
                    OrderDelivered(order_id=order_id),
                )
            in_trouble = self.chance(0.032)
            if in_trouble:
                self.ask_for_help(at, purchase, order_id)
            if delivered is not None and self.chance(0.2):
                self.answer_survey(delivered + self.after(3), f"csat-{purchase.line}", order_id, unhappy=in_trouble)
            if self.chance(0.03):
                self.review(at + 3 + self.after(9), purchase, order_id, unhappy=in_trouble)

    def introduce(self) -> None:
        name, email = person(self.rng, self.number)
        country, zone = place(self.rng)
        self.story.add(
            self.first + MINUTE,
            AccountIdentified(
                kind="customer",
                name=name,
                email=email,
                time_zone=zone,
                country=country,
                manager=manager_of(self.story.subject),
            ),
        )

    def read(self) -> None:
        """Half allow marketing by e-mail, some of these read the newsletter; a few do not want to be asked."""
        if self.chance(0.05):
            self.story.add(self.visit(), ConsentWithdrawn(channel="email", purpose="research", origin="preferences"))
        if not self.chance(0.5):
            return
        self.story.add(self.first + 2 * MINUTE, ConsentGiven(channel="email", purpose="marketing", origin="checkout"))
        until = float(DAYS)
        if self.chance(0.06):
            until = self.story.add(
                self.first + 5 + self.after(150),
                ConsentWithdrawn(channel="email", purpose="marketing", origin="preferences"),
            )
        if not self.chance(0.25):
            return
        joined = self.story.add(self.first + 3 * MINUTE, NewsletterSubscribed(list_id=_LIST, origin="checkout"))
        for number, day in enumerate(range(3, DAYS, ISSUE_EVERY), start=1):
            sent = day + self.rng.uniform(9, 10) * HOUR
            if not joined < sent < until:
                continue
            issue = f"issue-{number:02}"
            self.story.add(sent, NewsletterSent(newsletter_id=issue, list_id=_LIST))
            if not self.chance(0.08 + 0.6 * self.attention(sent)):
                continue
            opened = self.story.add(sent + self.after(0.4), NewsletterOpened(newsletter_id=issue, list_id=_LIST))
            if self.chance(0.1 + 0.3 * self.attention(sent)):
                topic = self.rng.choice(_TOPICS)
                self.story.add(
                    opened + self.after(2 * MINUTE),
                    NewsletterClicked(newsletter_id=issue, link=f"/{topic}", topic=topic, list_id=_LIST),
                )
            elif self.chance(0.03):
                self.story.add(
                    opened + self.after(5 * MINUTE), NewsletterUnsubscribed(list_id=_LIST, newsletter_id=issue)
                )
                return

    def see_adverts(self) -> None:
        if not self.chance(0.25):
            return
        for _ in range(self.rng.randint(1, 3)):
            at, campaign = self.visit(), f"{self.rng.choice(_TOPICS)}-offers"
            self.story.add(at, AdvertShown(campaign=campaign, network="banners", cost=0.004))
            if self.chance(0.06 + 0.15 * self.attention(at)):
                clicked = self.story.add(
                    at + self.after(MINUTE), AdvertClicked(campaign=campaign, network="banners", cost=0.25)
                )
                if self.chance(0.4):
                    self.story.add(clicked + self.after(5 * MINUTE), CartViewed(cart_id=f"cart-c{self.number}"))

    def watch(self) -> None:
        if not self.chance(0.09):
            return
        for video, length in self.rng.sample(_VIDEOS, self.rng.randint(1, 3)):
            at = self.story.add(self.visit(), VideoStarted(video_id=video, length=length))
            watched = self.rng.uniform(0.15, 1.6)
            for part in (0.25, 0.75):
                if watched > part:
                    position = length * part
                    self.story.add(
                        at + position / 60 * MINUTE, VideoProgressed(video_id=video, position=position, length=length)
                    )
            if watched > 1:
                self.story.add(at + length / 60 * MINUTE, VideoCompleted(video_id=video, length=length))

    def learn(self) -> None:
        if not self.chance(0.12):
            return
        tutorial, title, steps = self.rng.choice(_TUTORIALS)
        at = self.story.add(self.visit(), TutorialStarted(tutorial_id=tutorial, title=title, steps=steps))
        done = steps if self.chance(0.6) else self.rng.randrange(steps)
        for step in range(1, done + 1):
            at = self.story.add(
                at + self.after(6 * MINUTE if self.chance(0.9) else 2),
                TutorialStepCompleted(tutorial_id=tutorial, step=step),
            )
        if done == steps:
            self.story.add(at + MINUTE, TutorialCompleted(tutorial_id=tutorial, title=title))

    def say(self) -> None:
        """Some are asked once whether they would recommend the shop."""
        if not self.chance(0.09):
            return
        at = self.first + self.rng.uniform(60, 400)
        liking = self.attention(at)
        score = self.rng.choices((10, 9, 8, 7, 5, 2), (3 + 3 * liking, 3, 2.5, 2, 0.8, 0.5))[0]
        self.story.add(at, SurveyAnswered(survey_id=f"nps-{self.number}", kind="nps", score=score))

    def settle(self) -> None:
        """Hardly anybody has their bank take the money back."""
        for at, purchase in zip(self.times, self.purchases, strict=True):
            if purchase.cents and self.chance(0.002):
                self.story.add(
                    at + 10 + self.after(15),
                    ChargebackReceived(
                        order_id=f"{LABEL}:{purchase.line}",
                        total=purchase.cents / 100,
                        currency="USD",
                        reason=self.rng.choice(("not_received", "not_recognised")),
                    ),
                )

    def answer_survey(self, at: float, survey: str, order_id: str, *, unhappy: bool) -> None:
        bad = self.chance(0.6 if unhappy else 0.04)
        score = self.rng.choice((1, 2)) if bad else self.rng.choices((5, 4, 3), (6, 3, 1))[0]
        self.story.add(
            at,
            SurveyAnswered(survey_id=survey, kind="csat", score=score, order_id=order_id, comment=self.words(bad=bad)),
        )

    def review(self, at: float, purchase: Purchase, order_id: str, *, unhappy: bool) -> None:
        bad = self.chance(0.5 if unhappy else 0.04)
        rating = self.rng.choice((1.0, 2.0)) if bad else self.rng.choice((3.0, 4.0, 4.0, 5.0, 5.0))
        product = f"cd-{purchase.line % 997:03}"
        self.story.add(at, ReviewPosted(product_id=product, rating=rating, order_id=order_id, text=self.words(bad=bad)))

    def words(self, *, bad: bool) -> str | None:
        """What they write about it, if anything: those who were let down mostly do."""
        if not self.chance(0.7 if bad else 0.25):
            return None
        return self.rng.choice(_BAD_WORDS if bad else _GOOD_WORDS)

    def ask_for_help(self, bought: float, purchase: Purchase, order_id: str) -> None:
        """A ticket: most are answered in hours, some after days, a few come back."""
        ticket, agent = f"ticket-{purchase.line}", self.rng.choice(_AGENTS)
        topic, text = self.rng.choice(_TICKETS)
        at = self.story.add(
            bought + self.after(5),
            TicketOpened(
                ticket_id=ticket,
                topic=topic,
                channel="email" if self.chance(0.7) else "web",
                priority="high" if topic == "billing" else "normal",
                order_id=order_id,
                text=text,
            ),
        )
        for attempt in range(2):
            late = self.chance(0.14)
            at += self.rng.uniform(2, 6) if late else self.after(5 * HOUR)
            self.story.add(at, TicketAnswered(ticket_id=ticket, agent=agent))
            at = self.story.add(at + self.after(0.8), TicketResolved(ticket_id=ticket, agent=agent, resolution="fixed"))
            if attempt or not self.chance(0.09):
                break
            at = self.story.add(at + self.after(1.5), TicketReopened(ticket_id=ticket, reason="not_fixed"))
        if purchase.cents and topic != "account" and self.chance(0.2):
            self.story.add(
                at + HOUR, OrderRefunded(order_id=order_id, total=purchase.cents / 100, currency="USD", reason=topic)
            )
        if self.chance(0.3):
            score = self.rng.choices((5, 4, 3, 1), (5, 3, 1, 1.2))[0]
            self.story.add(at + self.after(1), TicketRated(ticket_id=ticket, score=score))
