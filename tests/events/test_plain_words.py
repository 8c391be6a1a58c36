"""What is wrong with a value is said in words that need no knowledge of Python."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, Struct

from engage.events.plain_words import plain, plain_text


class Part(Struct, forbid_unknown_fields=True):
    size: int
    colour: Literal["red", "blue"] = "red"


class Thing(Struct):
    count: Annotated[int, Meta(ge=0, le=9)] = 0
    name: Annotated[str, Meta(min_length=1, max_length=3)] = "a"
    at: Annotated[datetime, Meta(tz=True)] | None = None
    total: float | None = None
    after: timedelta | None = None
    parts: list[Part] = []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"count": "x"}, "count: is a text, a whole number is needed: 'x'"),
        ({"count": 10}, "count: needs to be at most 9: 10"),
        ({"name": ""}, "name: is empty"),
        ({"name": "long"}, "name: needs at most 3 characters"),
        ({"name": 7}, "name: is a number, a text is needed"),
        ({"at": "x"}, "at: is not a moment with time zone such as 2026-03-01T12:00:00Z: 'x'"),
        ({"at": "2026-01-01T00:00:00"}, "at: is not a moment with time zone such as 2026-03-01T12:00:00Z: "),
        ({"total": "12"}, "total: is a text, a number is needed: '12'"),
        ({"after": "soon"}, "after: is not a span of time such as P3D: 'soon'"),
        ({"parts": [{"size": 1}, {}]}, "parts.1.size: is missing"),
        ({"parts": [{"size": 1, "colour": "pink"}]}, "parts.0.colour: is not one of blue, red: 'pink'"),
        ({"parts": [{"size": 1, "hue": 1}]}, "parts.0.hue: is not known: there are size, colour"),
        ({"parts": 3}, "parts: is a number, a list is needed"),
        ([], "is a list, an object is needed"),
    ],
)
def test_a_fault_is_said_in_words(value: Any, said: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert(value, Thing)
    assert plain_text(raised.value, value, Thing).startswith(said)


def test_a_text_is_never_quoted_for_it_may_name_a_person() -> None:
    value = {"name": "Ada Lovelace"}
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert(value, Thing)
    assert "Ada" not in plain(raised.value, value, Thing)[1]
