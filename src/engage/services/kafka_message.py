"""CloudEvents as they stand in Kafka records, structured or binary, and the dead letters of those that cannot be taken.

Kafka Protocol Binding for CloudEvents 1.0.2.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw

from engage.events import codec
from engage.events.envelope import Event, from_micros
from engage.events.validation import MAX_BYTES, Fault, Refusal, check
from engage.log.topics import MAX_RECORD_BYTES

Headers = list[tuple[str, bytes]]

_ATTRIBUTE = "ce_"
_STRUCTURED = "application/cloudevents"
_BATCH = "application/cloudevents-batch"
_SEALED_BYTES = 2 * MAX_BYTES
"""An event of ``MAX_BYTES`` grows by a third when the edge seals it before it comes here."""
_FAULTS_BYTES = 4_000

_raw = msgspec.json.Decoder(Raw).decode


def read(record: Any) -> Event[Raw] | Refusal:
    """The event in an inbox record, its envelope decoded but its meaning not yet checked; or why it is none."""
    headers = {name.lower(): value or b"" for name, value in record.headers}
    kind = headers.get("content-type", b"").decode("utf-8", "replace").lower()
    value: bytes = record.value or b""
    if kind.startswith(_BATCH):
        return _refused("content-type", "a Kafka record holds one event: send each by itself")
    if not kind.startswith(_STRUCTURED) and any(name.startswith(_ATTRIBUTE) for name in headers):
        found = _structured(headers, kind, value)
        if isinstance(found, Refusal):
            return found
        value = found
    if len(value) <= _SEALED_BYTES:
        try:
            return codec.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    refused = check(value, record_time(record))
    assert isinstance(refused, Refusal), "what does not decode is refused"
    return refused


def _structured(headers: dict[str, bytes], kind: str, data: bytes) -> bytes | Refusal:
    """Binary mode (attributes in headers, the record's value is the data) as structured JSON."""
    envelope: dict[str, Any] = {}
    try:
        for name, value in headers.items():
            if name.startswith(_ATTRIBUTE):
                envelope[name.removeprefix(_ATTRIBUTE)] = value.decode()
    except UnicodeDecodeError as error:
        return _refused(name, f"is not UTF-8: {error}")
    if envelope.get("dataversion", "").isdigit():
        envelope["dataversion"] = int(envelope["dataversion"])
    if kind:
        envelope["datacontenttype"] = kind.partition(";")[0].strip()
    if data:
        try:
            envelope["data"] = _raw(data)
        except (msgspec.DecodeError, RecursionError) as error:
            return Refusal("not_json", (Fault("/data", f"the record's value is not JSON in UTF-8: {error}"),))
    return msgspec.json.encode(envelope)


def dead_letter(record: Any, refusal: Refusal) -> tuple[bytes | None, Headers]:
    """Value and headers of the dead letter: the record's own bytes and headers, and why it is here and where it was.

    A record larger than the topics allow can only come out of a compressed batch; of that, the first bytes are kept.
    """
    headers = list(record.headers)
    value: bytes | None = record.value
    why: Headers = [
        ("engage-reason", refusal.reason.encode()),
        ("engage-faults", str(refusal).encode("utf-8", "replace")[:_FAULTS_BYTES]),
        ("engage-topic", record.topic.encode()),
        ("engage-partition", str(record.partition).encode()),
        ("engage-offset", str(record.offset).encode()),
    ]
    size = size_of(record)
    if size > MAX_RECORD_BYTES:
        return (value or b"")[:MAX_BYTES], [*why, ("engage-cut-from-bytes", str(size).encode())]
    return value, headers + why


def size_of(record: Any) -> int:
    """How many bytes a record's value and headers are."""
    return len(record.value or b"") + sum(len(name) + len(held or b"") for name, held in record.headers)


def record_time(record: Any) -> datetime:
    """When the broker appended the record."""
    return from_micros(record.timestamp * 1_000)


def _refused(where: str, message: str) -> Refusal:
    return Refusal("envelope", (Fault(f"/{where}", message),))
