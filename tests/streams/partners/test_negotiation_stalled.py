"""The manager hears once a round of a negotiation that stalls, and whose turn it is."""

from engage.events.catalogue.negotiations import NegotiationClosed, NegotiationOpened, OfferMade
from engage.testing.events import happened, moment
from engage.testing.rules import given, requested, skipped
from streams.partners.negotiation_stalled import rule

STALLED = "negotiation stalled"


def opened(at="2026-03-01", negotiation="n-1", **more):
    return happened(NegotiationOpened(negotiation_id=negotiation), at=at, **more)


def offer(at, party, number=1, expires=None, **more):
    data = OfferMade(
        negotiation_id="n-1", round=number, party=party, value=100.0, expires=moment(expires) if expires else None
    )
    return happened(data, at=at, **more)


def closed(at, negotiation="n-1", **more):
    return happened(NegotiationClosed(negotiation_id=negotiation, outcome="agreed"), at=at, **more)


def test_a_negotiation_without_a_first_offer_is_stalled_after_a_fortnight():
    (
        given(rule, opened())
        .when(time="2026-03-14T23:59")
        .then_nothing()
        .when(time="2026-03-15")
        .then(
            requested(
                STALLED,
                about="n-1",
                purpose="partnership",
                priority="normal",
                channels=["manager"],
                why="Negotiation n-1 began on 2026-03-01, and after 14 days nobody made an offer.",
            )
        )
        .when(time="2026-12-31")
        .then_nothing()
    )


def test_an_offer_of_theirs_waits_for_us_no_longer_than_five_days():
    (
        given(rule, opened(), offer("2026-03-02", "them"))
        .when(time="2026-03-06T23:59")
        .then_nothing()
        .when(time="2026-03-07")
        .then(
            requested(
                STALLED,
                priority="high",
                why="Their offer in negotiation n-1 has waited for us for 5 days: it is our turn.",
                due="2026-03-08",
            )
        )
    )


def test_an_offer_of_ours_may_take_them_ten_days():
    (
        given(rule, opened(), offer("2026-03-02", "us"))
        .when(time="2026-03-11T23:59")
        .then_nothing()
        .when(time="2026-03-12")
        .then(
            requested(
                STALLED,
                priority="normal",
                why="Our offer in negotiation n-1 has had no answer for 10 days, since 2026-03-02.",
            )
        )
    )


def test_an_offer_that_expires_soon_is_answered_before_it_does():
    (
        given(rule, offer("2026-03-02", "them", expires="2026-03-06"))
        .when(time="2026-03-03T23:59")
        .then_nothing()
        .when(time="2026-03-04")
        .then(
            requested(
                STALLED,
                why="Their offer in negotiation n-1 has waited for us for 2 days and is open until 2026-03-06: "
                "it is our turn.",
            )
        )
    )
    given(rule).when(offer("2026-03-02", "them", expires="2026-03-03")).then(requested(STALLED))


def test_each_offer_starts_the_time_anew_and_each_round_is_told_of_once():
    (
        given(rule, opened(), offer("2026-03-02", "us"), offer("2026-03-10", "them", 2), offer("2026-03-14", "us", 3))
        .when(time="2026-03-23")
        .then_nothing()
        .when(time="2026-03-24")
        .then(requested(STALLED))
        .when(time="2026-06-01")
        .then_nothing()
        .when(offer("2026-06-02", "them", 4), time="2026-06-07")
        .then(requested(STALLED, priority="high"))
    )


def test_both_may_make_their_offer_in_the_same_round():
    (
        given(rule, offer("2026-03-02", "us"), offer("2026-03-03", "them"))
        .when(time="2026-03-08")
        .then(requested(STALLED, priority="high"))
    )


def test_a_closed_negotiation_is_over_whatever_we_learn_of_it_later():
    given(rule, opened(), offer("2026-03-02", "us"), closed("2026-03-05")).when(time="2026-12-31").then_nothing()
    (
        given(rule, closed("2026-03-05"), offer("2026-03-02", "us", recorded="2026-03-06"))
        .when(opened(recorded="2026-03-07"), time="2026-12-31")
        .then_nothing()
    )


def test_an_earlier_round_that_we_learn_of_late_and_the_same_offer_twice_change_nothing():
    (
        given(
            rule,
            offer("2026-03-05", "us", 3),
            offer("2026-03-03", "them", 2, recorded="2026-03-06"),
            opened(recorded="2026-03-06"),
            offer("2026-03-05", "us", 3, id="again", recorded="2026-03-07"),
        )
        .when(time="2026-03-14")
        .then_nothing()
        .when(time="2026-03-15")
        .then(requested(STALLED, priority="normal"))
        .when(offer("2026-03-05", "us", 3, id="once more", recorded="2026-03-16"), time="2026-12-31")
        .then_nothing()
    )


def test_a_stall_that_we_learn_of_too_late_is_stale():
    given(rule, opened(recorded="2026-06-01")).when(time="2026-06-02").then(skipped(STALLED, reason="stale"))


def test_old_closed_negotiations_are_forgotten():
    story = given(rule, opened(), *[closed(f"2026-03-01T{n:02}:00", f"old-{n}") for n in range(1, 24)])
    assert len(story.state(rule).negotiations) == 21
    story.when(time="2026-12-31").then(requested(STALLED, about="n-1"))
