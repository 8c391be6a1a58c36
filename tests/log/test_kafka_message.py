"""Kafka records as CloudEvents, and as dead letters."""

from types import SimpleNamespace
from typing import Any

import pytest

from engage.events.envelope import Event
from engage.events.validation import Fault, Refusal
from engage.log.topics import MAX_RECORD_BYTES
from engage.services.kafka_message import dead_letter, read
from engage.testing.log_contract import order

ATTRIBUTES = {
    "ce_specversion": b"1.0",
    "ce_id": b"order-1",
    "ce_source": b"shop",
    "ce_type": b"Order Completed",
    "ce_subject": b"account-1",
    "ce_time": b"2026-03-01T12:00:00Z",
}


def record(value: bytes | None, headers: dict[str, Any] | None = None) -> Any:
    return SimpleNamespace(
        topic="engage.inbox",
        partition=2,
        offset=7,
        timestamp=1_772_000_000_000,
        key=b"account-1",
        value=value,
        headers=tuple((headers or {}).items()),
    )


def refused(value: bytes | None, headers: dict[str, Any] | None = None) -> Refusal:
    found = read(record(value, headers))
    assert isinstance(found, Refusal)
    return found


def test_without_any_header_a_record_is_structured_json() -> None:
    found = read(record(order(1)))
    assert isinstance(found, Event)
    assert found.id == "order-1"


def test_header_names_are_taken_in_any_case() -> None:
    headers = {name.title(): value for name, value in ATTRIBUTES.items()} | {"Content-Type": b"application/json"}
    found = read(record(b'{"order_id":"1","total":2}', headers))
    assert isinstance(found, Event)
    assert bytes(found.data) == b'{"order_id":"1","total":2}'


def test_the_version_of_the_data_is_a_number_in_binary_mode_too() -> None:
    found = read(record(b"{}", ATTRIBUTES | {"ce_dataversion": b"2"}))
    assert isinstance(found, Event)
    assert found.dataversion == 2


@pytest.mark.parametrize(
    ("value", "changes", "pointer"),
    [
        (b"{}", {"ce_subject": None}, "/subject"),
        (b"{}", {"ce_time": b"yesterday"}, "/time"),
        (b"{}", {"ce_id": b"\xff"}, "/ce_id"),
        (b'{}, "id": "other"', {}, "/data"),
        (b"not json", {}, "/data"),
        (b"", {}, "/data"),
        (None, {}, "/data"),
    ],
)
def test_each_fault_of_a_binary_record_is_pointed_at(
    value: bytes | None, changes: dict[str, bytes | None], pointer: str
) -> None:
    assert pointer in [fault.pointer for fault in refused(value, ATTRIBUTES | changes).faults]


def test_a_batch_in_one_record_is_refused_with_advice() -> None:
    refusal = refused(b"[]", {"content-type": b"application/cloudevents-batch+json"})
    assert "send each by itself" in str(refusal)


def test_a_dead_letter_keeps_the_bytes_and_says_why_and_where_from() -> None:
    refusal = Refusal("data", (Fault("/data/total", "is missing"),))
    value, headers = dead_letter(record(b"bytes", {"trace": b"t-1"}), refusal)
    assert value == b"bytes"
    assert dict(headers) == {
        "trace": b"t-1",
        "engage-reason": b"data",
        "engage-faults": b"/data/total: is missing",
        "engage-topic": b"engage.inbox",
        "engage-partition": b"2",
        "engage-offset": b"7",
    }


def test_a_dead_letter_too_large_for_its_topic_is_cut_and_says_so() -> None:
    refusal = Refusal("too_large", (Fault("", "is too large"),))
    size = MAX_RECORD_BYTES + 1
    value, headers = dead_letter(record(b"x" * size), refusal)
    assert value is not None
    assert len(value) < MAX_RECORD_BYTES
    assert dict(headers)["engage-cut-from-bytes"] == str(size).encode()
