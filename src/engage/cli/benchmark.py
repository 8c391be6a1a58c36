"""``engage benchmark``: whether what engage says is right, on real data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engage.cli.output import CommandFailedError, JsonFlag, data, emit, table

if TYPE_CHECKING:
    from engage.services.health_benchmark import HealthBenchmark, Ranked, Tried

app = typer.Typer(no_args_is_help=True, help="Whether what engage says is right, on real data.")


@app.callback()
def benchmark() -> None:
    """Whether what engage says is right, on real data."""


@app.command()
def health(
    file: Annotated[
        Path | None, typer.Argument(help="Purchases in CDNOW's form; the project's own if left out.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """How well the health score ranks who comes back, next to recency, frequency and BG/NBD."""
    from engage.demo.purchases import FILE, data_folder
    from engage.services.health_benchmark import run

    try:
        found = run(file or data_folder() / FILE)
    except ValueError as error:
        raise CommandFailedError(str(error)) from error
    if as_json:
        emit(found.to_dict())
    else:
        _show(found)


def _show(found: HealthBenchmark) -> None:
    out = data()
    out.print(f"{found.purchases:,} purchases; AUC: ½ is chance, 1 is never wrong\n")
    ranked = [found.earlier, *found.held_out]
    periods = [
        (
            one.period.calibration.isoformat(),
            one.period.outcome.isoformat(),
            f"{one.customers:,}",
            f"{one.came_back:.1%}",
        )
        for one in ranked
    ]
    _print(table(("known up to", "comes back by", "customers", "come back"), periods, right=(2, 3)))
    out.print()
    scores = [(name, *(f"{one.auc[name]:.4f}" for one in ranked)) for name in found.earlier.auc]
    ends = [one.period.calibration.isoformat() for one in ranked]
    _print(table(("known up to", *ends), scores, right=range(1, 1 + len(ends))))
    out.print("\nThe first is the period on which parameters were chosen; the others were never looked at for that.\n")
    _show_tried("half-life, days", "AUC", found.half_lives, found.best_half_life, found.shipped_half_life)
    _show_tried("prior", "log loss", found.priors, found.best_prior, found.shipped_prior)
    _show_deciles(found.held_out[0])


def _show_tried(name: str, result: str, tried: list[Tried], best: float, shipped: float) -> None:
    rows = []
    for one in tried:
        marks = [word for word, value in (("best", best), ("shipped", shipped)) if value == one.value]
        rows.append((f"{one.value:g}", f"{one.result:.4f}", ", ".join(marks)))
    _print([*table((name, result, ""), rows, right=(0, 1)), ""])


def _show_deciles(ranked: Ranked) -> None:
    rows = [
        (f"{tenth.lowest:.1f}", f"{tenth.highest:.1f}", f"{tenth.customers:,}", f"{tenth.came_back:.1%}")
        for tenth in ranked.deciles
    ]
    _print(table(("score from", "to", "customers", "came back"), rows, right=range(4)))


def _print(lines: list[str]) -> None:
    for line in lines:
        data().print(line, soft_wrap=True)
