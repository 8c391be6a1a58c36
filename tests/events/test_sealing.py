"""What is personal is sealed, whatever way it comes in, and opens only with the account's own key."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from engage.events.envelope import Event
from engage.events.sealing import (
    ERASED,
    AccountKey,
    SealError,
    exposed,
    new_secret,
    open_text,
    seal,
    seal_text,
    unseal,
)

KEY = AccountKey(3, new_secret())


def event(kind, data, subject="acc-1"):
    return Event(
        specversion="1.0",
        id="e",
        source="s",
        type=kind,
        subject=subject,
        time=datetime(2026, 3, 1, tzinfo=UTC),
        data=msgspec.Raw(msgspec.json.encode(data)),
    )


def sealed(kind, data):
    made = event(kind, data)
    found = exposed(made)
    return msgspec.json.decode((seal(made, found, KEY) if found else made).data)


def test_declared_personal_fields_are_sealed_one_by_one():
    data = sealed("Account Identified", {"name": "Ada", "country": "PT"})
    assert data["country"] == "PT"
    assert data["name"].startswith("sealed:3:")
    assert unseal(data, {3: KEY}, "acc-1") == {"name": "Ada", "country": "PT"}


def test_undeclared_fields_are_sealed_whole():
    data = sealed("Order Delivered", {"order_id": "o-1", "note": "for Ada", "more": [1, {"x": "Ada"}]})
    assert set(data) == {"order_id", "undeclared"}
    assert unseal(data, {3: KEY}, "acc-1") == {"order_id": "o-1", "note": "for Ada", "more": [1, {"x": "Ada"}]}


def test_undeclared_fields_deep_inside_are_sealed_as_well():
    products = [{"product_id": "p-1", "engraving": "for Ada"}, {"product_id": "p-2"}]
    data = sealed("Order Completed", {"order_id": "o-1", "total": 3, "products": products})
    assert data["products"] == [{"product_id": "p-1"}, {"product_id": "p-2"}]
    assert unseal(data, {3: KEY}, "acc-1")["products/0/engraving"] == "for Ada"


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_an_unknown_types_data_is_sealed_whole_and_opens_again(data):
    assume(data != {})  # nothing in it, nothing to seal
    shape = sealed("Robot Waved", data)
    assert set(shape) == {"undeclared"}
    plain = unseal(shape, {3: KEY}, "acc-1")
    assert plain == (data if isinstance(data, dict) else {"undeclared": data})


def test_what_is_sealed_is_not_sealed_again():
    once = sealed("Robot Waved", {"name": "Ada"})
    assert exposed(event("Robot Waved", once)) is None
    assert exposed(event("Account Identified", sealed("Account Identified", {"name": "Ada"}))) is None


@pytest.mark.parametrize("text", ["sealed:ada@example.com", "sealed:1:Ada", "sealed:x:" + "A" * 40, "sealed:"])
def test_what_only_begins_like_a_sealed_text_is_sealed(text):
    for kind, data in (("Account Identified", {"email": text}), ("Robot Waved", {"undeclared": text})):
        shape = sealed(kind, data)
        assert text not in shape.values()
        assert unseal(shape, {3: KEY}, "acc-1") == data


def test_what_somebody_made_up_reads_as_erased_and_stops_no_reader():
    made_up = "sealed:3:" + "A" * 40
    assert unseal({"email": made_up, "country": "PT"}, {3: KEY}, "acc-1") == {"email": ERASED, "country": "PT"}


def test_nothing_of_a_market_is_personal():
    assert exposed(event("Robot Waved", {"a": 1}, subject="market:music")) is None


def test_the_same_text_never_looks_the_same_twice():
    assert seal_text("Ada", KEY, "acc-1") != seal_text("Ada", KEY, "acc-1")


@given(st.text())
def test_any_text_opens_as_it_was(text):
    assert open_text(seal_text(text, KEY, "acc-1"), KEY, "acc-1") == text


def test_a_text_does_not_open_with_another_key_nor_for_another_account():
    text = seal_text("Ada", KEY, "acc-1")
    with pytest.raises(SealError, match="does not open"):
        open_text(text, AccountKey(3, new_secret()), "acc-1")
    with pytest.raises(SealError, match="does not open"):
        open_text(text, KEY, "acc-2")


def test_without_its_key_it_reads_as_erased():
    assert unseal(sealed("Account Identified", {"name": "Ada"}), {}, "acc-1") == {"name": ERASED}


def test_a_key_that_is_shown_keeps_its_secret():
    shown = (repr(KEY), str([KEY]), pretty_repr({"key": KEY}))
    assert all("generation=3" in one and "secret" not in one for one in shown)
