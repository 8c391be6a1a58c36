"""What if health were weighed otherwise? Scores and bands as they are and as they would be, from the same evidence.

Weights are laid on evidence when a score is read, so no event is folded for this; half-lives are in the evidence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from datetime import datetime

from msgspec import Struct

from engage.events.catalogue.health import Band
from engage.services.configuration import ConfigurationError
from engage.store.views import ViewStore
from engage.views.evidence import Component
from engage.views.health import assess
from projections.shared.account_health import COMPONENTS, account_health

_SETTING = re.compile(r"health\.([a-z_]+)\.([a-z_]+)=(\d+(?:\.\d+)?)")
_MAY_CHANGE = ("weight", "prior", "credible_after")
_MOST = 20


class Shifted(Struct, frozen=True):
    """An account's score (0-100, null: unknown) and band, before and after."""

    account: str
    before: float | None
    after: float | None
    band_before: Band
    band_after: Band


class Shift(Struct, frozen=True):
    """How the scores of all ``accounts`` move: ``moved`` by a point or more, by ``mean`` points on average.

    ``bands`` counts those that change theirs, such as ``steady to slipping``; ``most`` are those that move furthest.
    """

    accounts: int
    moved: int
    mean: float
    bands: dict[str, int]
    most: list[Shifted]


def reweighed(settings: Sequence[str]) -> dict[str, Component]:
    """The components of health with other numbers, each text such as ``health.purchasing.weight=2``.

    ConfigurationError for a component or a number that is not there, or that no reading can change.
    """
    components = dict(COMPONENTS)
    for text in settings:
        match = _SETTING.fullmatch(text)
        if match is None:
            raise ConfigurationError(f"{text!r} sets nothing: write health.COMPONENT.weight=NUMBER")
        name, what, value = match.groups()
        if name not in components:
            raise ConfigurationError(f"--set {text}: there is no component {name!r}: {', '.join(components)}")
        if what not in _MAY_CHANGE:
            raise ConfigurationError(
                f"--set {text}: {what!r} cannot be changed by weighing anew: take {', '.join(_MAY_CHANGE)}"
            )
        changed = copy(components[name])
        setattr(changed, what, float(value))
        components[name] = changed
    return components


def shift(store: ViewStore, components: Mapping[str, Component], moment: datetime) -> Shift:
    """How scores and bands at ``moment`` would be with these components; reads every account."""
    found: list[Shifted] = []
    with store.snapshot(account_health) as (_, rows):
        for row in rows:
            at = max(moment, row.as_of)
            before, after = assess(COMPONENTS, row.evidence, at), assess(components, row.evidence, at)
            if before.score is not None or after.score is not None:
                found.append(Shifted(row.account, before.score, after.score, before.band, after.band))
    bands = Counter(f"{one.band_before} to {one.band_after}" for one in found if one.band_before != one.band_after)
    by = [_by(one) for one in found]
    most = sorted((one for one in found if _by(one)), key=lambda one: (-abs(_by(one)), one.account))[:_MOST]
    mean = sum(by) / len(by) if by else 0.0
    return Shift(len(found), sum(abs(each) >= 1 for each in by), round(mean, 2), dict(bands.most_common()), most)


def _by(one: Shifted) -> float:
    return (one.after or 0.0) - (one.before or 0.0)
