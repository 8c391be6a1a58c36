"""What we know of an account that is not personal, and what it allows."""

import itertools
from datetime import timedelta
from typing import Any

from hypothesis import given as for_all
from hypothesis import strategies as st

from engage.events.catalogue import BY_CLASS
from engage.events.catalogue.account import AccountErased, ManagerAssigned
from engage.events.catalogue.advertising import CampaignSpendReported
from engage.events.catalogue.commerce import OrderCompleted
from engage.events.catalogue.consent import ConsentGiven, ConsentWithdrawn
from engage.events.catalogue.follow_up import FollowUpStarted
from engage.events.catalogue.newsletters import NewsletterReported, NewsletterSubscribed, NewsletterUnsubscribed
from engage.events.catalogue.profile import AccountGrouped, AccountIdentified
from engage.events.envelope import Event
from engage.rules.consent import LISTENERS, Words
from engage.testing.events import happened, moment
from engage.testing.projections import given
from projections.shared.profile import TRAITS, Consent, Profile, profile


def test_the_newest_word_on_each_trait_counts_whatever_comes_last() -> None:
    told = (
        happened(AccountIdentified(kind="customer", plan="gold"), at="2026-03-03"),
        happened(AccountIdentified(kind="partner", country="PT"), at="2026-03-02"),
        happened(AccountIdentified(time_zone="Europe/Lisbon", plan="silver"), at="2026-03-04"),
    )
    for order in itertools.permutations(told):
        row = given(profile, *order).rows["acc-1"]
        assert (row.kind, row.plan, row.country, row.time_zone) == ("customer", "silver", "PT", "Europe/Lisbon")
        assert row.told_at["kind"] == moment("2026-03-03")


def test_nothing_personal_is_a_column() -> None:
    personal = BY_CLASS[AccountIdentified].personal
    assert personal.isdisjoint(Profile.__struct_fields__)
    assert personal | set(TRAITS) == BY_CLASS[AccountIdentified].fields


def test_an_assigned_manager_replaces_the_one_we_were_told_of() -> None:
    (
        given(profile, happened(AccountIdentified(manager="rosa"), at="2026-03-01"))
        .when(happened(ManagerAssigned(manager="jo"), at="2026-03-02"))
        .then("acc-1", manager="jo")
        .when(happened(AccountIdentified(manager="rosa"), at="2026-03-01", id="late", recorded="2026-03-03"))
        .then("acc-1", manager="jo", known_since=moment("2026-03-01"), interactions=0, last_interaction=None)
    )


def test_a_group_is_known_by_its_id() -> None:
    given(profile, happened(AccountGrouped(group_id="g-1", name="sealed:x"), at="2026-03-01")).then(
        "acc-1", group_id="g-1"
    )


def test_consent_says_when_where_and_to_what_wording() -> None:
    yes = ConsentGiven(channel="email", purpose="marketing", origin="checkout", wording="w-7")
    (
        given(profile, happened(yes, at="2026-03-01"))
        .then("acc-1", consents={"email|marketing": Consent(True, moment("2026-03-01"), "checkout", "w-7")})
        .when(happened(ConsentWithdrawn(channel="*", purpose="marketing"), at="2026-03-02"))
        .then("acc-1", interactions=2)
        .when(happened(NewsletterUnsubscribed(), at="2026-03-03"))
        .then(
            "acc-1",
            consents={
                "*|marketing": Consent(False, moment("2026-03-02")),
                "email|marketing": Consent(False, moment("2026-03-03"), "newsletter"),
            },
        )
    )


def test_first_and_last_interaction_are_by_when_they_happened() -> None:
    order = OrderCompleted(order_id="o-1", total=5.0)
    (
        given(profile, happened(order, at="2026-03-05"))
        .when(happened(order, at="2026-02-01", recorded="2026-03-06"))
        .when(happened(order, at="2026-03-04", recorded="2026-03-07"))
        .then(
            "acc-1",
            first_interaction=moment("2026-02-01"),
            last_interaction=moment("2026-03-05"),
            known_since=moment("2026-03-05"),
            interactions=3,
        )
    )


def test_an_unknown_type_is_an_interaction_and_what_engage_does_itself_is_none() -> None:
    unknown = happened(OrderCompleted(order_id="o-1", total=5.0), at="2026-03-05")
    unknown.type, unknown.data = "Robot Waved", b"{}"
    given(profile, unknown).then("acc-1", interactions=1)
    given(profile, happened(FollowUpStarted(follow_up_id="f-1"), at="2026-03-05")).then_no_row("acc-1")
    spend = CampaignSpendReported(campaign="c", spend=5.0)
    given(profile, happened(spend, at="2026-03-05", subject="market:ads")).then_no_row("market:ads")


def test_erasure_is_noted_and_consent_outlives_it() -> None:
    no = happened(ConsentWithdrawn(channel="email", purpose="service"), at="2026-03-01")
    (
        given(profile, no)
        .then("acc-1", erased_at=None)
        .when(happened(AccountErased(generation=1), at="2026-03-02"))
        .then("acc-1", erased_at=moment("2026-03-02"), consents={"email|service": Consent(False, moment("2026-03-01"))})
    )


CHANNELS, PURPOSES = ("email", "sms", "*"), ("marketing", "service")
WORDS = st.one_of(
    st.builds(ConsentGiven, channel=st.sampled_from(CHANNELS), purpose=st.sampled_from(PURPOSES)),
    st.builds(ConsentWithdrawn, channel=st.sampled_from(CHANNELS), purpose=st.sampled_from(PURPOSES)),
    st.builds(NewsletterSubscribed),
    st.builds(NewsletterReported, newsletter_id=st.just("n-1")),
)


@for_all(st.lists(st.tuples(WORDS, st.integers(0, 5)), min_size=1, max_size=12))
def test_the_profile_allows_what_the_policy_allows(said: list[tuple[Any, int]]) -> None:
    events: list[Event[Any]] = [
        happened(data, at=moment("2026-03-01") + timedelta(days=day), recorded="2026-04-01") for data, day in said
    ]
    words: Words = {}
    for event in events:
        LISTENERS[event.type](words, event)
    row = given(profile, *events).rows["acc-1"]
    assert {key: (one.allowed, one.at) for key, one in row.consents.items()} == {
        key: (word.yes, word.at) for key, word in words.items()
    }
