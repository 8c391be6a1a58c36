"""What may enter the log, and that every fault is named with where it is."""

import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engage.events import codec
from engage.events.catalogue import CATALOGUE
from engage.events.catalogue.base import EventData, Upcaster, describe
from engage.events.catalogue.follow_up import FollowUpStarted
from engage.events.envelope import Event
from engage.events.repeated_keys import TWICE, repeated_key
from engage.events.upcasting import UpcastError, upcast
from engage.events.validation import MAX_BYTES, Fault, Refusal, check, check_event, clean

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def told(**changes):
    event = {
        "specversion": "1.0",
        "id": "e-1",
        "source": "urn:shop",
        "type": "Order Completed",
        "subject": "customer-7",
        "time": "2026-03-01T11:00:00Z",
        "data": {"order_id": "o-1", "total": 25.0, "products": [{"product_id": "p-1", "quantity": 2}]},
    }
    event |= changes
    return msgspec.json.encode({name: value for name, value in event.items() if value is not None})


def nested(levels):
    return msgspec.Raw(b"[" * levels + b"]" * levels)


def faults(value):
    refusal = check(value, NOW)
    assert isinstance(refusal, Refusal), refusal
    return {fault.pointer: fault.message for fault in refusal.faults}


def test_a_good_event_enters_as_it_is():
    event = check(told(), NOW)
    assert isinstance(event, Event)
    assert codec.open_data(event).data.products[0].quantity == 2


def test_every_fault_of_the_envelope_is_named():
    assert set(faults(told(id=None, subject=5, time="yesterday", recorded=NOW))) == {
        "/id",
        "/subject",
        "/time",
        "/recorded",
    }


def test_every_fault_of_the_data_is_named_where_it_is():
    found = faults(told(data={"total": "much", "products": [{"product_id": "p-1"}, {"product_id": 3}]}))
    assert set(found) == {"/data/order_id", "/data/total", "/data/products/1/product_id"}
    assert found["/data/order_id"] == "is missing"


@pytest.mark.parametrize(
    ("value", "reason", "words"),
    [
        (b"", "not_json", "not a JSON object"),
        (b"{", "not_json", "truncated"),
        (b"\xff\xfe", "not_json", "not a JSON object"),
        (b"[]", "envelope", "is a JSON array"),
        (b"17", "envelope", "is a JSON number"),
        (b"[" * 100_000, "not_json", "recursion depth"),
        (b'{"data":' * 50_000, "not_json", "recursion depth"),
        (told(subject="ada@example.com"), "subject", "looks like an e-mail address"),
        (told(subject=" ada@example.com "), "subject", "/subject: looks like an e-mail address"),
        (told(actor="ada@example.com"), "envelope", "/actor: looks like an e-mail address"),
        (told(contact="ada@example.com\u00a0"), "envelope", "/contact: looks like an e-mail address"),
        (told(contact="a\x00b"), "envelope", "/contact: holds a control character"),
        (told(actor="a\nb", causationid="\x07"), "envelope", "/causationid: holds a control character"),
        (told(correlationid="\x7f"), "envelope", "/correlationid: holds a control character"),
        (told().replace(b'"e-1"', b'"\\u007f"'), "envelope", "/id: holds a control character"),
        (told().replace(b'"e-1"', b'"\x07"'), "not_json", "invalid character"),
        (told(type="Robot Waved", data=nested(101)), "not_json", "/data: is nested deeper than 100 levels"),
        (told(data={"order_id": "a\x00b", "total": 1.0}), "data", "/data/order_id: holds the character U+0000"),
        (told(type="Robot Waved", data={"a": [{"b\x00": 1}]}), "data", "/data/a/0/b\x00: holds the character U+0000"),
        (told(type="Account Identified", data={"email": "sealed:ada@example.com"}), "data", "/data/email: begins with"),
        (told(type="Robot Waved", data={"undeclared": "sealed:Ada"}), "data", "/data/undeclared: begins with"),
        (told().replace(b'"o-1"', b'"\\u0073ealed:Ada"'), "data", "/data/order_id: begins with"),
        (told(subject="market:music"), "subject", "is no event of a market"),
        (told(subject="market:music", type="Robot Waved"), "subject", "is no event of a market"),
        (told(source="engage/relationships"), "reserved", "/source: sources that begin with 'engage/'"),
        (told(source="engage/demo/simulation", type="Robot Waved"), "reserved", "name your system"),
        (told(subject="partition:3"), "subject", "engage's own"),
        (told(subject="a\x00b"), "envelope", "control character"),
        (told(subject=""), "envelope", "is empty"),
        (told(time="30000-01-01T00:00:00Z"), "envelope", "is not a moment with time zone"),
        (told(time="2026-03-01T11:00:00"), "envelope", "with time zone"),
        (told(time="2026-03-01T12:06:00Z"), "in_future", "check the sender's clock"),
        (told(time="0001-01-01T00:00:00Z"), "envelope", "lies before 1970"),
        (told(data=None), "envelope", "is missing"),
        (told(data=[1]), "data", "is a JSON array"),
        (told(datacontenttype="text/xml"), "envelope", "application/json"),
        (told(dataversion=9), "version", "has version 1 here"),
        (told(type="follow_up.requested"), "reserved", "for engage itself"),
        (told(type="clock.ticked"), "reserved", "for engage itself"),
        (told(data={"x": "y" * MAX_BYTES}), "too_large", "store the rest elsewhere"),
    ],
)
def test_bad_input_is_refused_with_the_reason(value, reason, words):
    refusal = check(value, NOW)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason
    assert words in str(refusal)


def test_a_market_takes_its_own_types_and_only_what_they_declare():
    rate = {"subject": "market:rates", "type": "Exchange Rate Reported"}
    data = {"base": "USD", "quote": "EUR", "rate": 0.9}
    assert isinstance(check(told(**rate, data=data), NOW), Event)
    assert set(faults(told(**rate, data=data | {"said_by": "Ada"}))) == {"/data/said_by"}


def test_as_many_levels_as_any_reader_can_follow_may_enter():
    assert isinstance(check(told(type="Robot Waved", data=nested(100)), NOW), Event)


@pytest.mark.parametrize(
    "stamp",
    [
        {"recorded": "2026-03-01T11:00:00Z"},
        {"inboxoffset": 0},
        {"partition": 0},
        {"offset": 0},
        {"origin": "customer-8"},
        {"linkedto": "customer-8"},
        {"via": "customer-8"},
        {"retold": True},
    ],
    ids=lambda stamp: next(iter(stamp)),
)
def test_what_only_engage_may_say_of_an_event_is_taken_away(stamp):
    stamped = check(told(**stamp), NOW)
    assert isinstance(stamped, Event)
    plain = check(told(), NOW)
    assert stamped != plain
    assert clean(stamped) == plain


def test_a_text_that_only_looks_like_a_null_character_enters():
    assert isinstance(check(told(data={"order_id": r"C:\u0000", "total": 1.0}), NOW), Event)


def test_a_key_that_is_said_twice_is_refused_for_nobody_can_tell_which_was_meant():
    told_twice = told(type="Account Identified", data={"email": None}).replace(
        b'"data":{', b'"data":{"email":"ada@example.com",'
    )
    assert check(told_twice, NOW) == Refusal("data", (Fault("/data/email", TWICE),))
    event = codec.decode(told_twice)
    assert check_event(event, NOW) == Refusal("data", (Fault("/data/email", TWICE),))


NAMES = st.sampled_from(["datacontenttype", "data", "subject", "url", "a", 'a"'])
VALUES = st.sampled_from(['"datacontenttype"', '"application/json"', '"x"', "1", "null", '{"a":1}', '["\\u0022"]'])


@given(
    st.lists(st.tuples(st.sampled_from(["foo", "subject", "datacontenttype", "data", "id"]), VALUES), max_size=3),
    st.lists(st.tuples(NAMES, VALUES), max_size=4),
    st.sampled_from(["e-1", "datacontenttype", 'e"1', "data"]),
    st.sampled_from([("", ":"), (" ", ": ")]),
)
@example([("subject", '"c"')], [("datacontenttype", "1")], "e-1", ("", ":"))
def test_whatever_an_event_holds_it_is_refused_for_a_key_that_stands_twice_and_for_none_that_does_not(
    more, inside, id_, spaces
):
    space, colon = spaces

    def said(text):
        return msgspec.json.encode(text).decode()

    def written(pairs):
        return b"{" + f",{space}".join(f"{said(name)}{colon}{value}" for name, value in pairs).encode() + b"}"

    usual = msgspec.json.decode(told(type="Thing Done", id=id_, data=None))
    pairs = [(name, said(value)) for name, value in usual.items()]
    event = written([*pairs, *more, ("data", written(inside).decode())])
    twice = any(len(dict(one)) < len(one) for one in ([*pairs, *more, ("data", "")], inside))
    answer = check(event, NOW)
    if isinstance(answer, Event):
        assert not twice
    elif not twice:
        assert TWICE not in str(answer)


@pytest.mark.parametrize("unread", ["9" * 5_000, "1e400"])
def test_an_attribute_that_nobody_could_read_is_refused_though_engage_does_not_know_it(unread):
    assert check(told(foo=msgspec.Raw(unread.encode())), NOW).reason == "not_json"


@pytest.mark.parametrize("text", [r"\u0022", r"\u0000"])
def test_a_long_key_around_many_parts_takes_no_more_memory_than_they(text):
    data = b'{"%b":["",%b"%b"]}' % (b"k" * 100_000, b"1," * 4_000 + b'"%b",' % text.encode() * 1_000, text.encode())
    value = told(type="Robot Waved", data=msgspec.Raw(data))
    tracemalloc.start()
    check(value, NOW)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 10_000_000


def test_of_what_is_looked_through_for_keys_that_stand_twice_nothing_is_kept_meanwhile():
    last = rb',{"a":[[0,{"b":{}}],{"c/d":{"b":1,"b":2}}],"said":"\u0022"}]'
    text = rb'["\u0022"' + b',{"a":0}' * 30_000 + last
    shape = msgspec.json.decode(text)
    tracemalloc.start()
    assert repeated_key(text, shape) == "/30001/a/1/c~1d/b"
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 10 * len(text)


def test_a_quote_written_as_a_number_is_told_from_what_only_looks_like_one_without_another_look(monkeypatch):
    monkeypatch.setattr("engage.events.repeated_keys.json.loads", None)
    for text in (rb'["\u0022"]', rb'["\\u0022"]', rb'{"\\\u0022\u0022":"\"\u0022","\\u0022":"\\"}'):
        assert repeated_key(text, msgspec.json.decode(text)) is None


@pytest.mark.parametrize("text", [rb'{"a":1,"a":1}', rb'{"\u0022":1,"\"":1}', rb'{"\u0022":1,"\"":"\u0022"}'])
def test_of_a_long_text_it_is_said_only_that_one_stands_twice(text):
    long = b"[" * 10 + b"[]," * 400_000 + text + b"]" * 10
    assert repeated_key(long, msgspec.json.decode(long), pointer="/data") == "/data"
    assert repeated_key(text, msgspec.json.decode(text)) is not None


def test_engage_s_own_events_may_lie_ahead_of_a_clock_that_was_set_back():
    event = codec.new_event(
        FollowUpStarted(follow_up_id="f-1"),
        id="1",
        source="engage/relationships",
        subject="customer-7",
        time=NOW + timedelta(hours=1),
    )
    assert isinstance(check_event(event, NOW), Event)
    event.source = "urn:shop"
    refusal = check_event(event, NOW)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "in_future"


def test_a_clock_a_little_ahead_is_forgiven():
    assert isinstance(check(told(time=(NOW + timedelta(minutes=4)).isoformat()), NOW), Event)


def test_unknown_types_are_welcome_whatever_their_data():
    assert isinstance(check(told(type="Robot Waved", data=[1, "x"]), NOW), Event)


@given(st.binary(max_size=200))
def test_no_bytes_whatever_raise(value):
    assert isinstance(check(value, NOW), Refusal)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["specversion", "id", "source", "type", "subject", "time", "data"]), json), json)
def test_no_json_whatever_raises(changes, data):
    event = {"specversion": "1.0", "id": "e", "source": "s", "type": "Order Completed", "subject": "a", "data": data}
    event["time"] = "2026-03-01T11:00:00Z"
    assert isinstance(check(msgspec.json.encode(event | changes), NOW), Event | Refusal)


class GiftSent(EventData):
    """A gift; version 3 has its value in cents."""

    version: ClassVar[int] = 3
    upcasters: ClassVar[dict[int, Upcaster]] = {
        1: lambda data: {"value": data["amount"]},
        2: lambda data: {"cents": round(data["value"] * 100)},
    }

    cents: int


def test_old_data_is_brought_up_step_by_step():
    kind = describe(GiftSent, "gifts")
    data = upcast(kind, 1, msgspec.Raw(b'{"amount":2.5}'))
    assert kind.decode(data) == GiftSent(cents=250)


def test_data_of_the_future_is_refused_with_both_versions():
    with pytest.raises(UpcastError, match="has version 3 here, the event says version 4"):
        upcast(describe(GiftSent, "gifts"), 4, msgspec.Raw(b"{}"))


@pytest.mark.parametrize("data", [b"{}", b'{"amount":"much"}', b"[1]", b"7"])
def test_data_that_an_upcaster_cannot_take_is_refused_and_not_raised(data):
    with pytest.raises(UpcastError, match=r"its data of version [12] cannot be brought to version [23]"):
        upcast(describe(GiftSent, "gifts"), 1, msgspec.Raw(data))


def test_a_record_that_no_upcaster_can_take_is_read_raw_and_stops_no_batch(monkeypatch):
    kind = describe(GiftSent, "gifts")
    monkeypatch.setitem(CATALOGUE, kind.name, kind)
    codec.reader.cache_clear()
    try:
        event = codec.reader()(told(type=kind.name, data={"value": "much"}))
        assert isinstance(event.data, msgspec.Raw)
        refusal = check(told(type=kind.name, data={"value": "much"}), NOW)
    finally:
        codec.reader.cache_clear()
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "version"
