"""The house's own settings of rules and policy: a TOML file with a table for each, over the defaults in the code.

[win-back]
at_least = "P45D"        # ISO 8601: 45 days

[policy]
cap = 2
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from engage.events.plain_words import plain_text
from engage.rules import policy
from engage.rules.policy import PolicySettings
from engage.rules.rule import Rule, RuleSettings

C = TypeVar("C", bound=RuleSettings)


class Configured(Struct, frozen=True):
    """The rules and the policy as they run here."""

    rules: tuple[Rule[Any, Any], ...]
    policy: PolicySettings


class ConfigurationError(ValueError):
    """The file of settings cannot be used: which one, which table and key, and what it may hold."""


def configured(rules: Sequence[Rule[Any, Any]], path: Path, *, must_exist: bool = False) -> Configured:
    """``rules`` and the policy with what the file at ``path`` says of them; ConfigurationError names what is wrong."""
    if not path.exists() and not must_exist:
        return Configured(tuple(rules), PolicySettings())
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error
    return with_settings(Configured(tuple(rules), PolicySettings()), tables, str(path))


def with_settings(house: Configured, tables: Mapping[str, Any], place: str) -> Configured:
    """``house`` with other settings, a table for each rule or the policy; ConfigurationError names what is wrong."""
    known = {rule.name for rule in house.rules} | {policy.NAME}
    for name in tables:
        if name not in known:
            raise ConfigurationError(f"{place}: there is no rule {name!r}: take one of {', '.join(sorted(known))}")
    chosen = tuple(
        rule.configured(_changed(rule.settings, tables[rule.name], f"{place}, [{rule.name}]"))
        if rule.name in tables
        else rule
        for rule in house.rules
    )
    return Configured(chosen, _changed(house.policy, tables.get(policy.NAME, {}), f"{place}, [{policy.NAME}]"))


def _changed(settings: C, table: Any, place: str) -> C:
    if not isinstance(table, dict):
        raise ConfigurationError(f"{place}: is no table: write [name], and a line for each setting below it")
    names = settings.__struct_fields__
    for key in table:
        if key not in names:
            raise ConfigurationError(f"{place}: there is no setting {key!r}: take one of {', '.join(names)}")
    try:
        values = msgspec.structs.asdict(settings) | table
        return msgspec.convert(values, type(settings))
    except msgspec.ValidationError as error:
        said = plain_text(error, values, type(settings))
        raise ConfigurationError(f"{place}: {said}; a time is written as in ISO 8601, such as P3D or PT8H") from error
