"""The schemas say what the edge says: of real events, of mended and of spoiled ones, of every type."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import cache
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from engage.demo.history import history
from engage.events import codec
from engage.events.catalogue import CATALOGUE, RESERVED
from engage.events.catalogue.base import EventType
from engage.events.envelope import Event
from engage.events.examples import example
from engage.events.schemas import DIALECT, schema
from engage.events.validation import check

NOW = datetime(2026, 3, 10, 14, tzinfo=UTC)
PUBLIC = [pytest.param(kind, id=name) for name, kind in CATALOGUE.items() if name not in RESERVED]


@cache
def validator(name: str) -> Draft202012Validator:
    described = schema(CATALOGUE[name])
    Draft202012Validator.check_schema(described)
    return Draft202012Validator(described)


def is_taken(shape: dict[str, Any]) -> bool:
    return isinstance(check(msgspec.json.encode(shape), NOW), Event)


def spoiled(kind: EventType) -> list[dict[str, Any]]:
    """The example, wrong in one way each: an attribute or a required field missing, or of another type."""
    good = example(kind)
    found = [{name: value for name, value in good.items() if name != left} for left in ("id", "subject", "time")]
    found += [good | {"data": []}, good | {"source": 7}, good | {"id": ""}]
    required = schema(kind)["$defs"][kind.data.__name__].get("required", ())
    found += [good | {"data": {name: one for name, one in good["data"].items() if name != left}} for left in required]
    found += [good | {"data": good["data"] | {name: {"odd": True}}} for name in good["data"] if name != "metadata"]
    return found


@pytest.mark.parametrize("kind", PUBLIC)
def test_an_example_of_a_type_is_taken_and_one_that_is_spoiled_is_not(kind: EventType):
    check_by_schema = validator(kind.name)
    for good in (example(kind), example(kind, full=False)):
        check_by_schema.validate(good)
        assert is_taken(good)
    for bad in spoiled(kind):
        assert check_by_schema.is_valid(bad) == is_taken(bad) is False, bad


def test_what_the_demo_company_publishes_fits_its_schemas():
    seen: dict[str, int] = {}
    for event in history(today=date(2026, 3, 10), now=NOW, scale=0.002):
        if seen.setdefault(event.type, 0) < 5:
            seen[event.type] += 1
            validator(event.type).validate(msgspec.json.decode(codec.encode(event)))
    assert len(seen) > 50


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_what_engage_says_itself_has_a_schema_and_examples_too(name: str):
    described = schema(CATALOGUE[name])
    assert described["x-reserved"]
    for one in described["examples"]:
        validator(name).validate(one)


def test_a_schema_says_its_version_and_marks_what_is_personal():
    for kind in CATALOGUE.values():
        described = schema(kind)
        assert (described["$schema"], described["x-version"]) == (DIALECT, kind.version)
        fields = described["$defs"][kind.data.__name__]["properties"]
        assert {name for name, one in fields.items() if one.get("x-personal")} == kind.personal
    assert "email" in CATALOGUE["Account Identified"].personal
