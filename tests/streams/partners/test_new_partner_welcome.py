"""A new partner is welcomed once and looked in on twice; who has been one for long is left alone."""

import pytest

from engage.events.catalogue.agreements import AgreementSigned
from engage.events.catalogue.profile import AccountIdentified
from engage.testing.events import happened, moment
from engage.testing.rules import given, requested, skipped
from streams.partners.new_partner_welcome import rule

WELCOME, CHECK_IN = "welcome a new partner", "check in with a new partner"


def identified(at="2026-01-01", kind="supplier", since=None, **more):
    data = AccountIdentified(kind=kind, since=moment(since) if since else None)
    return happened(data, at=at, **more)


def signed(at="2026-01-01", starts=None, **more):
    data = AgreementSigned(
        agreement_id="ag-1", title="Framework", starts=moment(starts or at), ends=moment("2027-12-31")
    )
    return happened(data, at=at, **more)


@pytest.mark.parametrize("kind", ["vendor", "supplier", "distributor", "reseller", "partner"])
def test_a_new_partner_is_welcomed_at_once_and_looked_in_on_after_30_and_90_days(kind):
    (
        given(rule)
        .when(identified(kind=kind))
        .then(
            requested(
                WELCOME,
                about="beginning",
                purpose="partnership",
                channels=["manager"],
                why="They have been our partner since 2026-01-01: introduce yourself and say whom to ask for what.",
            )
        )
        .when(time="2026-01-30T23:59")
        .then_nothing()
        .when(time="2026-01-31")
        .then(
            requested(
                CHECK_IN,
                why="They have been our partner for 30 days, since 2026-01-01: hear what goes well and what they lack.",
                due="2026-02-05",
            )
        )
        .when(time="2026-03-31T23:59")
        .then_nothing()
        .when(time="2026-04-01")
        .then(requested(CHECK_IN))
        .when(time="2027-04-01")
        .then_nothing()
    )


def test_customers_and_those_of_unknown_kind_are_not_partners():
    given(rule, identified(kind="customer"), identified(kind=None, at="2026-01-02")).when(
        time="2026-12-31"
    ).then_nothing()


def test_who_has_been_a_partner_for_long_is_not_new():
    given(rule, identified(since="2025-10-03")).when(time="2026-12-31").then_nothing()


def test_who_became_a_partner_some_weeks_ago_is_welcomed_now_and_looked_in_on_when_it_is_time():
    (
        given(rule)
        .when(identified(since="2025-11-15"))
        .then(requested(WELCOME))
        .when(time="2026-02-12T23:59")
        .then_nothing()
        .when(time="2026-02-13")
        .then(requested(CHECK_IN))
    )


def test_being_identified_again_changes_nothing():
    (
        given(rule)
        .when(identified(), identified(at="2026-01-05"), signed("2026-01-10"))
        .then(requested(WELCOME))
        .when(identified(at="2026-02-10"), time="2026-02-11")
        .then(requested(CHECK_IN))
    )


def test_a_first_agreement_begins_a_partnership_too():
    given(rule).when(signed()).then(requested(WELCOME))
    given(rule, signed(starts="2024-01-01")).when(identified(at="2026-01-02"), time="2026-12-31").then_nothing()


def test_an_announced_partner_is_welcomed_on_the_first_day():
    (
        given(rule)
        .when(identified(since="2026-02-01"), time="2026-01-31")
        .then_nothing()
        .when(time="2026-02-01")
        .then(requested(WELCOME))
        .when(time="2026-03-03")
        .then(requested(CHECK_IN))
    )


def test_when_we_learn_that_they_are_no_new_partner_nobody_looks_in():
    (
        given(rule)
        .when(identified())
        .then(requested(WELCOME))
        .when(identified(at="2026-01-03", since="2019-05-01"), time="2026-12-31")
        .then_nothing()
    )


def test_a_beginning_that_we_learn_of_half_a_year_late_is_too_old_to_welcome():
    (given(rule).when(identified(recorded="2026-06-01"), time="2026-12-31").then(skipped(WELCOME, reason="stale")))
