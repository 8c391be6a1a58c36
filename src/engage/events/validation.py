"""What may enter: bytes to a checked event, or every fault with a JSON pointer to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Literal, get_type_hints

import msgspec
from msgspec import Raw, Struct

from engage.events import codec
from engage.events.catalogue import CATALOGUE, RESERVED
from engage.events.catalogue.base import EventType
from engage.events.envelope import EPOCH, JSON, MARKET_SUBJECT, OPERATIONS, OWN_SUBJECT, PARTITION_SUBJECT, Event
from engage.events.ours import SOURCES, is_ours
from engage.events.plain_words import plain
from engage.events.pointers import Place, escaped, pointer_to
from engage.events.repeated_keys import ESCAPED_QUOTE, TWICE, repeated_key
from engage.events.sealing import PREFIX, undeclared
from engage.events.upcasting import UpcastError, upcast

MAX_BYTES = 1_000_000
"""An event's JSON may be this long; more belongs in a file that the event points to."""
MAX_DEPTH = 100
"""Arrays and objects in one another: what lies deeper, no reader need be able to follow."""
MAX_AHEAD = timedelta(minutes=5)
"""How far an upstream clock may run ahead of ours."""
_MOST_FAULTS = 20
"""Texts that may not stand in data are told so many of, for each may have a long way to it."""

RefusalClass = Literal[
    "not_json", "too_large", "envelope", "data", "subject", "source", "in_future", "version", "reserved", "too_old"
]

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ENGAGES = (PARTITION_SUBJECT, OWN_SUBJECT)
_NUL = "\0"
_NUL_IN_JSON = b"\\u0000"
# As numbers: whether bytes hold one is told in a fifth of the time that bytes in bytes take, which first make an error.
_BACKSLASH, _DELETE = b"\\\x7f"
_SEALED_IN_JSON = f'"{PREFIX}'.encode()
_REQUIRED = ("specversion", "id", "source", "type", "subject", "time")
_QUOTE = b'"'
_QUOTES = 4 * len(_REQUIRED) + 2
"""Those around the names and texts of what every event has, and around the name of its data."""
_OURS = ("recorded", "inboxoffset", "partition", "offset", "origin", "linkedto", "via", "retold")
_OPTIONAL_TEXTS = ("correlationid", "causationid", "actor", "contact")
_NAMING = ("subject", "actor", "contact")


class Fault(Struct, frozen=True):
    """One thing that is wrong: ``pointer`` says where (RFC 6901), ``message`` what and what to do."""

    pointer: str
    message: str


class Refusal(Struct, frozen=True):
    """Why an event may not enter, with every fault found."""

    reason: RefusalClass
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        return "; ".join(f"{fault.pointer or '/'}: {fault.message}" for fault in self.faults)


Opened = dict[int, Any]
"""What the data of checked events say, by ``id(event)``, for who needs it next."""


def check(value: bytes, now: datetime, opened: Opened | None = None) -> Event[Raw] | Refusal:
    """The event in ``value`` (CloudEvents structured JSON), its data in today's version; or why it may not enter.

    ``opened`` gets what its data say, where that is not of an older version.
    """
    if len(value) > MAX_BYTES:
        return _refuse(
            "too_large",
            "",
            f"the event has {len(value):,} bytes and may have {MAX_BYTES:,}: store the rest elsewhere and link it",
        )
    try:
        event = codec.decode(value)
    except msgspec.ValidationError:
        return _envelope_faults(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _refuse("not_json", "", f"not a JSON object in UTF-8: {error}")
    if event.type in RESERVED or event.source.startswith(SOURCES):
        return reserved(event)
    return _checked(event, now, opened, value, False)


def reserved(event: Event[Raw]) -> Refusal:
    """The refusal of what uses a type or a source of engage's own and is not engage's."""
    if event.type in RESERVED:
        return _refuse("reserved", "/type", f"{event.type!r} is for engage itself to say: publish another type")
    return _refuse("reserved", "/source", f"sources that begin with {SOURCES!r} are engage's own: name your system")


def check_event(event: Event[Raw], now: datetime, opened: Opened | None = None) -> Event[Raw] | Refusal:
    """The same for an envelope that is decoded already, and for what engage itself has to say.

    What engage says itself happened by its own clock, which may have been set back since: it is never too far ahead.
    """
    return _checked(event, now, opened, None, is_ours(event))


def _checked(
    event: Event[Raw], now: datetime, opened: Opened | None, value: bytes | None, ours: bool
) -> Event[Raw] | Refusal:
    """What both check; ``value`` is None for what did not come as bytes, whose sender may send texts that look sealed.

    Speed lives here: each event that comes is looked at so, and nearly all have nothing of what is looked for.
    """
    if event.datacontenttype != JSON:
        return _refuse("envelope", "/datacontenttype", f"is {event.datacontenttype!r}: engage takes application/json")
    kind_name, subject = event.type, event.subject
    texts = f"{event.id}{event.source}{kind_name}{subject}"
    for optional in (event.correlationid, event.causationid, event.actor, event.contact):
        if optional is not None:
            texts += optional
    # In JSON all control characters but one are escaped. One look at all texts: each by itself costs as much.
    plain_texts = value is not None and _BACKSLASH not in value and _DELETE not in value
    if not plain_texts and not texts.isprintable() and _CONTROL.search(texts):
        return _control_characters(event)
    prefixed = ":" in subject
    if prefixed and subject.startswith(_ENGAGES) and not (subject == OPERATIONS and ours):
        prefix = f"{event.subject.partition(':')[0]}:"
        return _refuse("subject", "/subject", f"the prefix {prefix!r} is engage's own: choose another account id")
    if not ours:
        if "@" in texts and (named := _named(event)):
            return named
        if event.time - now > MAX_AHEAD:
            return _refuse(
                "in_future",
                "/time",
                f"{event.time.isoformat()} lies ahead of {now.isoformat()}: check the sender's clock",
            )
        if event.time < EPOCH:
            return _refuse(
                "envelope",
                "/time",
                f"{event.time.isoformat()} lies before 1970: send when it happened; an empty or zero date of the "
                "sender's system is no time",
            )
    # The envelope's decoder passes over data, and a type's decoder over fields it does not know: neither has read them.
    shape = _read(event.data, "/data")
    if type(shape) is Refusal:
        return shape
    # Written anew, data hold each key once: what is judged and sealed is then all there is. Every escape has one form.
    written = _encode(shape)
    if _BACKSLASH in written and _NUL_IN_JSON in written and (found := _faults_in(event.data, _holds_nul)):
        return found
    if (
        value is not None
        and written.find(_SEALED_IN_JSON) >= 0
        and (found := _faults_in(event.data, _claims_to_be_sealed))
    ):
        return found
    twice = None
    if value is None:
        if not ours:
            twice = repeated_key(bytes(event.data), shape, written, "/data")
    else:
        # In nearly every event no other quotes are around the envelope's texts than around what each must have, and
        # around its kind of data if it was sent: then it is another object than the default.
        quotes = _QUOTES if event.datacontenttype is JSON else _QUOTES + 4
        usual = value.count(_QUOTE) - written.count(_QUOTE) == quotes
        if not (usual and (plain_texts or ESCAPED_QUOTE not in value)):
            whole = _read(value, "", MAX_DEPTH + 1)  # of attributes that it does not know the decoder has read nothing
            if isinstance(whole, Refusal):
                return whole
            twice = repeated_key(value, whole)
    if twice is not None:
        return _refuse("data" if twice.startswith("/data/") else "envelope", twice, TWICE)
    event.data = data = Raw(written)
    kind = CATALOGUE.get(kind_name)
    of_market = prefixed and subject.startswith(MARKET_SUBJECT)
    if of_market and (kind is None or kind.family != "market") and not is_ours(event):
        return _refuse(
            "subject",
            "/subject",
            f"{event.type!r} is no event of a market, and nothing said of one is sealed: give an account id, which "
            f"does not begin with {MARKET_SUBJECT!r}, or publish one of the market's types",
        )
    if opened is not None and (kind is None or event.dataversion == kind.version):
        opened[id(event)] = shape
    if kind is None:
        return event
    try:
        if event.dataversion != kind.version:
            event.data = data = upcast(kind, event.dataversion, data)
            event.dataversion = kind.version
        kind.decode(data)
    except UpcastError as error:
        return _refuse("version", "/dataversion", str(error))
    except (msgspec.ValidationError, msgspec.DecodeError):
        return _data_faults(kind, event.data)
    if of_market and (extra := list(undeclared(msgspec.json.decode(event.data), kind))):
        said = "is not declared, and nothing said of a market is sealed: leave it out"
        return Refusal("data", tuple(Fault(f"/data/{path}", said) for path, _, _ in extra))
    return event


def text_fault(text: str) -> str | None:
    """Why ``text`` must not name an account or a person on the log; None if it may."""
    if _CONTROL.search(text):
        return "holds a control character: remove it"
    if _EMAIL.fullmatch(text.strip()):
        return "looks like an e-mail address, which the log must not show: use your system's id"
    return None


def clean(event: Event[Raw]) -> Event[Raw]:
    """The event without the attributes that only engage may set."""
    if (event.recorded is None and event.inboxoffset is None and event.partition == event.offset == -1) and (
        event.origin is None and event.linkedto is None and event.via is None and not event.retold
    ):  # as nearly always: to set them takes five times as long as to look
        return event
    event.recorded, event.inboxoffset, event.partition, event.offset = None, None, -1, -1
    event.origin, event.linkedto, event.via, event.retold = None, None, None, False
    return event


def _refuse(reason: RefusalClass, pointer: str, message: str) -> Refusal:
    return Refusal(reason, (Fault(pointer, message),))


def _control_characters(event: Event[Raw]) -> Refusal:
    names = [*("id", "source", "type", "subject"), *_OPTIONAL_TEXTS]
    bad = [name for name in names if _CONTROL.search(getattr(event, name) or "")]
    return Refusal("envelope", tuple(Fault(f"/{name}", "holds a control character: remove it") for name in bad))


def _named(event: Event[Raw]) -> Refusal | None:
    """Why the envelope would show an e-mail address in plain words, if it would."""
    faults = [
        Fault(f"/{name}", fault) for name in _NAMING if (text := getattr(event, name)) and (fault := text_fault(text))
    ]
    if not faults:
        return None
    return Refusal("subject" if faults[0].pointer == "/subject" else "envelope", tuple(faults))


def _faults_in(data: Raw, fault_of: Callable[[str], str | None]) -> Refusal | None:
    """What ``fault_of`` finds first in the keys and texts of data: slow, for the few that may hold it."""
    found = islice(_text_faults(msgspec.json.decode(data), None, fault_of), _MOST_FAULTS)
    faults = tuple(Fault(pointer_to(place, "/data"), fault) for place, fault in found)
    return Refusal("data", faults) if faults else None


def _text_faults(shape: object, place: Place, fault_of: Callable[[str], str | None]) -> Iterator[tuple[Place, str]]:
    if isinstance(shape, str):
        if fault := fault_of(shape):
            yield place, fault
    elif isinstance(shape, list):
        for at, item in enumerate(shape):
            yield from _text_faults(item, (place, at), fault_of)
    elif isinstance(shape, dict):
        for name, value in shape.items():
            if fault := fault_of(name):
                yield (place, name), fault
            yield from _text_faults(value, (place, name), fault_of)


def _holds_nul(text: str) -> str | None:
    return "holds the character U+0000, which databases refuse: remove it" if _NUL in text else None


def _claims_to_be_sealed(text: str) -> str | None:
    if not text.startswith(PREFIX):
        return None
    return f"begins with {PREFIX!r}, as what engage has sealed does: send it in plain words, engage seals it"


def _read(value: bytes | Raw, pointer: str, levels: int = MAX_DEPTH) -> Any | Refusal:
    """What the JSON says, or why nobody could read it: no text, numbers beyond a double, a nesting too deep."""
    try:
        shape = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _refuse("not_json", pointer, f"not JSON in UTF-8 that can be read: {error}")
    if len(value) > 2 * levels:  # what is nested so deep begins and ends as often
        text = bytes(value)
        if text.count(b"[") + text.count(b"{") > levels and _is_deeper(shape, levels):
            said = f"is nested deeper than {levels} levels: store it elsewhere and link it"
            return _refuse("not_json", pointer, said)
    return shape


def _is_deeper(shape: object, levels: int) -> bool:
    if not isinstance(shape, list | dict):
        return False
    parts = shape if isinstance(shape, list) else shape.values()
    return levels == 0 or any(_is_deeper(part, levels - 1) for part in parts)


def _envelope_faults(value: bytes) -> Refusal:
    """Each attribute looked at by itself: slow, but only for those who are refused."""
    shape = _read(value, "")
    if isinstance(shape, Refusal):
        return shape
    if not isinstance(shape, dict):
        return _refuse("envelope", "", f"is a JSON {_json_name(shape)}: an event is an object")
    faults = [Fault(f"/{name}", "is missing") for name in _REQUIRED if name not in shape]
    for name, hint in get_type_hints(Event, include_extras=True).items():
        if name in shape and name not in ("data", *_OURS):
            faults += _faults_of(shape[name], hint, f"/{name}")
    faults += [Fault(f"/{name}", "is engage's own stamp: leave it out") for name in _OURS if name in shape]
    if "data_base64" in shape:
        faults.append(Fault("/data_base64", "is not taken: send data, as JSON"))
    elif "data" not in shape:
        faults.append(Fault("/data", "is missing: send {} if there is nothing to say"))
    return Refusal("envelope", tuple(faults))


def _data_faults(kind: EventType, data: Raw) -> Refusal:
    shape = msgspec.json.decode(data)
    if not isinstance(shape, dict):
        return _refuse("data", "/data", f"is a JSON {_json_name(shape)}: {kind.name!r} has an object")
    faults: list[Fault] = []
    info = msgspec.inspect.type_info(kind.data)
    assert isinstance(info, msgspec.inspect.StructType)
    hints = get_type_hints(kind.data, include_extras=True)
    for field in info.fields:
        pointer = f"/data/{escaped(field.encode_name)}"
        if field.encode_name in shape:
            faults += _faults_of(shape[field.encode_name], hints[field.name], pointer)
        elif field.required:
            faults.append(Fault(pointer, "is missing"))
    if not faults:
        faults += _faults_of(shape, kind.data, "/data")
    return Refusal("data", tuple(faults))


def _faults_of(value: object, hint: Any, pointer: str) -> list[Fault]:
    try:
        msgspec.convert(value, hint, strict=True, str_keys=True)
    except msgspec.ValidationError as error:
        path, words = plain(error, value, hint)
        return [Fault(pointer + "".join(f"/{escaped(part)}" for part in path), words)]
    return []


def _json_name(value: object) -> str:
    names = {list: "array", str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}
    return names.get(type(value), "value")
