"""The manager is told of an agreement that ran out, unless it was renewed or ended on purpose."""

from engage.events.catalogue.agreements import AgreementEnded, AgreementRenewed, AgreementSigned
from engage.testing.events import happened, moment
from engage.testing.rules import given, requested, skipped
from streams.partners.agreement_lapsed import rule

LAPSED = "agreement lapsed"


def signed(at="2026-01-01", ends="2026-06-30", agreement="ag-1", **more):
    data = AgreementSigned(agreement_id=agreement, title="Framework", starts=moment(at), ends=moment(ends))
    return happened(data, at=at, **more)


def renewed(at, ends, **more):
    return happened(AgreementRenewed(agreement_id="ag-1", ends=moment(ends)), at=at, **more)


def ended(at, reason=None, **more):
    return happened(AgreementEnded(agreement_id="ag-1", reason=reason), at=at, **more)


def test_an_agreement_that_ran_out_is_told_of_once_a_week_after_its_end():
    (
        given(rule, signed())
        .when(time="2026-07-06T23:59")
        .then_nothing()
        .when(time="2026-07-07")
        .then(
            requested(
                LAPSED,
                about="ag-1",
                purpose="partnership",
                priority="high",
                channels=["manager"],
                why="“Framework” ended on 2026-06-30 and was not renewed: "
                "nothing that was agreed in it binds either side any more.",
                expires="2026-09-05",
            )
        )
        .when(signed(id="again", recorded="2026-07-08"), time="2027-07-07")
        .then_nothing()
    )


def test_a_renewal_before_the_end_or_within_the_week_after_it_prevents_the_lapse():
    for day in ("2026-06-01", "2026-07-05"):
        (
            given(rule, signed(), renewed(day, "2027-06-30"))
            .when(time="2027-07-06")
            .then_nothing()
            .when(time="2027-07-07")
            .then(requested(LAPSED))
        )


def test_the_end_that_the_calendar_reports_is_a_lapse_all_the_same():
    given(rule, signed(), ended("2026-06-30", "expired")).when(time="2026-07-07").then(requested(LAPSED))
    given(rule, signed(), ended("2026-07-01")).when(time="2026-07-07").then(requested(LAPSED))
    given(rule, ended("2026-06-30", "expired")).when(time="2026-07-07").then(
        requested(LAPSED, why=None, about="ag-1", due="2026-07-10")
    )


def test_who_ended_an_agreement_on_purpose_is_not_told_that_it_lapsed():
    for end in (ended("2026-05-01", "terminated"), ended("2026-05-01"), ended("2026-06-30", "replaced")):
        given(rule, signed(), end).when(time="2027-01-01").then_nothing()


def test_a_signature_that_we_learn_of_after_the_end_is_no_lapse():
    given(rule, ended("2026-05-01", "terminated"), signed(recorded="2026-05-02")).when(time="2027-01-01").then_nothing()


def test_a_signature_that_we_learn_of_after_the_renewal_does_not_shorten_it():
    (
        given(rule, renewed("2026-03-01", "2027-06-30"), signed(recorded="2026-03-02"))
        .when(time="2027-07-06")
        .then_nothing()
        .when(time="2027-07-07")
        .then(requested(LAPSED, about="ag-1"))
    )


def test_a_late_renewal_mends_it_and_the_next_end_may_lapse_again():
    (
        given(rule, signed())
        .when(time="2026-07-07")
        .then(requested(LAPSED))
        .when(renewed("2026-07-20", "2027-06-30"), time="2027-07-06")
        .then_nothing()
        .when(time="2027-07-07")
        .then(requested(LAPSED))
    )


def test_a_lapse_that_we_learn_of_too_late_is_not_told():
    given(rule, signed(recorded="2026-12-01")).when(time="2026-12-02").then(skipped(LAPSED, reason="stale"))


def test_only_the_latest_lapses_are_remembered():
    month = "2026-02-{:02}"
    story = given(rule, *[signed(agreement=f"ag-{n}", ends=month.format(n)) for n in range(1, 29)])
    story.when(time="2026-04-01")
    assert len(story.decisions) == 28
    story.when(signed("2026-04-02", "2026-12-31", agreement="running"))
    assert len(story.state(rule).terms) == 21
