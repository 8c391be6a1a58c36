"""A campaign's funnel counts each account once, an order is owed to what was followed last, lift has its interval."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from engage.events.catalogue.advertising import AdvertClicked, AdvertConverted, AdvertShown, CampaignSpendReported
from engage.events.catalogue.commerce import OrderCancelled, OrderCompleted, OrderRefunded
from engage.events.catalogue.follow_up import Cause, FollowUpRequested, FollowUpSkipped, SkipReason
from engage.events.catalogue.newsletters import (
    NewsletterBounced,
    NewsletterClicked,
    NewsletterDelivered,
    NewsletterOpened,
    NewsletterSent,
)
from engage.events.envelope import Event
from engage.testing.events import happened, moment
from engage.testing.projections import given
from engage.views.intervals import share_difference
from projections.customers.campaign_contacts import CAMPAIGNS_KEPT, campaign_contacts
from projections.customers.campaigns import campaigns


def sent(at: str, issue: str = "n-1", campaign: str | None = "spring", **more: Any) -> Event[Any]:
    return happened(NewsletterSent(newsletter_id=issue, campaign=campaign), at=at, **more)


def clicked(at: str, issue: str = "n-1", **more: Any) -> Event[Any]:
    return happened(NewsletterClicked(newsletter_id=issue, link="/"), at=at, **more)


def advert(at: str, campaign: str = "spring", **more: Any) -> Event[Any]:
    return happened(AdvertClicked(campaign=campaign, cost=0.25), at=at, **more)


def order(at: str, order_id: str = "o-1", total: float = 40, **more: Any) -> Event[Any]:
    return happened(OrderCompleted(order_id=order_id, total=total), at=at, **more)


def asked(at: str, rule: str = "win-back", subject: str = "acc-1", times: int = 1) -> Event[Any]:
    later = moment("2027-01-01")
    data = FollowUpRequested(
        rule=rule,
        rule_version=1,
        about=f"lapse {times}",
        what="win back",
        why="silence",
        purpose="marketing",
        priority="normal",
        channels=("email",),
        matter="m",
        due=later,
        expires=later,
        cause=Cause(id="e", source="test", partition=0, offset=0),
        decided_at=0,
    )
    return happened(data, at=at, subject=subject)


def held_out(at: str, subject: str = "acc-2", reason: SkipReason = "holdout") -> Event[Any]:
    data = FollowUpSkipped(
        rule="win-back",
        rule_version=1,
        about="lapse",
        what="win back",
        reason=reason,
        detail="left alone",
        matter="m",
        cause=Cause(id="e", source="test", partition=0, offset=0),
        decided_at=0,
    )
    return happened(data, at=at, subject=subject)


def test_the_funnel_counts_each_account_once() -> None:
    given(
        campaigns,
        sent("2026-03-01"),
        sent("2026-03-08", "n-2"),
        sent("2026-03-01", subject="acc-2"),
        sent("2026-03-01", subject="acc-3"),
        happened(NewsletterDelivered(newsletter_id="n-1"), at="2026-03-01T01:00"),
        happened(NewsletterBounced(newsletter_id="n-1"), at="2026-03-01T01:00", subject="acc-3"),
        happened(NewsletterOpened(newsletter_id="n-1"), at="2026-03-02"),
        happened(NewsletterOpened(newsletter_id="n-2"), at="2026-03-09"),
        clicked("2026-03-02", subject="acc-2"),
        order("2026-03-03", subject="acc-2"),
    ).then(
        "spring",
        kind="newsletter",
        sent=3,
        delivered=2,
        bounced=1,
        opened=2,
        clicked=1,
        converted=1,
        conversion=pytest.approx(1 / 3),
        orders=1,
        revenue={"USD": 40.0},
        lift=None,
        held_out=None,
    )


def test_what_nobody_reports_is_not_known() -> None:
    told = given(campaigns, sent("2026-03-01"), advert("2026-03-01", "banners"))
    told.then("spring", delivered=None, bounced=None, opened=0)
    told.then("banners", kind="advert", delivered=1, bounced=None, opened=None, clicked=1)


def test_an_issue_that_names_no_campaign_is_one_of_its_own() -> None:
    given(campaigns, sent("2026-03-01", campaign=None), clicked("2026-03-02")).then(
        "newsletter:n-1", sent=1, opened=1, clicked=1
    )


def test_what_came_before_the_campaign_was_known_moves_over_to_it() -> None:
    told = given(campaigns, clicked("2026-03-02"), order("2026-03-03"))
    told.then("newsletter:n-1", orders=1).when(sent("2026-03-01")).then_no_row("newsletter:n-1")
    told.then("spring", sent=1, clicked=1, orders=1, revenue={"USD": 40.0})
    told.when(happened(OrderCancelled(order_id="o-1"), at="2026-03-04")).then("spring", orders=0, revenue={})


@pytest.mark.parametrize("story", list(permutations(range(4))))
def test_an_order_is_owed_to_what_was_followed_last_before_it_however_late_it_is_told(story: tuple[int, ...]) -> None:
    events = [
        advert("2026-03-01", "first"),
        advert("2026-03-05", "last"),
        order("2026-03-06"),
        advert("2026-03-07", "after"),
    ]
    told = given(campaigns, *(events[place] for place in story))
    told.then("last", orders=1, converted=1, revenue={"USD": 40.0})
    told.then("first", orders=0, converted=0, revenue={}).then("after", orders=0, converted=0)


def test_an_order_two_weeks_later_is_owed_to_nothing() -> None:
    given(campaigns, advert("2026-03-01"), order("2026-03-16")).then("spring", converted=0)


def test_to_have_been_shown_an_advert_is_no_touch() -> None:
    shown = happened(AdvertShown(campaign="spring", cost=0.004), at="2026-03-01")
    given(campaigns, shown, order("2026-03-02")).then("spring", sent=1, converted=0, spend={"USD": 0.004})


@pytest.mark.parametrize("claim_first", [True, False])
def test_who_ran_the_advert_claims_its_order(claim_first: bool) -> None:
    claim = happened(AdvertConverted(campaign="spring", order_id="o-1", value=40), at="2026-03-03T01:00")
    buys = [advert("2026-03-02", "other"), order("2026-03-03")]
    told = given(campaigns, *([claim, *buys] if claim_first else [*buys, claim]))
    told.then("spring", converted=1, orders=1, revenue={"USD": 40.0}).then("other", orders=0, revenue={})
    told.when(claim, happened(AdvertConverted(campaign="other", order_id="o-1"), at="2026-03-04"))
    told.then("spring", orders=1, revenue={"USD": 40.0}).then("other", orders=0)


def test_a_conversion_without_an_order_brings_what_it_says() -> None:
    given(campaigns, happened(AdvertConverted(campaign="spring", value=9.5, currency="EUR"), at="2026-03-03")).then(
        "spring", converted=1, orders=0, revenue={"EUR": 9.5}
    )


def test_what_is_given_back_is_no_revenue() -> None:
    told = given(campaigns, advert("2026-03-01"), order("2026-03-02"))
    told.when(happened(OrderRefunded(order_id="o-1", total=15), at="2026-03-09")).then(
        "spring", orders=1, revenue={"USD": 25.0}
    )
    told.when(happened(OrderRefunded(order_id="o-1", total=25), at="2026-03-10")).then(
        "spring", orders=0, converted=0, revenue={}
    )


def test_spend_is_added_up_by_currency_and_beyond_hundredths() -> None:
    shown = [happened(AdvertShown(campaign="spring", cost=0.004), at="2026-03-01", id=str(n)) for n in range(3)]
    report = CampaignSpendReported(campaign="spring", spend=99.9, currency="EUR")
    alone = CampaignSpendReported(campaign="posters", spend=10)
    told = given(campaigns, *shown, happened(report, at="2026-03-31"), happened(alone, at="2026-03-31"))
    told.then("spring", spend={"EUR": 99.9, "USD": 0.012})
    told.then("posters", kind="spend only", sent=0, conversion=None, spend={"USD": 10.0})


def test_a_rule_s_lift_is_what_the_asked_do_more_than_the_held_out() -> None:
    people = [asked("2026-03-01", subject=f"a-{n}") for n in range(20)]
    alone = [held_out("2026-03-01", subject=f"h-{n}") for n in range(10)]
    bought = [order("2026-03-15", subject=f"a-{n}") for n in range(10)] + [order("2026-03-15", subject="h-0")]
    lift = share_difference(10, 20, 1, 10)
    assert lift is not None
    given(campaigns, *people, *alone, *bought).then(
        "rule:win-back",
        kind="rule",
        sent=20,
        converted=10,
        conversion=0.5,
        orders=10,
        revenue={"USD": 400.0},
        held_out=10,
        held_out_converted=1,
        lift=0.4,
        lift_low=lift.low,
        lift_high=lift.high,
    )


def test_a_rule_that_holds_nobody_out_has_no_lift() -> None:
    told = given(campaigns, asked("2026-03-01"), held_out("2026-03-01", reason="cap"))
    told.then("rule:win-back", sent=1, held_out=None, held_out_converted=None, lift=None, lift_low=None)


def test_only_the_first_time_counts_because_who_is_held_out_is_said_once() -> None:
    told = given(campaigns, asked("2026-03-01"), asked("2026-06-01", times=2), order("2026-06-02"))
    told.then("rule:win-back", sent=1, converted=0)
    given(campaigns, held_out("2026-03-01"), held_out("2026-03-02"), asked("2026-03-03", subject="acc-2")).then(
        "rule:win-back", sent=0, held_out=1, lift=None
    )


def test_the_order_that_led_to_the_follow_up_is_not_its_result() -> None:
    given(campaigns, order("2026-03-01"), asked("2026-03-01")).then("rule:win-back", converted=0)


def test_an_order_counts_for_campaign_and_rule_alike_and_no_more_when_it_is_cancelled() -> None:
    told = given(campaigns, asked("2026-03-01"), advert("2026-03-02"), order("2026-03-03"))
    told.then("rule:win-back", converted=1).then("spring", converted=1)
    told.when(happened(OrderCancelled(order_id="o-1"), at="2026-03-04"))
    told.then("rule:win-back", converted=0, revenue={}).then("spring", converted=0)


def test_a_row_stays_bounded_and_keeps_its_rules() -> None:
    many = [advert("2026-03-01", f"c-{n:03}", id=f"{n}") for n in range(CAMPAIGNS_KEPT + 30)]
    row = given(campaign_contacts, asked("2026-01-01"), *many, order("2026-03-02")).rows["acc-1"]
    assert len(row.contacts) == CAMPAIGNS_KEPT + 1
    assert "rule:win-back" in row.contacts
    assert len(row.touches) == 12


DAYS = st.integers(1, 28).map("2026-03-{:02}".format)
STEPS = st.lists(
    st.one_of(
        st.builds(advert, DAYS, st.sampled_from(["spring", "autumn"])),
        st.builds(clicked, DAYS, st.sampled_from(["n-1", "n-2"])),
        st.builds(sent, DAYS, st.sampled_from(["n-1", "n-2"]), st.sampled_from(["spring", None])),
        st.builds(order, DAYS, st.sampled_from(["o-1", "o-2", "o-3"])),
        st.builds(
            lambda at, name: happened(OrderCancelled(order_id=name), at=at), DAYS, st.sampled_from(["o-1", "o-2"])
        ),
        st.builds(
            lambda at, name: happened(AdvertConverted(campaign="autumn", order_id=name), at=at),
            DAYS,
            st.sampled_from(["o-1", "o-4"]),
        ),
        st.builds(asked, DAYS),
    ),
    max_size=25,
)


@for_all(STEPS)
def test_every_order_that_stands_is_owed_to_one_campaign_at_most(events: list[Event[Any]]) -> None:
    told = given(campaign_contacts, *events)
    for row in told.rows.values():
        owed = [contact for name, contact in row.contacts.items() if not name.startswith("rule:")]
        standing = {name for name, placed in row.orders.items() if placed.counts}
        assert sum(contact.orders for contact in owed) == len(standing & row.credits.keys())
        assert sum(sum(contact.cents.values()) for contact in owed) == 4_000 * len(standing & row.credits.keys())
        rules = [contact for name, contact in row.contacts.items() if name.startswith("rule:")]
        assert all(0 <= contact.orders <= len(standing) for contact in rules)
