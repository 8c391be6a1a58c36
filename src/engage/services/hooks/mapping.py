"""Foreign webhooks to events, as a TOML file says it: which events a body means, and where in it their fields are."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from engage.events.plain_words import plain_text
from engage.events.validation import Fault
from engage.services.hooks.expressions import Expression, ExpressionError
from engage.services.hooks.signatures import KNOWN, Headers, Hmac, Verify, by_hmac, standard
from engage.services.mapping import MappingError
from engage.services.mapping_check import check_fields

STANDARD = "standard"
Unit = Literal["s", "ms"]
Environment = Callable[[str], str | None]
_EPOCH_LIMIT = 253_402_300_800  # the year 10000: beyond it a datetime ends

Means = Callable[[Any, str, datetime], Iterator[bytes | Fault]]
"""What a body means: events, or why they cannot be made, from the body, the delivery's name and when it came."""
Make = Callable[[Any], Any]
"""From what expressions see to a value."""


class SecretSource(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a secret is: an environment variable, or a file beside the mapping. It never stands in the mapping."""

    env: str = ""
    file: str = ""


class _EventShape(Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    subject: str
    data: dict[str, Any] = field(default_factory=dict)
    id: str | None = None
    time: str | None = None
    time_unit: Unit = "s"
    contact: str | None = None
    when: str | None = None
    each: str | None = None
    unknown_type: bool = False


class _HookShape(Struct, frozen=True, forbid_unknown_fields=True):
    source: str
    verify: str | Hmac
    events: tuple[_EventShape, ...]
    secrets: tuple[SecretSource, ...] = ()


class Hook(Struct, frozen=True):
    """One inbound webhook: how it is verified (None: by its API key), and what its bodies mean.

    ``warnings`` are what is odd about the mapping, in words.
    """

    name: str
    source: str
    verify: Verify | None
    signed_id: bool
    means: tuple[Means, ...]
    warnings: tuple[str, ...]

    def delivery(self, headers: Headers, body: bytes) -> str:
        """What names a message: its id where that is signed, else its content, which nobody can send as another's."""
        signed = headers.get("webhook-id") if self.signed_id else None
        return signed or hashlib.sha256(body).hexdigest()

    def events(self, body: Any, delivery: str, now: datetime) -> list[bytes | Fault]:
        """The events (CloudEvents JSON) that ``body`` means, and a fault for each that cannot be made of it.

        A fault's pointer says where in the mapping the expression stands. ``delivery`` names the message: the same one
        again gives the same ids. ``now`` is when it came, for events of which nothing says when they happened.
        """
        return [made for means in self.means for made in means(body, delivery, now)]


def load_hooks(path: Path, environment: Environment) -> dict[str, Hook]:
    """Every hook in the file, by name; MappingError says which key is wrong and what to do."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: _hook(name, shape, path.parent, environment) for name, shape in table.items()}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MappingError(f"{path}: not TOML: {error}") from error
    except MappingError as error:
        raise MappingError(f"{path}: {error}") from error


def _hook(name: str, table: Any, folder: Path, environment: Environment) -> Hook:
    try:
        shape = msgspec.convert(table, _HookShape)
    except msgspec.ValidationError as error:
        raise MappingError(f"{name}.{plain_text(error, table, _HookShape)}") from error
    if not shape.events:
        raise MappingError(f"{name}.events: is empty: say what its bodies mean, as [[{name}.events]]")
    secrets = [_secret(one, f"{name}.secrets[{at}]", folder, environment) for at, one in enumerate(shape.secrets)]
    means, warnings = [], []
    for at, event in enumerate(shape.events):
        where = f"{name}.events[{at}]"
        try:
            warnings += check_fields(event.type, tuple(event.data), unknown_type=event.unknown_type)
        except MappingError as error:
            raise MappingError(f"{where}.{error}") from error
        means.append(_meaning(event, shape.source, where, f"/{name}/events/{at}"))
    verify = _verify(name, shape, secrets)
    return Hook(name, shape.source, verify, shape.verify == STANDARD, tuple(means), tuple(warnings))


def _verify(name: str, shape: _HookShape, secrets: Sequence[str]) -> Verify | None:
    how = shape.verify
    if how == "key":
        if secrets:
            raise MappingError(f"{name}.secrets: an API key is asked for, nothing is signed: leave them out")
        return None
    if not secrets:
        raise MappingError(f'{name}.secrets: is missing: say where the secret is, as [{{ env = "SHOP_SECRET" }}]')
    if how == STANDARD:
        try:
            return standard(secrets)
        except (ValueError, RuntimeError) as error:
            raise MappingError(
                f"{name}.secrets: Standard Webhooks has secrets of the form whsec_…: one is not"
            ) from error
    if isinstance(how, str):
        if how not in KNOWN:
            known = ", ".join((STANDARD, "key", *KNOWN))
            raise MappingError(f"{name}.verify: {how!r} is not known: there are {known}, or a table with a header")
        how = KNOWN[how]
    if how.over.count("{body}") != 1:
        raise MappingError(f"{name}.verify.over: must hold {{body}} once")
    return by_hmac(how, secrets)


def _secret(one: SecretSource, where: str, folder: Path, environment: Environment) -> str:
    if bool(one.env) == bool(one.file):
        raise MappingError(f"{where}: name either env or file")
    if one.env.startswith("ENGAGE_"):
        raise MappingError(f"{where}.env: {one.env} looks like a setting of engage: give it a name of its own")
    if one.env:
        found = environment(one.env)
        if not found:
            raise MappingError(f"{where}.env: {one.env} is not set: put the secret there")
        return found
    try:
        text = (folder / one.file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise MappingError(f"{where}.file: {one.file} cannot be read: {why}") from error
    if not text:
        raise MappingError(f"{where}.file: {one.file} is empty: put the secret there")
    return text


def _meaning(shape: _EventShape, source: str, where: str, pointer: str) -> Means:
    attributes = {
        name: _text(Expression(text, f"{pointer}/{name}"))
        for name in ("subject", "id", "contact")
        if (text := getattr(shape, name)) is not None
    }
    time = None if shape.time is None else _time(Expression(shape.time, f"{pointer}/time"), shape.time_unit)
    when = None if shape.when is None else Expression(shape.when, f"{pointer}/when")
    each = None if shape.each is None else Expression(shape.each, f"{pointer}/each")
    data = _value(shape.data, f"{pointer}/data")

    def event(seen: Any, delivery: str, number: int, now: datetime) -> bytes | None:
        if when is not None and not _truth(when(seen)):
            return None
        envelope = {
            "specversion": "1.0",
            "source": source,
            "type": shape.type,
            # The same delivery again gives the same ids; of one delivery every event has its own.
            "id": hashlib.sha256(f"{delivery}\n{where}\n{number}".encode()).hexdigest()[:32],
            "time": now if time is None else time(seen),
            "data": data(seen),
        }
        made = {name: value for name, make in attributes.items() if (value := make(seen)) is not None}
        return msgspec.json.encode(envelope | made)

    def means(body: Any, delivery: str, now: datetime) -> Iterator[bytes | Fault]:
        try:
            for number, seen in enumerate(_seen(each, body)):
                try:
                    made = event(seen, delivery, number, now)
                except ExpressionError as error:
                    yield Fault(*error.args)
                else:
                    if made is not None:
                        yield made
        except ExpressionError as error:
            yield Fault(*error.args)

    return means


def _seen(each: Expression | None, body: Any) -> list[Any]:
    """What expressions see, for each event: the body, or with ``each`` the item and the body."""
    if each is None:
        return [body]
    items = each(body)
    if items is None:
        return []
    if not isinstance(items, list):
        raise each.fault(f"is {_kind(items)}: a list is needed")
    return [{"item": item, "body": body} for item in items]


def _value(spec: Any, path: str) -> Make:
    """What a value of the mapping makes: a text is an expression, a table or list holds more, all else is itself."""
    if isinstance(spec, str):
        return Expression(spec, path)
    if isinstance(spec, list):
        items = [_value(item, f"{path}/{at}") for at, item in enumerate(spec)]
        return lambda seen: [make(seen) for make in items]
    if isinstance(spec, dict):
        fields = {name: _value(item, f"{path}/{name}") for name, item in spec.items()}
        return lambda seen: {name: value for name, make in fields.items() if (value := make(seen)) is not None}
    return lambda seen: spec


def _text(expression: Expression) -> Make:
    def make(seen: Any) -> str:
        found = expression(seen)
        if isinstance(found, int) and not isinstance(found, bool):
            return str(found)
        if not isinstance(found, str) or not found:
            raise expression.fault(f"is {_kind(found)}: a text is needed")
        return found

    return make


def _time(expression: Expression, unit: Unit) -> Make:
    def make(seen: Any) -> str | datetime:
        found = expression(seen)
        if isinstance(found, str):
            return found
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise expression.fault(f"is {_kind(found)}: a moment is needed")
        seconds = found / (1_000 if unit == "ms" else 1)
        if not 0 <= seconds < _EPOCH_LIMIT:
            raise expression.fault(f"is {found}, which is no moment in {unit}")
        return datetime.fromtimestamp(seconds, UTC)

    return make


def _truth(found: Any) -> bool:
    """As JMESPath has it: what is empty, null or false is not so; 0 is."""
    return (found == 0 and not isinstance(found, bool)) or bool(found)


def _kind(found: Any) -> str:
    return "missing" if found is None else _KINDS.get(type(found), "something else")


_KINDS: dict[type, str] = {
    bool: "a truth value",
    int: "a number",
    float: "a number",
    str: "an empty text",
    list: "a list",
    dict: "an object",
}
