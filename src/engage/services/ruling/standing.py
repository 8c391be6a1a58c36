"""How every rule stands: which version with which settings, on or off, how often it asked, where it stands still."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Literal

import msgspec
from msgspec import Struct

from engage.near_names import meant
from engage.rules.deciding import Basis
from engage.rules.rule import Rule
from engage.services.letters.source import Source
from engage.store.views import ViewMissingError, ViewStore
from projections.shared.rule_decisions import rule_decisions

State = Literal["on", "off", "partly_off", "not_yet"]
"""``not_yet``: it was never active in this version; it is once a process runs it and something comes."""


class NoSuchRuleError(LookupError):
    """There is no such rule: the message names those there are."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"there is no rule {name!r}: {meant(name, known)}")
        self.status = 404


class RuleStanding(Struct, frozen=True):
    """A rule as it stands; ``title`` says what for.

    ``asked`` counts follow-ups that it asked for and ``skipped`` those it did not, by reason; both are null where
    nobody has counted yet. ``parked`` is how many accounts stand still for it.
    """

    name: str
    title: str
    version: int
    settings: dict[str, Any]
    state: State
    parked: int
    asked: int | None
    skipped: dict[str, int] | None


async def read_rules(rules: Sequence[Rule[Any, Any]], source: Source, store: ViewStore | None) -> list[RuleStanding]:
    """Every rule, by name."""
    bases = await source.bases()
    parked = Counter(stopped.rule for stopped in await source.stopped())
    counted = None if store is None else await asyncio.to_thread(_counted, store)
    found = []
    for rule in sorted(rules, key=lambda one: one.name):
        decisions = None if counted is None else counted.get(rule.name, (0, {}))
        found.append(
            RuleStanding(
                name=rule.name,
                title=title_of(rule),
                version=rule.version,
                settings=msgspec.json.decode(msgspec.json.encode(msgspec.structs.asdict(rule.settings))),
                state=state_of(rule, bases),
                parked=parked[rule.name],
                asked=None if decisions is None else decisions[0],
                skipped=None if decisions is None else decisions[1],
            )
        )
    return found


def named(rules: Sequence[Rule[Any, Any]], name: str) -> Rule[Any, Any]:
    """The rule of this name; NoSuchRuleError if there is none."""
    known = {rule.name: rule for rule in rules}
    if name not in known:
        raise NoSuchRuleError(name, sorted(known))
    return known[name]


def state_of(rule: Rule[Any, Any], bases: Sequence[Mapping[str, Basis]]) -> State:
    """Whether it is on, by what the engines know of it; ``bases`` has one of each partition.

    Where an engine knows nothing of it yet it would begin with the next event: it rests only where that was said.
    """
    known = [found for basis in bases if (found := basis.get(rule.name)) is not None]
    resting = sum(one.rests for one in known)
    if resting:
        return "off" if resting == len(bases) else "partly_off"
    return "on" if any(one.version == rule.version for one in known) else "not_yet"


def title_of(rule: Rule[Any, Any]) -> str:
    """What the rule is for: the first words of its file."""
    handlers = [*rule.handlers.values(), *([rule.wake_handler] if rule.wake_handler else [])]
    if not handlers:
        return rule.name
    words = inspect.getdoc(import_module(handlers[0].__module__)) or rule.name
    return words.partition("\n\n")[0].replace("\n", " ")


def _counted(store: ViewStore) -> dict[str, tuple[int, dict[str, int]]] | None:
    try:
        return {one.rule: (one.asked, one.reasons) for one in store.merged(rule_decisions)}
    except ViewMissingError:
        return None
