"""Silence is measured against the partner's own rhythm, and told once."""

from datetime import date, timedelta

import pytest

from engage.events.catalogue.agreements import AgreementRenewed
from engage.events.catalogue.conversations import CallHeld, EmailReceived, EmailSent, MeetingHeld
from engage.events.catalogue.deals import DealRegistered
from engage.events.catalogue.deliveries import DeliveryReceived
from engage.events.catalogue.invoices import InvoicePaid
from engage.events.catalogue.negotiations import OfferMade
from engage.events.catalogue.profile import AccountIdentified
from engage.events.catalogue.service_levels import RequestAnswered
from engage.testing.events import happened, moment
from engage.testing.rules import given, requested, skipped
from streams.partners.partner_gone_quiet import rule

CALL = "call a quiet partner"
START = date(2026, 1, 5)


def identified(kind="supplier", at="2026-01-01"):
    return happened(AccountIdentified(kind=kind), at=at)


def answer(day, number=0, **more):
    at = str(START + timedelta(days=day))
    return happened(RequestAnswered(request_id=f"r-{day}-{number}", waited=1.0), at=at, **more)


def every(days, times, first=0):
    return [answer(first + days * number) for number in range(times)]


def test_who_was_heard_of_every_twenty_days_is_quiet_after_sixty():
    (
        given(rule, *every(20, 4))
        .when(time="2026-05-04T23:59")
        .then_nothing()
        .when(time="2026-05-05")
        .then(
            requested(
                CALL,
                about="silence",
                purpose="partnership",
                channels=["manager"],
                why="We heard of them about every 20 days, and have not for 60, since 2026-03-06.",
            )
        )
        .when(time="2027-12-31")
        .then_nothing()
    )


def test_the_silence_is_at_least_three_weeks_and_at_most_120_days():
    last = START + timedelta(days=3)
    (
        given(rule, *every(1, 4))
        .when(time=str(last + timedelta(days=20)))
        .then_nothing()
        .when(time=str(last + timedelta(days=21)))
        .then(requested(CALL))
    )
    last = START + timedelta(days=300)
    (
        given(rule, *every(100, 4))
        .when(time=str(last + timedelta(days=119)))
        .then_nothing()
        .when(time=str(last + timedelta(days=120)))
        .then(requested(CALL))
    )


def test_a_rhythm_is_known_only_from_the_fourth_day_on():
    given(rule, *every(7, 3)).when(time="2027-01-01").then_nothing()


def test_who_is_heard_of_again_may_become_quiet_again():
    (
        given(rule, *every(7, 6))
        .when(time="2026-03-10")
        .then(requested(CALL))
        .when(answer(90), time="2026-12-31")
        .then(requested(CALL))
    )


@pytest.mark.parametrize(
    "sign",
    [
        DeliveryReceived(delivery_id="d", promised=moment("2026-03-01"), units_ordered=1, units_received=1),
        AgreementRenewed(agreement_id="ag-1", ends=moment("2027-01-01")),
        DealRegistered(deal_id="d-1", value=1.0),
        OfferMade(negotiation_id="n", round=1, party="them"),
        InvoicePaid(invoice_id="i", paid=1.0, direction="receivable"),
        EmailReceived(message_id="m"),
        CallHeld(call_id="c", direction="outbound"),
        MeetingHeld(meeting_id="m"),
    ],
)
def test_whatever_they_do_breaks_the_silence(sign):
    given(rule, *every(7, 6), happened(sign, at="2026-03-01")).when(time="2026-03-21").then_nothing()


@pytest.mark.parametrize(
    "sign",
    [
        EmailSent(message_id="m"),
        OfferMade(negotiation_id="n", round=1, party="us"),
        InvoicePaid(invoice_id="i", paid=1.0, direction="payable"),
        InvoicePaid(invoice_id="i", paid=1.0),
    ],
)
def test_what_we_send_into_the_silence_does_not(sign):
    given(rule, *every(7, 6), happened(sign, at="2026-02-20")).when(time="2026-03-10").then(requested(CALL))


def test_customers_owe_us_no_conversation():
    calls = [happened(CallHeld(call_id=f"c-{n}", direction="inbound"), at=f"2026-01-{n:02}") for n in range(2, 20, 3)]
    given(rule, identified("customer"), *calls).when(time="2026-12-31").then_nothing()
    given(rule, identified(), *calls).when(time="2026-12-31").then(requested(CALL))


def test_it_does_not_matter_when_we_learn_that_it_is_a_partner():
    calls = [happened(CallHeld(call_id=f"c-{n}", direction="inbound"), at=f"2026-01-{n:02}") for n in range(2, 20, 3)]
    given(rule, *calls, identified(at="2026-01-20")).when(time="2026-12-31").then(requested(CALL))


def test_who_turns_out_to_be_a_customer_is_left_alone():
    given(rule, *every(7, 6), identified("customer", at="2026-02-15")).when(time="2026-12-31").then_nothing()


def test_old_news_tells_of_the_rhythm_but_does_not_break_the_silence():
    (
        given(rule, *every(10, 5))
        .when(answer(5, recorded="2026-02-20"), answer(40, recorded="2026-02-20T02:00"), time="2026-03-09")
        .then_nothing()
        .when(time="2026-03-16")
        .then(requested(CALL, why="We heard of them about every 8 days, and have not for 24, since 2026-02-14."))
    )


def test_news_of_the_silence_that_comes_too_late_is_stale():
    late = [answer(day, recorded="2026-12-01") for day in (0, 7, 14, 21)]
    given(rule, *late).when(time="2026-12-02").then(skipped(CALL, reason="stale"))


def test_no_more_than_twelve_days_are_remembered():
    story = given(rule, *every(3, 30))
    assert len(story.state(rule).days) == 12
