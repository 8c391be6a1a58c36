"""A record is opened as the type that the catalogue has for it today, if it can hold it at all."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, structs

from engage.events import codec
from engage.events.catalogue.commerce import OrderCompleted
from engage.events.catalogue.surveys import SurveyAnswered
from engage.events.envelope import Event
from engage.events.sealing import AccountKey, exposed, new_secret, seal
from engage.testing.events import happened, moment

KEY = AccountKey(1, new_secret())


def before_its_type(data: Any) -> Event[Raw]:
    """A survey's answer as intake kept it while the catalogue had no such type."""
    unknown = Event(
        specversion="1.0",
        id="e-1",
        source="urn:survey",
        type="Robot Waved",
        subject="acc-1",
        time=moment("2026-01-01"),
        data=Raw(msgspec.json.encode(data)),
    )
    found = exposed(unknown)
    kept = unknown if found is None else seal(unknown, found, KEY)
    return structs.replace(kept, type="Survey Answered")


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_a_record_older_than_its_type_stays_raw_whatever_is_in_it(data: Any) -> None:
    record = before_its_type(data)
    kept = record.data
    assert codec.open_data(record).data is kept
    assert type(codec.reader()(codec.encode(record)).data) is Raw


def test_a_record_of_an_older_catalogue_in_an_older_version_stays_raw_as_well() -> None:
    record = before_its_type({"score": 9})
    record.dataversion = 7
    assert type(codec.open_data(record).data) is Raw


def test_a_record_of_its_type_is_opened_with_what_it_does_not_declare_sealed_beside() -> None:
    answer = happened(SurveyAnswered(survey_id="s-1", kind="nps", score=9), at="2026-01-01")
    shape = msgspec.json.decode(codec.encode(answer.data)) | {"undeclared": "sealed:1:AAAA"}
    raw = structs.replace(answer, data=Raw(msgspec.json.encode(shape)))
    assert codec.open_data(raw).data == answer.data


def test_data_of_a_known_type_that_does_not_fit_is_a_fault() -> None:
    answer = before_its_type({})
    answer.data = Raw(b'{"survey_id":5,"undeclared":"sealed:1:AAAA"}')
    with pytest.raises(msgspec.ValidationError):
        codec.open_data(answer)


def test_many_records_are_read_as_one_by_one_whatever_is_among_them() -> None:
    good = codec.encode(happened(OrderCompleted(order_id="o-1", total=10), at="2026-03-01", subject="acc-1"))
    strange = good.replace(b'"Order Completed"', b'"Parcel Teleported"')
    wrong = good.replace(b'"total":10', b'"total":"much"')
    garbled = good.replace(b'"o-1"', b'"o-\xff"')
    assert strange != good != wrong != garbled
    values = [good, strange, strange, good, wrong, garbled, good]
    assert type(codec.read_all(values)[5].data) is Raw, "the account stands still, and no other"
    assert codec.read_all(values) == [codec.reader()(value) for value in values]
    assert codec.read_all([]) == []
    for bad in (b"{", good.replace(b"acc-1", b"\xff\xff"), good.replace(b"{", b'{"more":' + b"[" * 100_000)):
        with pytest.raises(codec.UnreadableError) as caught:
            codec.read_all([good, wrong, bad, good])
        assert caught.value.place == 2
