"""How a segment is declared: a TOML table of conditions over known facts, checked so that a mistake names its line.

[slipping]
about = "Bought regularly, and is late by their own rhythm"
all = ["orders >= 3", "gaps_since_order > 2"]     # every one of these
any = ["band = slipping", "band = at_risk"]       # and one of these at least

A condition is a fact, a comparison (``=`` ``!=`` ``<`` ``<=`` ``>`` ``>=``) and a value. What is unknown of an account
meets no condition, ``!=`` included.
"""

from __future__ import annotations

import operator
import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from msgspec import Struct

from projections.shared.segment_facts import DAY, FACTS, Membership

_CONDITION = re.compile(r"\s*(?P<fact>\w+)\s*(?P<sign><=|>=|!=|=|<|>)\s*(?P<value>.*?)\s*")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_KEYS = ("about", "all", "any")
_LARGEST = 1e12
_LONGEST = 36_500
"""Days, or gaps, that a clock may be asked for."""
_TICK = timedelta(microseconds=1)
_NEVER = datetime(9999, 12, 1, tzinfo=UTC)


Holds = Callable[[Membership, datetime], tuple[bool, datetime | None]]
"""Whether it is so of a row at a moment, and when time alone will next change that (None: never)."""
_UNKNOWN = (False, None)


class SegmentsError(ValueError):
    """The declarations cannot be used: in which file, line and segment, and what is allowed there."""


class Condition(Struct, frozen=True):
    """A fact held against a value."""

    fact: str
    sign: str
    value: float | bool | str

    def made(self) -> Holds:
        """What looks at a row by it."""
        return self._by_clock() if FACTS[self.fact].kind == "clock" else self._by_value()

    def _by_value(self) -> Holds:
        read, falls = FACTS[self.fact].read, FACTS[self.fact].falls
        compare, value = _SIGNS[self.sign], self.value
        for_ever = self.sign in ("<", "<=")  # what only falls comes below a value, and never above it
        may_end = self.sign not in (">", ">=")

        def holds(row: Membership, now: datetime) -> tuple[bool, datetime | None]:
            known = read(row, now)
            if known is None:
                return _UNKNOWN
            met = compare(known, value)
            if falls is None or (for_ever if met else not may_end):
                return met, None
            return met, falls(row, now)

        return holds

    def _by_clock(self) -> Holds:
        """A clock passes the value once; compared as moments, so that a wake finds changed what it was armed for."""
        read, sign, value = FACTS[self.fact].read, self.sign, float(self.value)
        by_days = _clocked(sign, value, DAY)

        def holds(row: Membership, now: datetime) -> tuple[bool, datetime | None]:
            known = read(row, now)
            if known is None:
                return _UNKNOWN
            moment, unit = known
            passed, span = by_days if unit is DAY else _clocked(sign, value, unit)
            try:
                flips = moment + span
            except OverflowError:
                flips = _NEVER
            if now >= flips:
                return passed, None
            return not passed, None if flips >= _NEVER else flips

        return holds


@lru_cache(maxsize=1_000)
def _clocked(sign: str, value: float, unit: timedelta) -> tuple[bool, timedelta]:
    """Whether a clock that passes the value meets the condition from then on, and how long after its moment it does."""
    forward = unit > timedelta()
    at_once = sign in ((">=", "<") if forward else ("<=", ">"))
    try:
        span = value * unit + (timedelta() if at_once else _TICK)
    except OverflowError:
        span = timedelta.max
    return sign in ((">", ">=") if forward else ("<", "<=")), span


class Segment(Struct, frozen=True):
    """A segment: who is in it meets all of ``every`` and, if there are some, at least one of ``some``."""

    name: str
    about: str
    every: tuple[Condition, ...]
    some: tuple[Condition, ...]

    @property
    def facts(self) -> frozenset[str]:
        """The facts that it asks for."""
        return frozenset(condition.fact for condition in (*self.every, *self.some))

    def made(self) -> Holds:
        """What looks at a row by it: made once, for every event of an account asks several segments."""
        every = [condition.made() for condition in self.every]
        some = [condition.made() for condition in self.some]

        def holds(row: Membership, now: datetime) -> tuple[bool, datetime | None]:
            soonest = None
            for condition in every:
                met, change = condition(row, now)
                if not met:
                    return False, change  # until that one changes, no other matters
                if change is not None and (soonest is None or change < soonest):
                    soonest = change
            either = not some
            for condition in some:
                met, change = condition(row, now)
                either = either or met
                if change is not None and (soonest is None or change < soonest):
                    soonest = change
            return either, soonest

        return holds


def parsed(text: str, place: str) -> tuple[Segment, ...]:
    """The segments that a TOML text declares, by name; SegmentsError names ``place``, the line and what is wrong."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SegmentsError(f"{place} is not TOML: {error}") from error
    return tuple(_segment(name, tables[name], _Lines(text, place)) for name in sorted(tables))


class _Lines:
    """Finds the line that a mistake stands in: TOML's reader does not say it."""

    def __init__(self, text: str, place: str) -> None:
        self.lines = text.splitlines()
        self.place = place

    def wrong(self, segment: str, what: str, said: str = "") -> SegmentsError:
        """The error to raise about ``segment``, or about what is ``said`` in it."""
        header = re.compile(rf"\s*\[\s*[\"']?{re.escape(segment)}[\"']?\s*\]|\s*[\"']?{re.escape(segment)}[\"']?\s*=")
        first = next((number for number, line in enumerate(self.lines, 1) if header.match(line)), 1)
        line = first
        for number in range(first, len(self.lines) + 1):
            if number > first and self.lines[number - 1].lstrip().startswith("["):
                break
            if said and said in self.lines[number - 1]:
                line = number
                break
        return SegmentsError(f"{self.place}, line {line}, [{segment}]: {what}")


def _segment(name: str, table: Any, lines: _Lines) -> Segment:
    if not isinstance(table, dict):
        raise lines.wrong(name, "is no table: write [name], and below it about, all and any")
    if not _NAME.fullmatch(name):
        raise lines.wrong(name, "a name is made of small letters, digits, - and _, 63 at most")
    for key in table:
        if key not in _KEYS:
            raise lines.wrong(name, f"there is no {key!r}: take {', '.join(_KEYS)}", key)
    about = table.get("about", "")
    if not isinstance(about, str):
        raise lines.wrong(name, "about is a text that says who is in it", "about")
    every, some = _conditions(name, table, "all", lines), _conditions(name, table, "any", lines)
    if not every and not some:
        raise lines.wrong(name, 'says nothing of who is in it: give it conditions, such as all = ["orders >= 3"]')
    return Segment(name, about, every, some)


def _conditions(name: str, table: Mapping[str, Any], key: str, lines: _Lines) -> tuple[Condition, ...]:
    given = table.get(key, [])
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise lines.wrong(name, f'{key} is a list of conditions, such as ["orders >= 3"]', key)
    return tuple(_condition(name, text, lines) for text in given)


def _condition(name: str, text: str, lines: _Lines) -> Condition:
    found = _CONDITION.fullmatch(text)
    if found is None or not found["value"]:
        signs = " ".join(_SIGNS)
        raise lines.wrong(name, f"{text!r} is no condition: write a fact, one of {signs}, and a value", text)
    fact, sign = found["fact"], found["sign"]
    if fact not in FACTS:
        raise lines.wrong(name, f"there is no fact {fact!r}: take one of {', '.join(FACTS)}", text)
    kind = FACTS[fact].kind
    if kind in ("text", "yes or no") and sign not in ("=", "!="):
        raise lines.wrong(name, f"{text!r}: {fact} is {_a(kind)}: compare it with = or !=", text)
    if kind == "clock" and sign in ("=", "!="):
        raise lines.wrong(name, f"{text!r}: {fact} never stands still: compare it with <, <=, > or >=", text)
    return Condition(fact, sign, _read(name, text, fact, found["value"].strip("\"'"), lines))


def _read(name: str, text: str, fact: str, value: str, lines: _Lines) -> float | bool | str:
    known = FACTS[fact]
    if known.kind == "text":
        if known.values and value not in known.values:
            raise lines.wrong(name, f"{text!r}: {fact} is one of {', '.join(known.values)}", text)
        return value
    if known.kind == "yes or no":
        if value not in ("true", "false"):
            raise lines.wrong(name, f"{text!r}: {fact} is true or false", text)
        return value == "true"
    largest = _LONGEST if known.kind == "clock" else _LARGEST
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not abs(number) <= largest:
        raise lines.wrong(name, f"{text!r}: {fact} is a number, up to {largest:g}", text)
    return number


def _a(kind: str) -> str:
    return "a text" if kind == "text" else kind
