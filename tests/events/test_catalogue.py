"""The catalogue holds every family, each type travels unchanged, and wrong data is refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from engage.events.catalogue import BY_CLASS, CATALOGUE, FAMILIES
from engage.events.catalogue.base import EventData, EventType
from engage.events.catalogue.surveys import SurveyAnswered
from engage.events.examples import example_data

ALL = [pytest.param(entry, id=name) for name, entry in CATALOGUE.items()]

START = datetime(2026, 3, 1, tzinfo=UTC)


def fields_of(struct: type[Any]) -> tuple[inspect.Field, ...]:
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return info.fields


def personal(kind: object) -> bool:
    """Whether ``kind`` or anything inside it is personal."""
    if isinstance(kind, inspect.Metadata) and (kind.extra or {}).get("personal"):
        return True
    if isinstance(kind, inspect.StructType):
        return any(personal(field.type) for field in kind.fields)
    if isinstance(kind, msgspec.Struct):
        parts = [getattr(kind, name) for name in kind.__struct_fields__]
        return any(personal(one) for part in parts for one in (part if isinstance(part, tuple) else (part,)))
    return False


def test_every_family_of_the_design_is_there() -> None:
    named = {side: {module.__name__.rpartition(".")[2] for module in modules} for side, modules in FAMILIES.items()}
    assert named == {
        "customers": {
            *("commerce", "newsletters", "conversations", "advertising", "video", "tutorials", "surveys", "support"),
            *("loyalty", "consent", "profile", "web"),
        },
        "partners": {
            *("agreements", "deliveries", "service_levels", "disputes", "negotiations", "deals", "invoices"),
            "training",
        },
        "market": {"market"},
        "ours": {
            "account",
            "clock",
            "command",
            "cross_sell",
            "dead_letter",
            "follow_up",
            "health",
            "identity",
            "rule",
            "segment",
            "term",
        },
    }
    assert {entry.family for entry in CATALOGUE.values()} == set().union(*named.values())


def test_every_type_that_is_declared_is_catalogued() -> None:
    ours = {data for data in EventData.__subclasses__() if data.__module__.startswith("engage.")}
    assert ours == set(BY_CLASS)


@pytest.mark.parametrize("entry", ALL)
@pytest.mark.parametrize("full", [False, True], ids=["smallest", "full"])
def test_a_type_travels_unchanged(entry: EventType, full: bool) -> None:
    data = example_data(entry, full=full)
    decoded = entry.decode(msgspec.json.encode(data))
    assert type(decoded) is entry.data
    assert entry.decode(msgspec.json.encode(decoded)) == decoded
    for name, value in data.items():
        assert msgspec.json.decode(msgspec.json.encode(getattr(decoded, name))) == value


@pytest.mark.parametrize("entry", ALL)
def test_what_a_type_requires_cannot_be_left_out(entry: EventType) -> None:
    data = example_data(entry, full=True)
    for field in fields_of(entry.data):
        if field.required:
            with pytest.raises(msgspec.ValidationError, match=field.encode_name):
                entry.decode(msgspec.json.encode({k: v for k, v in data.items() if k != field.encode_name}))


@pytest.mark.parametrize("entry", ALL)
def test_a_personal_field_is_optional_and_at_the_top(entry: EventType) -> None:
    for field in fields_of(entry.data):
        if field.encode_name in entry.personal:
            assert isinstance(field.type, inspect.UnionType)
            assert {type(one) for one in field.type.types} == {inspect.Metadata, inspect.NoneType}
            assert not field.required
            assert field.default is None
        else:
            assert not personal(field.type), f"{field.name} hides something personal that would not be sealed"


@pytest.mark.parametrize("name", ["name", "email", "phone", "address", "birthday", "comment", "note", "notes"])
def test_what_says_something_of_a_person_is_declared_personal(name: str) -> None:
    # A product, a promotion and a screen have names that are no person's.
    nameless = {"Product Viewed", "Product Added", "Product Added to Wishlist", "Screen Viewed"}
    nameless |= {"Promotion Viewed", "Promotion Clicked"}
    holders = [
        one for one in CATALOGUE.values() if name in one.fields and not (name == "name" and one.name in nameless)
    ]
    assert holders
    assert [one.name for one in holders if name not in one.personal] == []


@pytest.mark.parametrize("entry", ALL)
def test_a_type_says_what_happened_and_its_name_is_its_class(entry: EventType) -> None:
    doc = entry.data.__doc__
    assert doc and doc != EventData.__doc__
    assert doc.splitlines()[0].endswith("."), "the first line is one whole sentence"
    ours = entry.family in {module.__name__.rpartition(".")[2] for module in FAMILIES["ours"]}
    form = r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*" if ours else r"[A-Z][a-z]+( ([A-Z][a-z]+|to))+"
    assert re.fullmatch(form, entry.name)
    assert re.sub(r"[ ._]", "", entry.name).lower() == entry.data.__name__.lower()


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("Survey Answered", {"kind": "nps", "score": 11}, "<= 10"),
        ("Survey Answered", {"kind": "csat", "score": 0}, "a score of csat is 1-5, not 0"),
        ("Survey Answered", {"kind": "csat", "score": 6}, "a score of csat is 1-5, not 6"),
        ("Survey Answered", {"kind": "ces"}, "Invalid enum value 'ces'"),
        ("Order Completed", {"currency": "euro"}, "currency"),
        ("Order Completed", {"total": "12.50"}, "Expected `float`"),
        ("Order Completed", {"order_id": ""}, "length >= 1"),
        ("Order Completed", {"products": [{"product_id": "p-1", "quantity": -1}]}, r"products\[0\].quantity"),
        ("Checkout Started", {"order_id": None, "cart_id": None}, "needs an order_id or a cart_id"),
        ("Review Posted", {"rating": 0}, ">= 1"),
        ("Ticket Opened", {"priority": "asap"}, "Invalid enum value 'asap'"),
        ("Ticket Rated", {"score": 6}, "<= 5"),
        ("Consent Given", {"purpose": "profiling"}, "Invalid enum value"),
        ("Consent Withdrawn", {"channel": ""}, "length >= 1"),
        ("Account Identified", {"country": "Portugal"}, "country"),
        ("Account Identified", {"kind": "competitor"}, "Invalid enum value"),
        ("Video Progressed", {"position": -1}, ">= 0"),
        ("Tutorial Step Completed", {"step": 0}, ">= 1"),
        ("Agreement Signed", {"ends": "2025-01-01T00:00:00Z"}, "ends before it starts"),
        ("Agreement Signed", {"starts": "2026-03-01T00:00:00"}, "timezone"),
        ("Campaign Spend Reported", {"ends": "2025-01-01T00:00:00Z"}, "ends before it starts"),
        ("Service Level Measured", {"ends": "2025-01-01T00:00:00Z"}, "ends before it starts"),
        ("Quality Inspected", {"inspected": 10, "defective": 11}, "11 defective pieces are more than the 10 inspected"),
        ("Invoice Issued", {"direction": "in"}, "Invalid enum value"),
        ("Exchange Rate Reported", {"rate": 0}, "> 0"),
    ],
)
def test_wrong_values_are_refused_with_the_reason(name: str, wrong: dict[str, Any], message: str) -> None:
    entry = CATALOGUE[name]
    data = example_data(entry, full=True)
    entry.decode(msgspec.json.encode(data))
    with pytest.raises(msgspec.ValidationError, match=message):
        entry.decode(msgspec.json.encode(data | wrong))


def test_each_kind_of_survey_takes_its_whole_scale() -> None:
    nps = [SurveyAnswered(survey_id="s-1", kind="nps", score=score) for score in range(11)]
    csat = [SurveyAnswered(survey_id="s-1", kind="csat", score=score) for score in range(1, 6)]
    assert [answer.score for answer in nps + csat] == [*range(11), *range(1, 6)]


def test_a_moment_of_any_offset_stays_the_same_moment() -> None:
    entry = CATALOGUE["Agreement Renewed"]
    renewed: Any = entry.decode(b'{"agreement_id": "a-1", "ends": "2026-03-01T01:00:00+01:00"}')
    assert renewed.ends == START
    assert renewed.ends.utcoffset() == timedelta(hours=1)
