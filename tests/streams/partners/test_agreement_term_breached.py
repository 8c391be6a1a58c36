"""The manager hears of a term when it breaks, whoever measures or reports it, and not every time it stays broken."""

from datetime import date, timedelta

from engage.events.catalogue.agreements import (
    AgreementBreached,
    AgreementEnded,
    AgreementRenewed,
    AgreementSigned,
    Term,
)
from engage.events.catalogue.deliveries import DeliveryReceived, QualityInspected
from engage.events.catalogue.service_levels import ServiceLevelBreached, ServiceLevelMeasured
from engage.testing.events import happened, moment
from engage.testing.rules import given, requested, skipped
from streams.partners.agreement_term_breached import rule

TALK, MAKE_GOOD = "talk about a breached term", "make good our own breach"
START = date(2026, 1, 5)


def term(name="uptime", measure="uptime", limit=99.5, direction="at_least", unit="percent", kind="expectation"):
    return Term(name=name, kind=kind, measure=measure, limit=limit, direction=direction, unit=unit)


ON_TIME = term("on-time", "delivered_on_time", 0.9, unit="share")
DEFECTS = term("defects", "defective", 0.03, "at_most", "share", "boundary")


def signed(*terms, at="2026-01-01", agreement="ag-1", **more):
    data = AgreementSigned(
        agreement_id=agreement, title="Framework", starts=moment(at), ends=moment("2027-12-31"), terms=terms
    )
    return happened(data, at=at, **more)


def measured(at, value, agreement=None, name=None, service="uptime", limit=99.5, **more):
    data = ServiceLevelMeasured(
        service=service, measured=value, limit=limit, unit="percent", agreement_id=agreement, term=name
    )
    return happened(data, at=at, **more)


def breached(at, by="them", **more):
    data = AgreementBreached(agreement_id="ag-1", term="uptime", measured=98.0, limit=99.5, unit="percent", by=by)
    return happened(data, at=at, **more)


def ended(at):
    return happened(AgreementEnded(agreement_id="ag-1", reason="terminated"), at=at)


def arrivals(*late):
    return [
        happened(
            DeliveryReceived(delivery_id=f"d-{week}", promised=moment(day), units_ordered=1, units_received=1),
            at=moment(day) + timedelta(days=1 if missed else 0),
        )
        for week, missed in enumerate(late)
        for day in [str(START + timedelta(weeks=week))]
    ]


def inspections(*defective):
    return [
        happened(
            QualityInspected(delivery_id=f"d-{week}", inspected=50, defective=found),
            at=str(START + timedelta(weeks=week)),
        )
        for week, found in enumerate(defective)
    ]


def test_an_expectation_that_is_no_longer_met_is_talked_about_once():
    (
        given(rule, signed(term()), measured("2026-02-01", 99.5))
        .when(measured("2026-03-01", 99.1))
        .then(
            requested(
                TALK,
                about="ag-1|uptime",
                purpose="partnership",
                priority="high",
                channels=["manager"],
                why="The expectation “uptime” of agreement ag-1 is broken: "
                "at least 99.5 percent was agreed, 99.1 percent was measured.",
            )
        )
        .when(measured("2026-03-10", 99.0), measured("2026-03-20", 98.0))
        .then_nothing()
    )


def test_a_boundary_that_is_crossed_is_urgent():
    boundary = term("latency", "latency", 200, "at_most", "percent", "boundary")
    (
        given(rule, signed(boundary), measured("2026-02-01", 200, service="latency"))
        .then_nothing()
        .when(measured("2026-03-01", 201, service="latency"))
        .then(requested(TALK, about="ag-1|latency", priority="urgent", due="2026-03-02"))
    )


def test_a_term_that_was_kept_again_may_break_again():
    (
        given(rule, signed(term()))
        .when(measured("2026-03-01", 99.0))
        .then(requested(TALK))
        .when(measured("2026-04-01", 99.9))
        .then_nothing()
        .when(measured("2026-05-01", 99.0))
        .then(requested(TALK))
    )


def test_a_term_that_stays_broken_is_talked_about_again_after_a_month():
    (
        given(rule, signed(term()), measured("2026-03-01", 99.0))
        .when(measured("2026-03-30", 99.0))
        .then_nothing()
        .when(measured("2026-04-01", 99.0))
        .then(requested(TALK))
    )


def test_a_reported_breach_counts_like_a_measured_one():
    (
        given(rule, signed(term()))
        .when(breached("2026-03-01"))
        .then(requested(TALK, about="ag-1|uptime"))
        .when(breached("2026-03-01", id="again"), measured("2026-03-05", 99.0))
        .then_nothing()
    )
    level = ServiceLevelBreached(
        service="uptime", measured=98.0, limit=99.5, unit="percent", agreement_id="ag-1", term="uptime"
    )
    given(rule, signed(term())).when(happened(level, at="2026-03-01")).then(requested(TALK))


def test_our_own_breach_is_ours_to_make_good():
    (
        given(rule, signed(term()))
        .when(breached("2026-03-01", by="us"))
        .then(
            requested(
                MAKE_GOOD,
                priority="urgent",
                why="The expectation “uptime” of agreement ag-1 is broken by us: "
                "at least 99.5 percent was agreed, 98 percent was measured.",
            )
        )
    )


def test_a_measurement_that_names_its_term_needs_no_signature_that_we_know_of():
    given(rule).when(measured("2026-03-01", 99.0, "ag-7", "uptime")).then(requested(TALK, about="ag-7|uptime"))
    given(rule).when(breached("2026-03-01")).then(requested(TALK, about="ag-1|uptime"))


def test_the_limit_that_was_signed_counts():
    given(rule, signed(term(limit=90.0)), measured("2026-03-01", 95.0, "ag-1", "uptime")).then_nothing()


def test_what_belongs_to_no_term_is_nobodys_promise():
    level = ServiceLevelBreached(service="chat", measured=1.0, limit=2.0, unit="percent")
    given(
        rule, signed(term()), measured("2026-03-01", 1.0, service="chat"), happened(level, at="2026-03-01")
    ).then_nothing()


def test_a_renewal_changes_the_terms_only_when_it_says_so():
    ends = moment("2028-12-31")
    same = happened(AgreementRenewed(agreement_id="ag-1", ends=ends), at="2026-02-01")
    softer = happened(AgreementRenewed(agreement_id="ag-1", ends=ends, terms=(term(limit=90.0),)), at="2026-02-01")
    given(rule, signed(term()), same).when(measured("2026-03-01", 99.0)).then(requested(TALK))
    given(rule, signed(term()), softer, measured("2026-03-01", 99.0)).then_nothing()
    given(rule, softer, signed(term(), recorded="2026-02-02"), measured("2026-03-01", 99.0)).then_nothing()


def test_an_agreement_that_ended_binds_nobody():
    given(rule, signed(term()), ended("2026-02-01"), measured("2026-03-01", 9.0), breached("2026-03-01")).then_nothing()
    (
        given(rule, ended("2026-02-01"), signed(term(), recorded="2026-02-02"))
        .when(measured("2026-03-01", 9.0), measured("2026-03-01", 9.0, "ag-1", "uptime"))
        .then_nothing()
    )


def test_a_measurement_that_we_learn_of_after_a_newer_one_tells_nothing_of_today():
    given(rule, signed(term()), measured("2026-03-01", 99.9)).when(
        measured("2026-02-01", 90.0, recorded="2026-03-02"), breached("2026-02-15", recorded="2026-03-03")
    ).then_nothing()


def test_a_breach_that_we_learn_of_too_late_is_stale():
    given(rule, signed(term())).when(measured("2026-02-01", 90.0, recorded="2026-06-01")).then(
        skipped(TALK, reason="stale")
    )


def test_our_own_deliveries_measure_how_much_comes_on_time():
    (
        given(rule, signed(ON_TIME), *arrivals(*[0] * 9, 1))
        .then_nothing()
        .when(*arrivals(*[0] * 9, 1, 1)[-1:])
        .then(
            requested(
                TALK,
                about="ag-1|on-time",
                why="The expectation “on-time” of agreement ag-1 is broken: "
                "at least 90.0% was agreed, 81.8% was measured.",
            )
        )
    )


def test_a_few_deliveries_measure_nothing():
    given(rule, signed(ON_TIME), *arrivals(*[1] * 9)).then_nothing()


def test_our_own_inspections_measure_defects():
    (
        given(rule, signed(DEFECTS), *inspections(*[0] * 9, 15))
        .then_nothing()
        .when(*inspections(*[0] * 9, 15, 2)[-1:])
        .then(requested(TALK, about="ag-1|defects", priority="urgent"))
    )


def test_no_more_is_remembered_than_can_be_watched():
    story = given(rule, *[signed(term(), DEFECTS, agreement=f"ag-{n}") for n in range(150)])
    assert len(story.state(rule).terms) == len(story.state(rule).agreed) == 100
    assert len(given(rule, *arrivals(*[0] * 40)).state(rule).deliveries) == 20
    assert len(given(rule, *inspections(*[0] * 40)).state(rule).inspections) == 20
