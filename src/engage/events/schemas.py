"""JSON Schema (2020-12) of every event type, from the catalogue: what its publisher sends and its readers get.

What no schema can say (a score that fits its scale, a moment that is not too far ahead) is checked all the same.
"""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from engage.events.catalogue import RESERVED
from engage.events.catalogue.base import EventType
from engage.events.envelope import Event
from engage.events.examples import example

DIALECT = "https://json-schema.org/draft/2020-12/schema"
PERSONAL = "x-personal"
"""Marks a field that says something of a person: it is sealed before it reaches the log."""

_STAMPED = ("recorded", "inboxoffset", "origin", "linkedto", "via", "retold")
_PLACE = ("partition", "offset")
_WORDS = {
    "id": "With subject and source what makes it the same event.",
    "source": "Which system says it.",
    "subject": "The account's id, or market:<name>.",
    "time": "When it happened.",
    "contact": "The person within the account.",
    "actor": "Who did it.",
    "recorded": "When the log learned of it; engage's own stamp.",
    "origin": "Of whom it was said where the subject is somebody else: of one that was linked to it.",
    "linkedto": "To whom the subject was linked when it was recorded: there it is counted.",
    "via": "From whom it was handed on, where that is not `origin`.",
    "retold": "Whether it is told once more, because identities were linked or parted.",
}


def schema(kind: EventType) -> dict[str, Any]:
    """The schema of an event of this type, complete in itself, with examples."""
    properties, components = parts(kind, "#/$defs/{name}")
    return {
        "$schema": DIALECT,
        "$id": f"urn:engage:event:{kind.name.replace(' ', '-')}:{kind.version}",
        "title": kind.name,
        "description": inspect.getdoc(kind.data),
        **properties,
        "$defs": components,
        "x-family": kind.family,
        "x-version": kind.version,
        "x-reserved": kind.name in RESERVED,
        "examples": [example(kind), example(kind, full=False)],
    }


def parts(kind: EventType, ref_template: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keywords that describe the event, and the schemas that they refer to by ``ref_template``."""
    [data], components = msgspec.json.schema_components([kind.data], ref_template=ref_template)
    for component in components.values():
        if "description" in component:
            component["description"] = inspect.cleandoc(component["description"])
    for name in kind.personal:
        components[kind.data.__name__]["properties"][name][PERSONAL] = True
    properties: dict[str, Any] = {}
    required = []
    for field in msgspec.structs.fields(Event):
        if field.name in _PLACE:
            continue
        if field.name == "type":
            properties["type"] = {"const": kind.name}
        elif field.name == "data":
            properties["data"] = data
        elif field.name == "dataversion":
            properties["dataversion"] = {"const": kind.version, "description": "The version of the data's shape."}
        else:
            properties[field.name] = msgspec.json.schema(field.type)
            if field.name in _WORDS:
                properties[field.name]["description"] = _WORDS[field.name]
            if field.name in _STAMPED:
                properties[field.name]["readOnly"] = True
        if field.required or (field.name == "dataversion" and kind.version > 1):
            required.append(field.name)
    return {"type": "object", "required": required, "properties": properties}, components
