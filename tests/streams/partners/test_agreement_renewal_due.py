"""The manager is asked once a term, while notice can still be given."""

from engage.events.catalogue.agreements import AgreementEnded, AgreementRenewed, AgreementSigned
from engage.testing.events import happened, moment
from engage.testing.rules import given, requested, skipped
from streams.partners.agreement_renewal_due import rule


def signed(at="2026-01-01", ends="2026-12-31", notice=30, starts=None, agreement="ag-1", **more):
    data = AgreementSigned(
        agreement_id=agreement, title="Framework", starts=moment(starts or at), ends=moment(ends), notice_days=notice
    )
    return happened(data, at=at, **more)


def renewed(at, ends, notice=None, **more):
    return happened(AgreementRenewed(agreement_id="ag-1", ends=moment(ends), notice_days=notice), at=at, **more)


def ended(at):
    return happened(AgreementEnded(agreement_id="ag-1", reason="terminated"), at=at)


def test_the_manager_is_asked_ninety_days_before_the_end():
    (
        given(rule, signed())
        .when(time="2026-10-01T23:59")
        .then_nothing()
        .when(time="2026-10-02")
        .then(
            requested(
                "agreement renewal",
                about="ag-1",
                purpose="partnership",
                channels=["manager"],
                priority="normal",
                why="“Framework” ends on 2026-12-31, in 90 days, notice has to be given by 2026-12-01.",
                expires="2026-12-31",
            )
        )
        .when(time="2027-12-31")
        .then_nothing()
    )


def test_a_long_notice_asks_earlier():
    (
        given(rule, signed(notice=120))
        .when(time="2026-08-02T23:00")
        .then_nothing()
        .when(time="2026-08-03")
        .then(requested("agreement renewal"))
    )


def test_a_short_agreement_is_not_renewed_on_the_day_it_is_signed():
    (
        given(rule, signed(ends="2026-03-02", notice=20))
        .when(time="2026-01-30T23:00")
        .then_nothing()
        .when(time="2026-01-31")
        .then(requested("agreement renewal", priority="high", due="2026-02-03"))
    )


def test_each_term_is_asked_about_once():
    (
        given(rule, signed())
        .when(time="2026-10-02")
        .then(requested("agreement renewal", about="ag-1"))
        .when(signed(id="again", at="2026-10-03"), time="2026-12-01")
        .then_nothing()
        .when(renewed("2026-12-02", "2027-12-31"), time="2027-10-01")
        .then_nothing()
        .when(time="2027-10-03")
        .then(
            requested(
                "agreement renewal",
                why="“Framework” ends on 2027-12-31, in 90 days, notice has to be given by 2027-12-01.",
            )
        )
    )


def test_a_renewal_puts_the_question_off_and_may_change_the_notice():
    (
        given(rule, signed(), renewed("2026-06-01", "2028-12-31", notice=0))
        .when(time="2028-10-01")
        .then_nothing()
        .when(time="2028-10-02")
        .then(requested("agreement renewal", why="“Framework” ends on 2028-12-31, in 90 days."))
    )


def test_an_ended_agreement_is_not_renewed():
    given(rule, signed(), ended("2026-05-01")).when(time="2027-01-01").then_nothing()
    given(rule, ended("2026-05-01"), signed(recorded="2026-05-01T01:00")).when(time="2027-01-01").then_nothing()


def test_a_signature_that_we_learn_of_after_the_renewal_changes_nothing_but_the_title():
    (
        given(rule, renewed("2026-06-01", "2028-12-31"), signed(recorded="2026-06-02"))
        .when(time="2028-10-01")
        .then_nothing()
        .when(time="2028-10-02")
        .then(
            requested(
                "agreement renewal",
                why="“Framework” ends on 2028-12-31, in 90 days, notice has to be given by 2028-12-01.",
            )
        )
    )


def test_an_agreement_that_we_learn_of_late_is_asked_about_at_once_or_not_at_all():
    (
        given(rule, signed(recorded="2026-12-20"))
        .when(time="2026-12-20T01:00")
        .then(requested("agreement renewal", priority="high"))
    )
    (
        given(rule, signed(recorded="2027-03-01"))
        .when(time="2027-03-02")
        .then(skipped("agreement renewal", reason="stale"))
    )
