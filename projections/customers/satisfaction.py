"""How satisfied are customers, month by month: NPS, CSAT, reviews and ratings of our help, how sure is that, whither?

NPS is the share of promoters (9-10) minus that of detractors (0-6), in points from -100 to 100; of everything rated 1-5
it is the share of the satisfied, who gave 4 or more, in per cent (F. F. Reichheld, "The One Number You Need to Grow",
Harvard Business Review 12/2003, for NPS).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from math import sqrt

from msgspec import Struct

from engage.views.aggregate import Aggregate
from engage.views.intervals import Z95, share_difference, wilson
from projections.customers.feedback import Feedback, FeedbackKind, feedback

PROMOTER, DETRACTOR, SATISFIED = 9, 6, 4
"""The lowest score of a promoter, the highest of a detractor (of 0-10), the lowest of the satisfied (of 1-5)."""
MONTHS_BEFORE = 3


class SatisfactionShare(Struct):
    """What was asked and said in a month.

    month_kind: "YYYY-MM|kind"
    month: the month (UTC), "YYYY-MM"
    kind: nps, csat, review or help
    sent: surveys sent in the month
    responses: answers given in the month
    good: promoters, or those who gave 4 or more of 5
    bad: detractors, or those who gave less than 3 of 5
    scores: the scores together, in hundredths
    """

    month_kind: str
    month: str = ""
    kind: FeedbackKind = "nps"
    sent: int = 0
    responses: int = 0
    good: int = 0
    bad: int = 0
    scores: int = 0


class Satisfaction(Struct):
    """How satisfied customers were in a month, by what they were asked.

    month_kind: "YYYY-MM|kind"
    month: the month (UTC), "YYYY-MM"
    kind: nps, csat, review or help (how a ticket or chat was rated)
    sent: surveys sent in the month; 0 of what nobody asks for
    responses: answers given in the month, each thing once
    response_rate: responses by sent, 0-1; null when none was sent, or fewer than were answered: sendings are missing
    good: promoters (9-10) of nps; those who gave 4 or more of 5
    bad: detractors (0-6) of nps; those who gave less than 3 of 5
    mean: the mean score, 0-10 of nps, 1-5 of others; null without responses
    value: nps: promoters minus detractors, -100 to 100; others: the satisfied, 0-100 %; null without responses
    low: the lower end of its 95 % confidence interval
    high: the upper end of it
    before: the same value of the three months before, taken together; null without responses then
    trend: value minus before, in points; null while either is unknown
    trend_low: the lower end of the trend's 95 % confidence interval
    trend_high: the upper end of it: a trend whose interval holds 0 may be chance
    """

    month_kind: str
    month: str = ""
    kind: FeedbackKind = "nps"
    sent: int = 0
    responses: int = 0
    response_rate: float | None = None
    good: int = 0
    bad: int = 0
    mean: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    before: float | None = None
    trend: float | None = None
    trend_low: float | None = None
    trend_high: float | None = None


satisfaction = Aggregate("satisfaction", version=1, row=SatisfactionShare, reads=Satisfaction, of=feedback)


@satisfaction.of_row
def said(row: Feedback) -> Iterable[SatisfactionShare]:
    """What one row of feedback adds: to the month of the sending, and to that of the answer."""
    if row.sent_at is not None:
        share = _share(row.sent_at, row.kind)
        share.sent = 1
        yield share
    if row.answered_at is not None and row.score is not None:
        share = _share(row.answered_at, row.kind)
        nps = row.kind == "nps"
        share.responses = 1
        share.good = int(row.score >= (PROMOTER if nps else SATISFIED))
        share.bad = int(row.score <= DETRACTOR if nps else row.score < 3)
        share.scores = round(row.score * 100)
        yield share


@satisfaction.read
def told(shares: list[SatisfactionShare]) -> Iterable[Satisfaction]:
    """Values with their intervals, held against the three months before."""
    known = {one.month_kind: one for one in shares}
    for one in shares:
        past = _past(one, known)
        low, high = _interval(one)
        value, before = _value(one), _value(past)
        trend = None if value is None or before is None else value - before
        trend_low, trend_high = (None, None) if trend is None else _trend_interval(one, past, trend)
        yield Satisfaction(
            month_kind=one.month_kind,
            month=one.month,
            kind=one.kind,
            sent=one.sent,
            responses=one.responses,
            response_rate=one.responses / one.sent if one.sent >= one.responses and one.sent else None,
            good=one.good,
            bad=one.bad,
            mean=one.scores / 100 / one.responses if one.responses else None,
            value=value,
            low=low,
            high=high,
            before=before,
            trend=trend,
            trend_low=trend_low,
            trend_high=trend_high,
        )


def _share(moment: datetime, kind: FeedbackKind) -> SatisfactionShare:
    month = moment.astimezone(UTC).strftime("%Y-%m")
    return SatisfactionShare(f"{month}|{kind}", month, kind)


def _past(one: SatisfactionShare, known: dict[str, SatisfactionShare]) -> SatisfactionShare:
    """The months before, as if they were one."""
    past = SatisfactionShare("", kind=one.kind)
    number = int(one.month[:4]) * 12 + int(one.month[5:]) - 1
    for back in range(1, MONTHS_BEFORE + 1):
        year, month = divmod(number - back, 12)
        share = known.get(f"{year:04}-{month + 1:02}|{one.kind}")
        if share is not None:
            past.responses += share.responses
            past.good += share.good
            past.bad += share.bad
    return past


def _value(share: SatisfactionShare) -> float | None:
    if not share.responses:
        return None
    return 100.0 * (share.good - (share.bad if share.kind == "nps" else 0)) / share.responses


def _interval(share: SatisfactionShare) -> tuple[float | None, float | None]:
    value = _value(share)
    if value is None:
        return None, None
    if share.kind == "nps":
        middle, error = _adjusted_nps(share)
        return max(min(middle - Z95 * error, value), -100.0), min(max(middle + Z95 * error, value), 100.0)
    low, high = wilson(share.good, share.responses)
    return 100.0 * low, 100.0 * high


def _trend_interval(share: SatisfactionShare, past: SatisfactionShare, trend: float) -> tuple[float, float]:
    """The ends of a trend's interval, which always hold the trend itself."""
    if share.kind != "nps":
        difference = share_difference(share.good, share.responses, past.good, past.responses)
        assert difference is not None, "both have responses"
        return 100.0 * difference.low, 100.0 * difference.high
    (middle, error), (old_middle, old_error) = _adjusted_nps(share), _adjusted_nps(past)
    spread = Z95 * sqrt(error * error + old_error * old_error)
    low, high = middle - old_middle - spread, middle - old_middle + spread
    return max(min(low, trend), -200.0), min(max(high, trend), 200.0)


def _adjusted_nps(share: SatisfactionShare) -> tuple[float, float]:
    """The middle and the standard error of an NPS, in points, that a few answers of one kind do not make certain.

    The variance of answers worth 1, 0 and -1, after half of z² promoters and as many detractors are added: what A.
    Agresti and B. A. Coull, "Approximate Is Better than 'Exact' for Interval Estimation of Binomial Proportions", The
    American Statistician 52 (1998), add to a share, which this is when nobody is in between.
    """
    added = Z95 * Z95
    of = share.responses + added
    good, bad = (share.good + added / 2) / of, (share.bad + added / 2) / of
    middle = good - bad
    return 100.0 * middle, 100.0 * sqrt((good + bad - middle * middle) / of)
