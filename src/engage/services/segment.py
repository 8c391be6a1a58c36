"""Segment messages to events, so that a shop that already speaks Segment's protocol needs nothing new.

Field names and meanings: Segment's specification of identify, track, group, page, screen, alias and batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from engage.events.catalogue import CATALOGUE, RESERVED, type_of
from engage.events.catalogue.profile import AccountAliased, AccountGrouped, AccountIdentified
from engage.events.catalogue.web import PageViewed, ScreenViewed
from engage.events.validation import Fault

SOURCE = "urn:segment"
ANONYMOUS = "anonymous:"
"""Before an anonymousId where there is no userId yet."""

TIMES = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")
"""Where a message says when it happened, the best first."""

Shape = dict[str, Any]


def is_message(kind: object, batch: object = msgspec.UNSET) -> bool:
    """Whether an object with this ``type`` and ``batch`` is meant as a Segment message."""
    return (isinstance(kind, str) and kind in _KINDS) or batch is not msgspec.UNSET


def to_events(message: Shape, source: str = SOURCE) -> Iterator[bytes | Fault]:
    """CloudEvents JSON for a message, or for each one in a batch; a fault with a JSON pointer for what is none.

    ``source`` is what the events name as theirs. ``subject`` is the userId, or ``anonymous:`` and the anonymousId;
    ``id`` is the messageId, ``time`` the timestamp. Data stay as they were sent, so that the catalogue's check speaks;
    nulls and empty texts are left out, because Segment's libraries send them for what they do not know.
    """
    if "batch" not in message:
        yield _event(message, {}, "", source)
        return
    batch = message["batch"]
    if not isinstance(batch, list):
        yield Fault("/batch", "is not an array of messages")
        return
    for at, item in enumerate(batch):
        pointer = f"/batch/{at}"
        if isinstance(item, Fault):  # nobody could read it
            yield Fault(pointer, item.message)
        elif isinstance(item, dict):
            yield _event(item, message, pointer, source)
        else:
            yield Fault(pointer, "is not an object")


def link_in(message: Shape) -> tuple[str, str] | None:
    """Which visitor turns out to be which account by a message that is no batch: ``(visitor, account)``; None if none.

    An ``identify`` that names both ids says so, and an ``alias``; only anonymous visitors are linked by them.
    """
    if message.get("type") not in _LINKING or message.get("userId") in (None, ""):
        return None
    visitor = message.get("anonymousId" if message["type"] == "identify" else "previousId")
    if not isinstance(visitor, str) or not visitor:
        return None
    return f"{ANONYMOUS}{visitor.removeprefix(ANONYMOUS)}", str(message["userId"])


_LINKING = ("identify", "alias")


def _event(message: Shape, batch: Shape, pointer: str, source: str) -> bytes | Fault:
    kind = message.get("type")
    if not isinstance(kind, str) or kind not in _KINDS:
        return Fault(f"{pointer}/type", f"is {kind!r}: Segment knows {', '.join(_KINDS)}")
    if (misfit := _misfit(message)) is not None:
        return Fault(pointer + misfit.pointer, misfit.message)
    if not message.get("messageId"):
        return Fault(f"{pointer}/messageId", "is missing: without it a repeated message would be counted twice")
    subject = _subject(message)
    if subject is None:
        return Fault(f"{pointer}/userId", "is missing, and so is anonymousId: nobody can tell whose event this is")
    time = next((moment for name in TIMES if (moment := message.get(name) or batch.get(name))), None)
    if time is None:
        return Fault(f"{pointer}/timestamp", "is missing: say when it happened")
    context = _object(message, "context") or _object(batch, "context")
    made = _KINDS[kind](message, context)
    if isinstance(made, Fault):
        return Fault(pointer + made.pointer, made.message)
    name, data = made
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": message["messageId"],
            "source": source,
            "type": name,
            "subject": subject,
            "time": time,
            "data": _lean(data),
        }
    )


Made = tuple[str, Shape] | Fault


def _track(message: Shape, context: Shape) -> Made:
    name = message.get("event")
    if not isinstance(name, str) or not name.strip():
        return Fault("/event", "is missing: what was tracked?")
    return _CATALOGUED.get(_letters(name), name.strip()), _object(message, "properties")


def _letters(name: str) -> str:
    return "".join(letter for letter in name if letter.isalnum()).casefold()


_CATALOGUED = {_letters(name): name for name in CATALOGUE if name not in RESERVED}
"""The catalogue's names by what they read like: ``order_completed`` and ``OrderCompleted`` are Order Completed."""


def _identify(message: Shape, context: Shape) -> Made:
    traits = dict(_object(message, "traits"))
    if not traits.get("name"):
        parts = [traits.get(given) or traits.get(snake) for given, snake in _NAMES]
        traits["name"] = " ".join(part for part in parts if isinstance(part, str))
    if isinstance(traits.get("address"), dict):
        traits["address"] = ", ".join(str(part) for part in traits["address"].values() if part)
    traits.setdefault("time_zone", context.get("timezone"))
    return type_of(AccountIdentified), traits


_NAMES = (("firstName", "first_name"), ("lastName", "last_name"))


def _group(message: Shape, context: Shape) -> Made:
    if not message.get("groupId"):
        return Fault("/groupId", "is missing: which group?")
    return type_of(AccountGrouped), {**_object(message, "traits"), "group_id": str(message["groupId"])}


_PAGE_IS = ("url", "path", "title", "category")


def _page(message: Shape, context: Shape) -> Made:
    page = _object(context, "page") | _object(message, "properties")
    page.setdefault("title", message.get("name"))
    page.setdefault("category", message.get("category"))
    if not any(page.get(name) for name in _PAGE_IS):
        return Fault("/properties/url", "is missing, and so are path, name and category: which page?")
    page.setdefault("campaign", _object(context, "campaign").get("name"))
    return type_of(PageViewed), page


def _screen(message: Shape, context: Shape) -> Made:
    screen = dict(_object(message, "properties"))
    screen["name"] = message.get("name") or screen.get("name")
    if not screen["name"]:
        return Fault("/name", "is missing: which screen?")
    screen.setdefault("category", message.get("category"))
    screen.setdefault("app", _object(context, "app").get("name"))
    return type_of(ScreenViewed), screen


def _alias(message: Shape, context: Shape) -> Made:
    if not message.get("previousId"):
        return Fault("/previousId", "is missing: who were they before?")
    return type_of(AccountAliased), {"previous_id": str(message["previousId"])}


_KINDS: dict[str, Callable[[Shape, Shape], Made]] = {
    "identify": _identify,
    "track": _track,
    "group": _group,
    "page": _page,
    "screen": _screen,
    "alias": _alias,
}


def _misfit(message: Shape) -> Fault | None:
    """What would be taken for an id and is none, or be passed over because it is no object."""
    for name in _IDS:
        if isinstance(message.get(name), list | dict | bool):
            return Fault(f"/{name}", "is neither a text nor a number: nobody is known by it")
    for name in _OBJECTS:
        if not isinstance(message.get(name), dict | None):
            return Fault(f"/{name}", "is not an object")
    return None


_IDS = ("userId", "anonymousId", "groupId", "previousId")
_OBJECTS = ("properties", "traits", "context")


def _subject(message: Shape) -> str | None:
    if message.get("userId") not in (None, ""):
        return str(message["userId"])
    return f"{ANONYMOUS}{message['anonymousId']}" if message.get("anonymousId") else None


def _object(shape: Shape, name: str) -> Shape:
    """The object called ``name``; an empty one where there is none."""
    value = shape.get(name)
    return value if isinstance(value, dict) else {}


def _lean(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _lean(item) for name, item in value.items() if item is not None and item != ""}
    if isinstance(value, list):
        return [_lean(item) for item in value]
    return value
