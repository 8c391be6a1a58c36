"""What a webhook says: the event as it stands on the log, and of what is personal only what was declared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Raw

from engage.events.envelope import Event
from engage.events.named_ids import named_id
from engage.events.sealing import AccountKey, is_sealed, unseal
from engage.store.reader import Changed
from engage.views.projection import ReadModel

VIEW_CHANGED = "view.changed"
TEST = "webhook.test"
_NAMESPACE = UUID("b1f2a8f4-9f0e-5c0e-8a55-6f0c8a0f6f11").bytes
_INSIDE = ("partition", "offset", "inboxoffset", "dataversion")
"""Where it stands in the log and in which shape: engage's own affair."""

Keys = Callable[[str], Mapping[int, AccountKey]]

_encode = msgspec.json.Encoder(order="deterministic").encode


def message_id(*parts: str) -> str:
    """The webhook-id: the same however often the same thing is told."""
    return f"msg_{named_id(_NAMESPACE, msgspec.json.encode(parts).decode())}"


def of_event(event: Event[Raw]) -> str:
    """The webhook-id of an event."""
    return message_id(*event.identity)


def of_change(model: ReadModel[Any], epoch: str, partition: int, changed: Changed, now: datetime) -> tuple[str, bytes]:
    """The webhook-id of a row's change, and what is said of it; ``row`` is null where it is gone."""
    key, row, change, position = changed
    columns = {} if row is None else msgspec.structs.asdict(row)
    identity = message_id(model.name, epoch, str(partition), str(change), key)
    data = {
        "view": model.name,
        "version": model.version,
        "key": key,
        "change": change,
        "position": position,
        "row": None if row is None else columns,
    }
    value = {
        "specversion": "1.0",
        "id": identity,
        "source": "engage/views",
        "type": VIEW_CHANGED,
        "subject": columns.get("account") or key,
        "time": now,
        "data": data,
    }
    return identity, _encode(value)


def body(value: bytes, in_clear: tuple[str, ...], keys: Keys) -> bytes:
    """The JSON to send: a CloudEvent, with ``timestamp`` beside it as Standard Webhooks has it.

    Sealed fields are left out, but those named ``in_clear``, which are opened with ``keys`` of the account; what cannot
    be opened any more reads ``[erased]``.
    """
    said: dict[str, Any] = msgspec.json.decode(value)
    data = said.get("data")
    if isinstance(data, dict):
        opened = {name: data[name] for name in in_clear if is_sealed(data.get(name))}
        plain = {name: entry for name, entry in data.items() if not is_sealed(entry)}
        said["data"] = plain | (unseal(opened, keys(said["subject"]), said["subject"]) if opened else {})
    for name in _INSIDE:
        said.pop(name, None)
    said.setdefault("timestamp", said.get("recorded") or said["time"])
    return _encode(said)
