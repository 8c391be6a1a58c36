"""Terms that our own deliveries measure: what they come to, what the log hears, and where agreements have it from."""

from typing import Any

from engage.events.catalogue.agreements import (
    AgreementEnded,
    AgreementRenewed,
    AgreementSigned,
    Term,
)
from engage.events.catalogue.deliveries import DeliveryReceived, QualityInspected
from engage.events.catalogue.term import AgreementTermMeasured
from engage.events.envelope import Event
from engage.testing.events import happened, moment
from engage.testing.projections import given
from projections.partners.agreements import agreements
from projections.partners.delivered_terms import delivered_terms, stands

ON_TIME = Term(
    name="on-time", kind="expectation", measure="delivered_on_time", limit=0.9, direction="at_least", unit="share"
)
DEFECTS = Term(name="defects", kind="boundary", measure="defective", limit=0.03, direction="at_most", unit="share")
PAYMENT = Term(name="payment", kind="expectation", measure="days_to_pay", limit=30, direction="at_most", unit="days")


def signed(agreement: str = "a-1", *terms: Term, at: str = "2026-01-01") -> Event[Any]:
    data = AgreementSigned(
        agreement_id=agreement,
        title="Supply",
        starts=moment("2026-01-01"),
        ends=moment("2028-01-01"),
        terms=terms or (ON_TIME, DEFECTS, PAYMENT),
    )
    return happened(data, at=at)


def delivery(day: int, *, late: bool = False) -> Event[Any]:
    promised = moment(f"2026-02-{day - late:02}")
    data = DeliveryReceived(delivery_id=f"d-{day}", promised=promised, units_ordered=10, units_received=10)
    return happened(data, at=f"2026-02-{day:02}")


def told(term: Term, value: float, agreement: str = "a-1") -> AgreementTermMeasured:
    return AgreementTermMeasured(
        agreement_id=agreement,
        term=term.name,
        measured=value,
        limit=term.limit,
        direction=term.direction,
        unit=term.unit,
    )


def test_ten_deliveries_measure_a_term_and_each_change_of_it_is_told() -> None:
    model = given(delivered_terms, signed(), *(delivery(day) for day in range(1, 10)))
    model.then("acc-1", on_time=None).then_announced()
    model.when(delivery(10, late=True)).then("acc-1", on_time=0.9).then_announced(told(ON_TIME, 0.9))
    model.when(delivery(11, late=True)).then_announced(told(ON_TIME, 1 - 2 / 11))
    model.when(happened(told(ON_TIME, 1 - 2 / 11), at="2026-02-11")).then_announced()


def test_defective_pieces_measure_their_own_term() -> None:
    looks = [
        happened(QualityInspected(delivery_id=f"d-{day}", inspected=100, defective=5), at=f"2026-02-{day:02}")
        for day in range(1, 11)
    ]
    given(delivered_terms, signed(), *looks).then("acc-1", defective=0.05).then_announced(told(DEFECTS, 0.05))


def test_terms_of_each_agreement_are_told_and_none_of_one_that_has_ended() -> None:
    model = given(delivered_terms, *(delivery(day) for day in range(1, 11))).then_announced()
    model.when(signed("a-1", ON_TIME, at="2026-03-01")).then_announced(told(ON_TIME, 1.0))
    model.when(signed("a-2", ON_TIME, at="2026-03-01")).then_announced(told(ON_TIME, 1.0, "a-2"))
    model.when(happened(AgreementRenewed(agreement_id="a-2", ends=moment("2029-01-01")), at="2026-03-03"))
    for one in ("a-1", "a-2"):  # of the second it is the end of the term before
        model.when(happened(AgreementEnded(agreement_id=one), at="2026-03-02", recorded="2026-03-04")).then_announced()
    model.when(delivery(28, late=True)).then_announced(told(ON_TIME, 1 - 1 / 11, "a-2"))


def test_what_the_log_was_not_told_stands() -> None:
    model = given(delivered_terms, signed(), *(delivery(day) for day in range(1, 11)))
    assert list(stands(model.rows["acc-1"])) == [(told(ON_TIME, 1.0), moment("2026-02-10"))]
    model.when(happened(told(ON_TIME, 1.0), at="2026-02-11"))
    assert list(stands(model.rows["acc-1"])) == []


def test_an_agreement_shows_each_measured_value_against_its_limit() -> None:
    model = given(agreements, signed()).then("acc-1|a-1", terms_agreed=3, terms_measured=0)
    model.when(happened(told(ON_TIME, 0.95), at="2026-02-10"), happened(told(DEFECTS, 0.05), at="2026-02-11"))
    model.then("acc-1|a-1", terms_measured=2, terms_breached=1)
    on_time, defects, payment = model.rows["acc-1|a-1"].terms
    assert (on_time.measured, on_time.limit, on_time.state) == (0.95, 0.9, "within")
    assert (defects.measured, defects.state, defects.since) == (0.05, "breached", moment("2026-02-11"))
    assert payment.state == "unknown"


def test_who_has_no_such_terms_and_no_deliveries_has_no_row() -> None:
    assert given(delivered_terms, signed("a-1", PAYMENT)).rows == {}
