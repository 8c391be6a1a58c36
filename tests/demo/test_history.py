"""The demo's history: real purchases with moved dates, a plausible simulation around them, the same for everyone."""

import hashlib
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from engage.demo.history import SIMULATION, history
from engage.demo.partners import accounts
from engage.demo.people import MANAGERS, company
from engage.demo.purchases import DAYS, FILE, SOURCE, data_folder, read_customers
from engage.events import codec
from engage.events.validation import Refusal, check_event
from tests.demo.given import NOW, TODAY

SCALE = 0.05


@pytest.fixture(scope="module")
def story():
    return history(today=TODAY, now=NOW, scale=SCALE)


def data(event):
    return msgspec.json.decode(event.data)


def digest(story):
    found = hashlib.sha256()
    for event in story:
        found.update(codec.encode(event))
    return found.hexdigest()


def test_the_whole_demo_has_about_250_000_events_of_which_the_orders_are_real():
    story = history(today=TODAY, now=NOW)
    assert 235_000 <= len(story) <= 265_000
    mix = Counter(event.type for event in story)
    assert len(story) == mix.total()
    assert mix["Order Completed"] == 69_659
    assert mix["Account Identified"] == 23_570 + 40
    assert 0.3 < mix["Order Delivered"] / mix["Order Completed"] < 0.36
    assert 0.45 < mix["Consent Given"] / 23_570 < 0.55
    partners = {account for account, _ in accounts()}
    assert len(partners) == 40
    assert 9_000 <= sum(event.subject in partners for event in story) <= 12_000


def test_every_event_passes_the_check_at_the_edge(story):
    faults = [str(checked) for event in story if isinstance(checked := check_event(event, NOW), Refusal)]
    assert faults == []


def test_every_event_type_of_the_demo_is_in_the_catalogue(story):
    for event in story:
        codec.open_data(event)


def test_events_come_in_the_order_of_time_and_ties_by_source_and_id(story):
    keys = [(event.time, event.source, event.id) for event in story]
    assert keys == sorted(keys)
    assert all(time <= NOW for time, _, _ in keys)


def test_no_event_has_the_identity_of_another(story):
    assert max(Counter(event.identity for event in story).values()) == 1


def test_the_same_arguments_give_the_same_bytes(story):
    assert digest(story) == digest(history(today=TODAY, now=NOW, scale=SCALE))
    assert digest(story) != digest(history(today=TODAY, now=NOW, scale=SCALE, seed=2))


def test_another_day_moves_the_dates_and_keeps_the_ids(story):
    week_later = history(today=TODAY + timedelta(days=7), now=NOW + timedelta(days=7), scale=SCALE)
    for before, after in zip(story, week_later, strict=True):
        assert (before.identity, before.type) == (after.identity, after.type)
        assert after.time - before.time == timedelta(days=7)


def test_a_small_demo_is_a_part_of_the_whole(story):
    whole = {event.identity: event for event in history(today=TODAY, now=NOW)}
    assert all(whole[event.identity] == event for event in story)
    customers = {event.subject for event in story if event.source == SOURCE}
    assert 0.04 < len(customers) / 23_570 < 0.06


def test_orders_are_the_lines_of_the_file_on_their_moved_days(story):
    shift = TODAY - date(1998, 6, 30)
    real = {
        f"cdnow_master.txt:{purchase.line}": (customer, purchase)
        for customer, purchases in read_customers(data_folder() / FILE)
        for purchase in purchases
    }
    assert len(real) == 69_659
    orders = [event for event in story if event.source == SOURCE]
    assert orders
    for event in orders:
        customer, purchase = real[event.id]
        assert event.subject == f"cdnow-{customer}"
        assert event.time.date() == date(1997, 1, 1) + timedelta(days=purchase.day) + shift
        assert data(event)["total"] == purchase.cents / 100
        assert data(event)["order_id"] == event.id


def test_what_is_not_real_is_labelled_as_simulated(story):
    assert {event.source for event in story} == {SOURCE, SIMULATION}
    assert all((event.source == SOURCE) == (event.type == "Order Completed") for event in story)


def test_nobody_acts_before_their_first_order(story):
    seen = set()
    for event in story:
        if event.type == "Order Completed":
            seen.add(event.subject)
        elif event.subject.startswith("cdnow-"):
            assert event.subject in seen, event


def test_attention_fades_with_the_time_since_the_last_purchase():
    last, read = {}, {True: Counter(), False: Counter()}
    for event in history(today=TODAY, now=NOW, scale=0.2):
        if event.type == "Order Completed":
            last[event.subject] = event.time
        elif event.type in ("Newsletter Sent", "Newsletter Opened"):
            read[event.time - last[event.subject] < timedelta(days=60)][event.type] += 1
    fresh, faded = (read[recent]["Newsletter Opened"] / read[recent]["Newsletter Sent"] for recent in (True, False))
    assert fresh > 1.5 * faded


def test_some_suppliers_begin_to_slip():
    late = {True: Counter(), False: Counter()}
    for event in history(today=TODAY, now=NOW, scale=0.3):
        if event.type == "Delivery Received" and event.subject == "supplier-01":
            in_last_months = event.time > NOW - timedelta(days=60)
            late[in_last_months][data(event)["received"] > data(event)["promised"]] += 1
    now, before = (late[recent][True] / late[recent].total() for recent in (True, False))
    assert now > 0.4 > 0.2 > before


def test_renewals_fall_due_in_the_history_and_soon_after_today():
    story = list(history(today=TODAY, now=NOW))
    ends = {}
    for event in story:
        if event.type in ("Agreement Signed", "Agreement Renewed"):
            ends[event.subject, data(event)["agreement_id"]] = datetime.fromisoformat(data(event)["ends"])
    soon = [end for end in ends.values() if NOW < end < NOW + timedelta(days=90)]
    assert len(soon) >= 8
    assert Counter(event.type for event in story)["Agreement Renewed"] >= 30


def test_days_give_every_day_once_and_all_events_in_order(story):
    days = list(story.days())
    assert len(days) == DAYS
    assert days[0][0] == datetime(2024, 9, 12, tzinfo=UTC)
    assert days[-1][0] == NOW
    assert [event for _, events in days for event in events] == list(story)
    for end, events in days:
        assert all(end - timedelta(days=1) <= event.time <= end for event in events)


def test_days_can_be_skipped_and_counted(story):
    days = list(story.days())
    assert list(story.days(skip=500)) == days[500:]
    assert story.before(500) == sum(len(events) for _, events in days[:500])
    assert story.before(DAYS) == len(story)
    assert list(story.days(skip=DAYS)) == []


def test_a_day_that_has_only_begun_holds_its_events_already():
    moment = datetime(2026, 3, 10, 0, 0, 1, tzinfo=UTC)
    end, events = list(history(today=TODAY, now=moment, scale=SCALE).days())[-1]
    assert end == moment
    assert events
    assert all(event.time <= moment for event in events)


def test_a_last_day_ahead_of_now_is_refused():
    with pytest.raises(ValueError, match="take an earlier day"):
        history(today=TODAY + timedelta(days=1), now=NOW)


def test_partners_are_forty_with_a_name_of_their_own_and_few_are_one_of_each_kind():
    everyone = accounts()
    assert len({company(int(account[-2:]), kind) for account, kind in everyone}) == 40
    assert {kind for _, kind in accounts(0.01)} == {"supplier", "vendor", "distributor", "partner"}


def test_every_account_is_introduced_with_a_kind_and_a_manager(story):
    introduced = {event.subject: data(event) for event in story if event.type == "Account Identified"}
    assert introduced.keys() == {event.subject for event in story}
    assert {told["manager"] for told in introduced.values()} == set(MANAGERS)
    assert all(told["email"].endswith((".example", "@example.com")) for told in introduced.values())
