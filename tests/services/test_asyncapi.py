"""The AsyncAPI document is whole: every topic, every type, every reference, and payloads that fit what is sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from jsonschema import Draft7Validator

from engage.events.catalogue import CATALOGUE, RESERVED
from engage.events.examples import example
from engage.log.topics import Topics
from engage.services.asyncapi import document
from projections import PROJECTIONS

FED = [model for model in PROJECTIONS if not model.append_only]
TOPICS = Topics("shop", tuple(model.name for model in FED))
KEY = re.compile(r"[A-Za-z0-9._-]+")


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document(TOPICS, PROJECTIONS, "1")))
    return decoded


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def found(described: Any, reference: str) -> Any:
    for step in reference.removeprefix("#/").split("/"):
        described = described[step]
    return described


def test_it_has_the_form_of_asyncapi_3(described: dict[str, Any]):
    """As the specification asks; the whole of its JSON Schema was held against it when this was written."""
    assert described["asyncapi"] == "3.0.0"
    assert described["info"].keys() >= {"title", "version"}
    assert described.keys() <= {"asyncapi", "info", "defaultContentType", "channels", "operations", "components"}
    for kind in ("channels", "operations"):
        assert all(KEY.fullmatch(name) for name in described[kind])
    for part in described["components"].values():
        assert all(KEY.fullmatch(name) for name in part)
    for operation in described["operations"].values():
        assert operation["action"] in ("send", "receive")
        assert operation["channel"]["$ref"].startswith("#/channels/")


def test_every_reference_leads_somewhere(described: dict[str, Any]):
    every = set(references(described))
    assert len(every) > 300
    for reference in every:
        assert found(described, reference)


def test_two_structs_that_are_described_have_two_names():
    every = [*(kind.data for kind in CATALOGUE.values()), *(model.row for model in PROJECTIONS)]
    _, components = msgspec.json.schema_components(every)
    assert not [name for name in components if "." in name], "msgspec gives those of one name a longer one"


def test_every_topic_is_a_channel_with_what_may_be_on_it(described: dict[str, Any]):
    by_address = {channel["address"]: channel["messages"] for channel in described["channels"].values()}
    assert by_address.keys() == {TOPICS.inbox, TOPICS.interactions, *(TOPICS.view(model.name) for model in FED)}
    names = {kind.data.__name__ for kind in CATALOGUE.values()}
    assert by_address[TOPICS.interactions].keys() == names
    assert by_address[TOPICS.inbox].keys() == names - {CATALOGUE[name].data.__name__ for name in RESERVED}


def test_a_payload_is_what_a_publisher_sends(described: dict[str, Any]):
    for name in ("Order Completed", "Account Identified", "Agreement Signed"):
        message = described["components"]["messages"][CATALOGUE[name].data.__name__]
        checked = Draft7Validator({**message["payload"], "components": described["components"]})
        [shown] = message["examples"]
        checked.validate(shown["payload"])
        assert not checked.is_valid(example(CATALOGUE[name]) | {"data": 7})
