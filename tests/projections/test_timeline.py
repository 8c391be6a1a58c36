"""The timeline tells each event of an account, in few words, and names nobody."""

from msgspec import Raw, structs, to_builtins

from engage.events.catalogue import CATALOGUE
from engage.events.catalogue.clock import ClockTicked
from engage.events.catalogue.commerce import OrderCompleted, OrderRefunded
from engage.events.catalogue.loyalty import PointsExpired
from engage.events.envelope import Event
from engage.testing.events import happened, moment
from engage.testing.projections import given
from projections.shared.summaries import SUMMARIES
from projections.shared.timeline import timeline
from tests.projections.samples import sample


def test_an_event_is_told_where_it_stands_in_the_log() -> None:
    event = happened(
        OrderCompleted(order_id="o-1", total=1211.77),
        at="2026-01-01",
        recorded="2026-01-02",
        partition=2,
        offset=7,
        contact="c-9",
    )
    [entry] = given(timeline, event).rows.values()
    assert (entry.entry, entry.account, entry.partition, entry.offset) == ("2:7", "acc-1", 2, 7)
    assert (entry.time, entry.recorded) == (moment("2026-01-01"), moment("2026-01-02"))
    assert (entry.type, entry.family, entry.event_id, entry.contact) == ("Order Completed", "commerce", event.id, "c-9")
    assert entry.summary == "Order o-1 completed: 1,211.77 USD"


def test_each_event_is_an_entry_of_its_own() -> None:
    events = [happened(OrderCompleted(order_id="o-1", total=1.0), at="2026-01-01", offset=n) for n in range(3)]
    assert list(given(timeline, *events).rows) == ["0:0", "0:1", "0:2"]


def test_a_refund_says_why() -> None:
    event = happened(OrderRefunded(order_id="o-1", total=5.0, currency="EUR", reason="damaged"), at="2026-01-01")
    [entry] = given(timeline, event).rows.values()
    assert entry.summary == "Order o-1 refunded: 5.00 EUR (damaged)"


def test_a_type_nobody_knows_is_told_by_its_name_and_not_read() -> None:
    event = Event(
        specversion="1.0",
        id="e-1",
        source="test",
        type="Harp Tuned",
        subject="acc-1",
        time=moment("2026-01-01"),
        recorded=moment("2026-01-01"),
        data=Raw(b'{"by":"Ann"}'),
        partition=0,
        offset=0,
    )
    [entry] = given(timeline, event).rows.values()
    assert (entry.summary, entry.family) == ("Harp Tuned", None)


def test_a_record_older_than_its_type_is_told_by_its_name() -> None:
    old = structs.replace(
        happened(OrderCompleted(order_id="o-1", total=1.0), at="2026-01-01", offset=0),
        data=Raw(b'{"undeclared":"sealed:1:AAAA"}'),
    )
    [entry] = given(timeline, old).rows.values()
    assert (entry.summary, entry.family) == ("Order Completed", "commerce")


def test_a_known_type_without_words_is_told_by_its_name() -> None:
    [entry] = given(timeline, happened(PointsExpired(points=5), at="2026-01-01", offset=0)).rows.values()
    assert (entry.summary, entry.family) == ("Points Expired", "loyalty")


def test_the_clock_is_on_nobodys_timeline() -> None:
    tick = ClockTicked(partition=0, until=moment("2026-01-01"))
    assert given(timeline, happened(tick, at="2026-01-01", subject="partition:0")).rows == {}


def test_no_summary_repeats_a_personal_field() -> None:
    for kind, summary in SUMMARIES.items():
        for bare in (True, False):
            said = summary(sample(kind, bare=bare))
            assert said
            assert "PERSONAL" not in said, kind
            assert "None" not in said, kind


def test_samples_do_fill_personal_fields() -> None:
    personal = [entry for entry in CATALOGUE.values() if entry.personal]
    assert personal
    for entry in personal:
        filled = to_builtins(sample(entry.data, bare=False))
        assert all("PERSONAL" in filled[name] for name in entry.personal)
