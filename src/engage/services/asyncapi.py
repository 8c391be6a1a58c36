"""The AsyncAPI 3 document: which topics there are, who writes and reads them, and what an event of each type holds.

Where the log is embedded there are no topics: the same events come by HTTP and stand in the same order.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import msgspec

from engage.events.catalogue import CATALOGUE, RESERVED
from engage.events.catalogue.base import EventType
from engage.events.examples import example
from engage.events.schemas import parts
from engage.log.topics import Topics
from engage.views.projection import ReadModel

CLOUDEVENT = "application/cloudevents+json"
_REF = "#/components/schemas/{name}"
_ABOUT = """Events in, read models out. Upstream systems write CloudEvents to the inbox (or send them by HTTP); intake
checks, de-duplicates, seals and stamps them onto the log, which everybody reads with `isolation.level=read_committed`.
Fields marked `x-personal` are sealed there."""
_KEYED = {"type": "string", "description": "The account's id: all of an account is in one partition, in order."}


def document(topics: Topics, models: Sequence[ReadModel[Any]], version: str) -> dict[str, Any]:
    """The whole document, for topics of these names and the changes of these read models."""
    messages: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for kind in CATALOGUE.values():
        name = kind.data.__name__
        shape, components = parts(kind, _REF)
        schemas |= components
        schemas[f"{name}Event"] = shape
        messages[name] = _event_message(kind)
    fed = [model for model in models if not model.append_only]
    for model in fed:
        [row], components = msgspec.json.schema_components([model.row], ref_template=_REF)
        schemas |= components
        schemas[f"{model.name}.change"] = _change(model, row)
        messages[f"{model.name}.change"] = _change_message(model)
    public = [kind.data.__name__ for kind in CATALOGUE.values() if kind.name not in RESERVED]
    every = [kind.data.__name__ for kind in CATALOGUE.values()]
    channels = {
        "inbox": _channel(topics.inbox, "Where events arrive.", public),
        "interactions": _channel(topics.interactions, "The log: what happened, was decided and came of it.", every),
        **{
            f"view-{model.name}": _channel(
                topics.view(model.name), f"Changes of the read model {model.name}.", [f"{model.name}.change"]
            )
            for model in fed
        },
    }
    operations = {
        "publish": _operation("receive", "inbox", "Send engage what happened."),
        "follow": _operation("send", "interactions", "Follow the log."),
        **{f"follow-{one.name}": _operation("send", f"view-{one.name}", f"Follow {one.name}.") for one in fed},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "engage", "version": version, "description": _ABOUT},
        "defaultContentType": CLOUDEVENT,
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


def _event_message(kind: EventType) -> dict[str, Any]:
    description = inspect.getdoc(kind.data) or ""
    return {
        "name": kind.name,
        "title": kind.name,
        "summary": description.partition("\n")[0],
        "contentType": CLOUDEVENT,
        "payload": {"$ref": _REF.format(name=f"{kind.data.__name__}Event")},
        "bindings": {"kafka": {"key": _KEYED}},
        "examples": [{"name": kind.name, "payload": example(kind)}],
        "x-family": kind.family,
        "x-version": kind.version,
    }


def _change(model: ReadModel[Any], row: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["view", "version", "key", "account", "change", "position", "row"],
        "properties": {
            "view": {"const": model.name},
            "version": {"const": model.version},
            "key": {"type": "string", "description": "Which row."},
            "account": {"type": ["string", "null"], "description": "Whose row; null where it is nobody's."},
            "change": {"type": "integer", "description": "Grows with every change of the view's partition."},
            "position": {"type": "integer", "description": "How far into the log's partition the view had come."},
            "row": row,
        },
    }


def _change_message(model: ReadModel[Any]) -> dict[str, Any]:
    name = f"{model.name}.change"
    return {
        "name": name,
        "title": f"{model.name} changed",
        "summary": "The newest row of a key; no value (a tombstone) where it is gone.",
        "contentType": "application/json",
        "payload": {"$ref": _REF.format(name=name)},
        "x-version": model.version,
    }


def _channel(address: str, description: str, messages: Sequence[str]) -> dict[str, Any]:
    return {
        "address": address,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"kafka": {"topic": address}},
    }


def _operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}
