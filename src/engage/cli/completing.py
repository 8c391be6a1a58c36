"""What the shell completes beside commands and options: names that the code knows, without looking into any store."""

from __future__ import annotations

from typing import Any

import typer


def read_models(incomplete: str) -> list[str]:
    """The names of read models that begin so."""
    from projections import PROJECTIONS

    return _beginning(incomplete, [model.name for model in PROJECTIONS])


def rules(incomplete: str) -> list[str]:
    """The names of rules that begin so."""
    from streams import RULES

    return _beginning(incomplete, [rule.name for rule in RULES])


def event_types(incomplete: str) -> list[str]:
    """The event types that begin so."""
    from engage.events.catalogue import CATALOGUE

    return _beginning(incomplete, CATALOGUE)


def settings(incomplete: str) -> list[str]:
    """What may be supposed otherwise: settings of rules, weights of health."""
    from msgspec import structs

    from projections.shared.account_health import COMPONENTS
    from streams import RULES

    ours = [f"rules.{rule.name}.{name}=" for rule in RULES for name in structs.asdict(rule.settings)]
    return _beginning(incomplete, [*ours, *(f"health.{name}.weight=" for name in COMPONENTS)])


def conditions(ctx: typer.Context, incomplete: str) -> list[str]:
    """What can be asked of the read model that is named before: its columns, an order, a choice of columns."""
    from engage.views.columns import columns_of, seen_row
    from projections import PROJECTIONS

    model: Any = next((one for one in PROJECTIONS if one.name == ctx.params.get("name")), None)
    if model is None:
        return []
    columns = columns_of(seen_row(model))
    name, asks, value = incomplete.partition("=")
    if asks:
        known = {column.name: column.values for column in columns}
        return [f"{name}={each}" for each in known.get(name, ()) if each.startswith(value)]
    return _beginning(incomplete, [f"{name}=" for name in (*(one.name for one in columns), "sort", "fields", "limit")])


def _beginning(incomplete: str, names: Any) -> list[str]:
    return [name for name in sorted(names) if name.startswith(incomplete)]
