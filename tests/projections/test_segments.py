"""Accounts enter and leave declared segments with their events and on their day, and the log hears of it."""

from datetime import timedelta
from pkgutil import get_data
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from engage.events.catalogue.agreements import AgreementBreached, AgreementEnded, AgreementSigned
from engage.events.catalogue.commerce import OrderCancelled, OrderCompleted
from engage.events.catalogue.disputes import DisputeOpened, DisputeSettled
from engage.events.catalogue.health import HealthBandCrossed
from engage.events.catalogue.loyalty import TierReached
from engage.events.catalogue.newsletters import NewsletterOpened, NewsletterSubscribed, NewsletterUnsubscribed
from engage.events.catalogue.profile import AccountIdentified
from engage.events.catalogue.segment import SegmentEntered, SegmentLeft
from engage.events.catalogue.support import TicketOpened, TicketResolved
from engage.events.catalogue.surveys import SurveyAnswered
from engage.events.catalogue.web import PageViewed
from engage.events.envelope import Event
from engage.testing.events import happened, moment
from engage.testing.projections import Told, given
from projections.shared.segment_facts import FACTS, Membership
from projections.shared.segment_folds import CHANGES
from projections.shared.segment_language import SegmentsError, parsed
from projections.shared.segments import SHIPPED, declared, segment_sizes, segments


def order(at: str, order_id: str = "o-1", total: float = 40, **more: Any) -> Event[Any]:
    return happened(OrderCompleted(order_id=order_id, total=total), at=at, **more)


def told(text: str, *events: Event[Any]) -> Told[Membership]:
    return given(declared(parsed(text, "segments.toml"))[0], *events)


def inside(text: str, *events: Event[Any]) -> bool:
    return bool(told(f"[it]\n{text}", *events).rows["acc-1"].segments)


def test_an_account_enters_with_an_event_and_leaves_on_its_day() -> None:
    story = given(segments, order("2026-03-01")).then("acc-1", segments=["new-customer"])
    story.then_announced(SegmentEntered(segment="new-customer"))
    story.until("2026-03-30T23:59").then("acc-1", segments=["new-customer"]).then_announced()
    story.until("2026-03-31").then("acc-1", segments=[], entered={})
    story.then_announced(SegmentLeft(segment="new-customer"))


def test_nothing_happens_and_the_account_falls_asleep_and_is_lost() -> None:
    story = given(segments, order("2026-03-01")).until("2026-08-28").then("acc-1", segments=["dormant"])
    story.then("acc-1", entered={"dormant": moment("2026-08-28")})
    story.until("2027-03-02").then("acc-1", segments=["dormant", "lost"], next_at=None)
    story.when(happened(PageViewed(url="/"), at="2027-03-03")).then("acc-1", segments=["lost"])


def test_slipping_is_told_by_the_account_s_own_rhythm() -> None:
    often = [order(f"2026-01-{day:02}", f"o-{day}") for day in (1, 11, 21)]
    given(segments, *often).until("2026-02-19").then("acc-1", segments=[])
    given(segments, *often).until("2026-02-21").then("acc-1", segments=["slipping"])
    seldom = [order(f"2026-0{month}-01", f"o-{month}") for month in (1, 3, 5)]
    given(segments, *seldom).until("2026-08-01").then("acc-1", segments=[])


def test_value_falls_when_a_month_leaves_the_year() -> None:
    story = told(
        '[valued]\nall = ["value >= 100"]', order("2026-03-15", total=70), order("2026-05-15", "o-2", total=30)
    )
    story.then("acc-1", segments=["valued"]).until("2027-02-28").then("acc-1", segments=["valued"])
    story.until("2027-03-01").then("acc-1", segments=[]).then_announced(
        SegmentEntered(segment="valued"), SegmentLeft(segment="valued")
    )


def test_value_is_that_of_one_currency() -> None:
    euros = happened(OrderCompleted(order_id="o-2", total=60, currency="EUR"), at="2026-03-15")
    assert not inside('all = ["value >= 100"]', order("2026-03-15", total=60), euros)


def test_a_cancelled_order_is_no_order() -> None:
    cancelled = happened(OrderCancelled(order_id="o-1"), at="2026-03-02")
    given(segments, order("2026-03-01"), cancelled).then("acc-1", segments=[], orders=0, first_order_at=None)
    given(segments, order("2026-03-01"), order("2026-03-05", "o-2"), cancelled).then(
        "acc-1", orders=1, first_order_at=moment("2026-03-05")
    )


def test_answers_and_the_newsletter_put_accounts_into_segments() -> None:
    given(
        segments,
        happened(SurveyAnswered(survey_id="s", kind="nps", score=3), at="2026-03-01"),
        happened(NewsletterOpened(newsletter_id="n"), at="2026-03-02"),
    ).then("acc-1", segments=["detractor", "newsletter-reader"]).when(
        happened(SurveyAnswered(survey_id="s-0", kind="nps", score=10), at="2026-01-01", recorded="2026-03-03")
    ).then("acc-1", segments=["detractor", "newsletter-reader"]).when(
        happened(SurveyAnswered(survey_id="s-2", kind="nps", score=9), at="2026-03-04")
    ).then("acc-1", segments=["newsletter-reader", "promoter"])


def test_a_partner_is_at_risk_for_any_of_several_reasons() -> None:
    partner = happened(AccountIdentified(kind="supplier"), at="2026-01-01")
    opened = happened(DisputeOpened(dispute_id="d", topic="price"), at="2026-01-02")
    settled = happened(DisputeSettled(dispute_id="d"), at="2026-01-03")
    fell = HealthBandCrossed(before="steady", band="slipping", score=30, component="delivery", value=20)
    broke = AgreementBreached(agreement_id="a", term="t", measured=1, limit=2)
    given(segments, partner, opened).then("acc-1", segments=["partner-at-risk"]).when(settled).then(
        "acc-1", segments=[]
    ).when(happened(fell, at="2026-01-04")).then("acc-1", segments=["partner-at-risk"])
    given(segments, partner, happened(broke, at="2026-01-04")).until("2026-04-04").then("acc-1", segments=[])
    late = happened(DisputeOpened(dispute_id="d", topic="price"), at="2026-01-02", recorded="2026-01-05")
    given(segments, partner, settled, late).then("acc-1", segments=[])


def test_a_renewal_comes_near_and_passes() -> None:
    signed = AgreementSigned(agreement_id="a", title="supply", starts=moment("2026-01-01"), ends=moment("2026-12-31"))
    story = given(segments, happened(signed, at="2026-01-01")).then("acc-1", segments=[])
    story.until("2026-10-02").then("acc-1", segments=["renewal-ahead"])
    ended = happened(AgreementEnded(agreement_id="a"), at="2026-10-03")
    story.when(ended).then("acc-1", segments=[])
    given(segments, happened(signed, at="2026-01-01")).until("2027-01-01").then("acc-1", segments=[])


def test_what_is_unknown_meets_no_condition() -> None:
    seen = happened(PageViewed(url="/"), at="2026-03-01")
    for condition in ("kind != customer", "nps < 11", "subscribed != true", "days_since_order > 0", "tier != gold"):
        assert not inside(f'all = ["{condition}"]', seen), condition
    assert inside('all = ["orders = 0", "open_tickets < 1"]', seen)


def test_every_kind_of_fact_can_be_asked_for() -> None:
    events = [
        happened(AccountIdentified(kind="customer", country="PT", plan="pro"), at="2026-03-01"),
        happened(TierReached(tier="gold"), at="2026-03-01"),
        happened(NewsletterSubscribed(), at="2026-03-01"),
        happened(TicketOpened(ticket_id="t"), at="2026-03-01"),
    ]
    for condition in ("kind = customer", "country = PT", "plan = 'pro'", "tier = gold", "subscribed = true"):
        assert inside(f'all = ["{condition}"]', *events), condition
    assert inside('any = ["open_tickets >= 2", "open_tickets = 1"]', *events)
    closed = happened(TicketResolved(ticket_id="t"), at="2026-03-02")
    assert not inside('all = ["open_tickets = 1"]', *events, closed)
    assert not inside('all = ["subscribed = true"]', *events, happened(NewsletterUnsubscribed(), at="2026-03-02"))


def test_sizes_count_each_declared_segment_also_an_empty_one() -> None:
    given(
        segment_sizes,
        order("2026-03-01"),
        order("2026-03-01", subject="acc-2"),
        happened(AccountIdentified(kind="customer"), at="2026-03-02"),
    ).then("new-customer", accounts=2, kinds={"customer": 1, "unknown": 1}).then("valued", accounts=0, kinds={})


def test_other_definitions_are_another_version_and_other_words_are_not() -> None:
    one, words, other = (
        declared(parsed(text, "f"))[0].version
        for text in (
            '[a]\nall = ["orders > 1"]',
            '[a]\nabout = "who bought"\nall = ["orders > 1"]',
            '[a]\nall = ["orders > 2"]',
        )
    )
    assert one == words != other


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a]\nall = [", "segments.toml is not TOML"),
        (
            '[a]\nall = ["orders > 1"]\n\n[b]\nall = [\n  "orders > 1",\n  "ordrs > 1",\n]',
            "line 7, [b]: there is no fact 'ordrs': take one of kind,",
        ),
        ('[a]\nall = ["orders"]', "line 2, [a]: 'orders' is no condition: write a fact, one of = != < <= > >="),
        ('[a]\nall = ["kind = client"]', "kind is one of customer, vendor"),
        ('[a]\nall = ["kind > vendor"]', "kind is a text: compare it with = or !="),
        ('[a]\nall = ["days_since_order = 3"]', "never stands still: compare it with <, <=, > or >="),
        ('[a]\nall = ["orders > many"]', "orders is a number, up to 1e+12"),
        ('[a]\nall = ["days_since_order > 99999"]', "days_since_order is a number, up to 36500"),
        ('[a]\nall = ["subscribed = maybe"]', "subscribed is true or false"),
        ('[a]\nevery = ["orders > 1"]', "line 2, [a]: there is no 'every': take about, all, any"),
        ('[a]\nall = "orders > 1"', "line 2, [a]: all is a list of conditions"),
        ("[a]\nabout = 'nobody knows'", "line 1, [a]: says nothing of who is in it"),
        ("[A]\nall = []", "a name is made of small letters"),
        ("a = 1", "line 1, [a]: is no table"),
    ],
)
def test_a_mistake_names_its_line_and_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(SegmentsError) as error:
        parsed(text, "segments.toml")
    assert said in str(error.value)


def test_the_shipped_file_explains_every_fact() -> None:
    shipped = (get_data("projections.shared", "segments.toml") or b"").decode()
    assert [name for name in FACTS if f"#   {name}: " not in shipped] == []


def test_what_can_be_asked_for_is_what_some_event_changes() -> None:
    changed = frozenset[str]().union(*(facts for _, facts in CHANGES.values()))
    assert changed == FACTS.keys()
    assert len(SHIPPED) == 12


CONDITIONS = """
[a]
all = ["days_since_order > 3", "orders >= 2"]
any = ["days_since_seen <= 20", "gaps_since_order >= 1.5"]
[b]
all = ["value < 100", "days_since_known >= 9"]
[c]
any = ["days_since_first_order <= 30", "days_until_renewal < 12"]
[d]
all = ["days_until_renewal >= 5"]
any = ["open_tickets = 0", "open_disputes > 0"]
"""
DEFINITIONS = parsed(CONDITIONS, "segments.toml")
KINDS = st.one_of(
    st.builds(lambda name: OrderCompleted(order_id=name, total=30), st.sampled_from(["o-1", "o-2", "o-3"])),
    st.builds(lambda name: OrderCancelled(order_id=name), st.sampled_from(["o-1", "o-2", "o-3"])),
    st.just(PageViewed(url="/")),
    st.just(TicketOpened(ticket_id="t")),
    st.just(TicketResolved(ticket_id="t")),
    st.just(DisputeOpened(dispute_id="d", topic="price")),
    st.builds(
        lambda days: AgreementSigned(
            agreement_id="a", title="t", starts=moment("2026-01-01"), ends=moment("2026-01-01") + timedelta(days=days)
        ),
        st.integers(0, 90),
    ),
)
STORIES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 20), KINDS), min_size=1, max_size=15)


@for_all(STORIES, st.integers(0, 60))
def test_membership_is_at_any_time_what_a_look_at_all_conditions_says(story: list[Any], rest: int) -> None:
    now = moment("2026-01-01")
    model = given(declared(DEFINITIONS)[0])
    for days, late, data in story:
        now += timedelta(days=days, seconds=1)
        model.when(happened(data, at=now - timedelta(days=late), recorded=now))
        check(model, now)
    now += timedelta(days=rest)
    model.until(now)
    check(model, now)
    now_in = {one.segment for one in model.announced if isinstance(one, SegmentEntered)}
    assert now_in >= set(model.rows["acc-1"].segments)


def check(model: Told[Membership], now: Any) -> None:
    row = model.rows["acc-1"]
    assert row.segments == [one.name for one in DEFINITIONS if one.made()(row, now)[0]]
    assert row.entered.keys() == set(row.segments)
    assert row.next_at is None or row.next_at > now
