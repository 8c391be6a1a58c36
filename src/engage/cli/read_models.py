"""Read models as the command line names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from engage.cli import completing
from engage.cli.output import NOT_FOUND, CommandFailedError
from engage.near_names import meant

if TYPE_CHECKING:
    from engage.settings import Settings
    from engage.views.projection import ReadModel

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The read model, as `list` names it.", autocompletion=completing.read_models),
]
Sample = Annotated[
    int | None, typer.Option("--sample", metavar="N", min=1, help="Prove about so many rows of a table, not all.")
]


def named(settings: Settings, name: str) -> ReadModel[Any]:
    """The read model of this name; CommandFailedError if this house has none."""
    from engage import bootstrap

    models = {model.name: model for model in bootstrap.read_models(settings)}
    if name not in models:
        raise CommandFailedError(f"there is no read model {name!r}: {meant(name, models)}", NOT_FOUND)
    return models[name]
