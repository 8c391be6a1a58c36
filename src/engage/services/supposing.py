"""What is supposed of the rules in a what-if: rules from other files, and other settings, over those of the house."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from engage.rules.rule import Rule
from engage.services.configuration import ConfigurationError, Configured, configured, with_settings

_SETTING = re.compile(r"rules\.([a-z0-9-]+)\.([a-z_]+)=(.*)", re.DOTALL)
_SPAN = re.compile(r"(\d{1,5})([mhdw])")
_ISO = {"m": "PT{}M", "h": "PT{}H", "d": "P{}D", "w": "P{}W"}


class Supposed(Struct, frozen=True):
    """``paths`` are Python files of rules, folders of them, or TOML files of settings, each over those before.

    ``settings`` are texts such as ``rules.win-back.at_least=45d`` (or an ISO 8601 time, or JSON), over all of them; the
    policy's are ``rules.policy.…``.
    """

    paths: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    def over(self, house: Configured) -> Configured:
        """The house's rules as they are supposed to be; ConfigurationError names what cannot be."""
        for path in map(Path, self.paths):
            if path.suffix == ".toml":
                house = _over(house, configured(house.rules, path, must_exist=True), path)
            else:
                house = Configured(_joined(house.rules, list(_rules_in(path))), house.policy)
        for text in self.settings:
            rule, name, value = _setting(text)
            house = with_settings(house, {rule: {name: value}}, f"--set {text}")
        return house


def _over(house: Configured, changed: Configured, path: Path) -> Configured:
    """The policy of a file that does not speak of it is the house's."""
    speaks = "[policy]" in path.read_text()
    return Configured(changed.rules, changed.policy if speaks else house.policy)


def _joined(rules: Sequence[Rule[Any, Any]], others: Sequence[Rule[Any, Any]]) -> tuple[Rule[Any, Any], ...]:
    """``others`` in the place of those of the same name, and behind all if there are none."""
    by_name = {rule.name: rule for rule in rules} | {rule.name: rule for rule in others}
    return tuple(by_name.values())


def _rules_in(path: Path) -> Iterator[Rule[Any, Any]]:
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    found = False
    for file in files:
        for value in vars(_loaded(file)).values():
            if isinstance(value, Rule):
                found = True
                yield value
    if not found:
        raise ConfigurationError(
            f"{path} offers no rule: name a Python file that makes a Rule, a folder, or a TOML file"
        )


def _loaded(file: Path) -> Any:
    try:
        spec = importlib.util.spec_from_file_location(f"supposed {file.resolve()}", file)
        if spec is None or spec.loader is None:
            raise ConfigurationError(f"{file} is no Python file: rules are in .py files, settings in .toml files")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # what its classes call one another by is looked up there
        spec.loader.exec_module(module)
    except ConfigurationError:
        raise
    except FileNotFoundError as error:
        raise ConfigurationError(f"there is no file {file}") from error
    except Exception as error:
        raise ConfigurationError(f"{file} cannot be loaded: {type(error).__name__}: {error}") from error
    return module


def _setting(text: str) -> tuple[str, str, Any]:
    match = _SETTING.fullmatch(text)
    if match is None:
        raise ConfigurationError(
            f"{text!r} sets nothing: write rules.NAME.SETTING=VALUE, as rules.win-back.at_least=45d"
        )
    rule, name, value = match.groups()
    if span := _SPAN.fullmatch(value):
        return rule, name, _ISO[span[2]].format(span[1])
    try:
        return rule, name, json.loads(value)
    except json.JSONDecodeError:
        return rule, name, value
