"""What customers say of us, one by one and month by month."""

from typing import Any

from hypothesis import given as for_all
from hypothesis import strategies as st

from engage.events.catalogue.support import ChatRated, TicketRated
from engage.events.catalogue.surveys import ReviewPosted, SurveyAnswered, SurveySent
from engage.testing.events import happened, moment
from engage.testing.projections import given
from projections.customers.account_satisfaction import account_satisfaction
from projections.customers.feedback import feedback
from projections.customers.satisfaction import satisfaction


def nps(score: int, at: str = "2026-03-10", account: str = "acc-1", **how: Any) -> Any:
    return happened(SurveyAnswered(survey_id="nps", kind="nps", score=score), at=at, subject=account, **how)


def csat(score: int, at: str = "2026-03-10", order: str = "o-1", **how: Any) -> Any:
    data = SurveyAnswered(survey_id="csat", kind="csat", score=score, order_id=order)
    return happened(data, at=at, **how)


def asked(at: str = "2026-03-01", order: str = "o-1", **how: Any) -> Any:
    return happened(SurveySent(survey_id="csat", kind="csat", order_id=order), at=at, **how)


def recommend(scores: list[int], at: str) -> list[Any]:
    return [nps(score, at, f"acc-{number}") for number, score in enumerate(scores)]


def test_nps_is_promoters_minus_detractors() -> None:
    told = given(satisfaction, *recommend([10, 9, 8, 7, 6, 0, 9, 10, 9, 9], "2026-03-10"))
    told.then("2026-03|nps", responses=10, good=6, bad=2, value=40.0, mean=7.7, response_rate=None, trend=None)


def test_an_answer_given_again_replaces_the_one_before() -> None:
    (
        given(satisfaction, csat(1), csat(5, "2026-03-11"))
        .then("2026-03|csat", responses=1, value=100.0)
        .when(csat(2, "2026-03-10T12:00", recorded="2026-03-12"))
        .then("2026-03|csat", responses=1, value=100.0)
    )


def test_the_same_survey_a_quarter_later_is_another_answer() -> None:
    told = given(satisfaction, nps(3, "2026-03-10"), nps(10, "2026-06-10"))
    told.then("2026-03|nps", value=-100.0).then("2026-06|nps", value=100.0, before=-100.0, trend=200.0)


def test_the_response_rate_is_of_what_was_sent() -> None:
    (
        given(satisfaction, asked(), asked("2026-03-03"), asked(order="o-2"), csat(4))
        .then("2026-03|csat", sent=2, responses=1, response_rate=0.5)
        .when(csat(4, order="o-3"), csat(4, order="o-4"))
        .then("2026-03|csat", sent=2, responses=3, response_rate=None)
    )


def test_a_month_without_answers_has_no_value() -> None:
    given(satisfaction, asked()).then("2026-03|csat", value=None, low=None, mean=None, trend=None, response_rate=0.0)


def test_a_trend_is_held_against_the_three_months_before() -> None:
    months = [recommend([10, 0], f"{month}-05") for month in ("2025-11", "2025-12", "2026-01", "2026-02")]
    told = given(satisfaction, *(event for month in months for event in month), *recommend([10, 10], "2026-03-05"))
    told.then("2026-03|nps", value=100.0, before=0.0, trend=100.0).then("2025-11|nps", before=None, trend=None)
    row = told.rows["2026-03|nps"]
    assert row.trend_low is not None
    assert row.trend_high is not None
    assert row.trend_low < 100.0 <= row.trend_high


def test_a_few_answers_of_one_mind_are_not_certain_and_many_nearly_are() -> None:
    few = given(satisfaction, *recommend([10], "2026-03-05")).rows["2026-03|nps"]
    many = given(satisfaction, *recommend([10] * 200, "2026-03-05")).rows["2026-03|nps"]
    assert few.low is not None
    assert many.low is not None
    assert few.low < 0 < 95 < many.low < 100


def test_reviews_and_ratings_of_our_help_have_lines_of_their_own() -> None:
    told = (
        happened(ReviewPosted(product_id="p", rating=4.5), at="2026-03-01"),
        happened(TicketRated(ticket_id="t", score=2), at="2026-03-02"),
        happened(ChatRated(chat_id="c", score=5), at="2026-03-02"),
    )
    given(satisfaction, *told).then("2026-03|review", value=100.0, mean=4.5).then("2026-03|help", value=50.0, bad=1)


def test_feedback_says_what_it_is_about() -> None:
    (
        given(feedback, csat(4), asked(recorded="2026-03-11"))
        .then("acc-1|survey|csat|o-1", about="o-1", kind="csat", score=4.0, mark=75.0, sent_at=moment("2026-03-01"))
        .when(happened(ReviewPosted(product_id="p", rating=1.0), at="2026-03-12"))
        .then("acc-1|review|p", about="p", kind="review", mark=0.0)
    )


def test_an_account_shows_what_it_last_said() -> None:
    (
        given(account_satisfaction, asked(), csat(4), nps(9, "2026-03-12"))
        .then("acc-1", csat=4.0, nps=9.0, nps_at=moment("2026-03-12"), asked=1, answers=2, mean=82.5, trend=None)
        .when(nps(2, "2026-02-01", recorded="2026-03-13"))
        .then("acc-1", nps=9.0, nps_at=moment("2026-03-12"), answers=3, last_said=moment("2026-03-12"))
    )


def test_an_account_that_turns_sour_shows_a_trend() -> None:
    answers = [csat(score, f"2026-03-0{day}", f"o-{day}") for day, score in enumerate((5, 5, 2, 1), start=1)]
    given(account_satisfaction, *answers[:3]).then("acc-1", trend=None).when(answers[3]).then("acc-1", trend=-87.5)


def test_an_account_that_changes_its_mind_has_one_opinion() -> None:
    given(account_satisfaction, csat(1), csat(5, "2026-03-11")).then("acc-1", csat=5.0, answers=1, mean=100.0)


def test_an_accounts_opinions_do_not_grow_for_ever() -> None:
    answers = [csat(3, f"2026-03-{1 + n % 28:02}", f"o-{n}") for n in range(50)]
    row = given(account_satisfaction, *answers).rows["acc-1"]
    assert (row.answers, len(row.opinions)) == (50, 8)


@for_all(st.lists(st.integers(0, 10), min_size=1, max_size=60))
def test_an_nps_lies_within_its_interval(scores: list[int]) -> None:
    row = given(satisfaction, *recommend(scores, "2026-03-05")).rows["2026-03|nps"]
    assert row.value is not None
    assert row.low is not None
    assert row.high is not None
    assert -100 <= row.low <= row.value <= row.high <= 100
