"""``engage benchmark``: whether what engage says is right, on real data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol, TypeVar

import typer

from engage.cli.output import USAGE, CommandFailedError, JsonFlag, bar, data, emit, table

if TYPE_CHECKING:
    from typing import Any

    from engage.services.health_benchmark import HealthBenchmark, Ranked, Tried
    from engage.services.win_back_benchmark import Compared, WinBackBenchmark

app = typer.Typer(no_args_is_help=True, help="Whether what engage says is right, on real data.")

PurchasesFile = Annotated[Path | None, typer.Argument(help="Purchases in CDNOW's form; the project's own if left out.")]
_READ_AS_CHANCE = (10, 20, 40)
_BAR = 30


class _Found(Protocol):
    def to_dict(self) -> dict[str, Any]: ...


F = TypeVar("F", bound=_Found)


@app.callback()
def benchmark() -> None:
    """Whether what engage says is right, on real data."""


@app.command()
def health(file: PurchasesFile = None, as_json: JsonFlag = False) -> None:
    """How well the health score ranks who comes back, next to BG/NBD, recency, frequency and learned models."""
    from engage.services.health_benchmark import run

    _measure(run, file, _show_health, as_json)


@app.command()
def win_back(file: PurchasesFile = None, as_json: JsonFlag = False) -> None:
    """How many of those the win-back rule calls have really gone, next to a fixed 60 days with as many calls."""
    from engage.services.win_back_benchmark import run

    _measure(run, file, _show_win_back, as_json)


def _measure(run: Callable[[Path], F], file: Path | None, show: Callable[[F], None], as_json: bool) -> None:
    from engage.demo.purchases import FILE, data_folder

    if file is not None and not file.is_file():
        raise CommandFailedError(
            f"there is no file {file}: name one, or leave it out for the one that is shipped", USAGE
        )
    try:
        found = run(file or data_folder() / FILE)
    except ValueError as error:
        raise CommandFailedError(str(error)) from error
    if as_json:
        emit(found.to_dict())
    else:
        show(found)


def _show_health(found: HealthBenchmark) -> None:
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
    names = dict.fromkeys(name for one in ranked for name in one.auc)
    scores = [(name, *(f"{one.auc[name]:.4f}" if name in one.auc else "" for one in ranked)) for name in names]
    ends = [one.period.calibration.isoformat() for one in ranked]
    _print(table(("known up to", *ends), scores, right=range(1, 1 + len(ends))))
    out.print("\nThe first is the period on which parameters were chosen; the others were never looked at for that.")
    if found.not_measured:
        out.print(found.not_measured, soft_wrap=True)
    out.print()
    _show_tried("half-life, days", "AUC", found.half_lives, found.best_half_life, found.shipped_half_life)
    _show_tried("prior", "log loss", found.priors, found.best_prior, found.shipped_prior)
    for one in found.held_out:
        _show_deciles(one)


def _show_tried(name: str, result: str, tried: list[Tried], best: float, shipped: float) -> None:
    rows = []
    for one in tried:
        marks = [word for word, value in (("best", best), ("shipped", shipped)) if value == one.value]
        rows.append((f"{one.value:g}", f"{one.result:.4f}", ", ".join(marks)))
    _print([*table((name, result, ""), rows, right=(0, 1)), ""])


def _show_deciles(ranked: Ranked) -> None:
    from engage.services.ranking import chance

    known, until = ranked.period.calibration, ranked.period.outcome
    data().print(
        f"Score at the end of {known}, and who of them bought again by {until}, a tenth of the customers a line"
    )
    rows = [
        (
            f"{tenth.lowest:.1f}",
            f"{tenth.highest:.1f}",
            f"{tenth.mean:.1f}",
            f"{tenth.customers:,}",
            f"{tenth.came_back:,}",
            f"{tenth.share:.1%}",
            bar(tenth.share, _BAR),
        )
        for tenth in ranked.deciles
    ]
    header = ("score from", "to", "mean", "customers", "bought again", "share", "")
    _print(table(header, rows, right=range(6)))
    read = ", ".join(f"{score} as {chance(ranked.deciles, score):.0%}" for score in _READ_AS_CHANCE)
    data().print(f"Read as the chance of that: a score of {read}.\n")


def _show_win_back(found: WinBackBenchmark) -> None:
    out = data()
    out.print(f"{found.purchases:,} purchases; gone: called, and bought nothing from the call until the end\n")
    for compared in found.periods:
        _show_calls(compared)
    out.print("A later call is easier to be right about: read the share together with the days of silence.")


def _show_calls(compared: Compared) -> None:
    data().print(f"Calls up to {compared.period.calibration}, purchases up to {compared.period.outcome}")
    rows = [
        (
            way,
            f"{called.calls:,}",
            f"{called.customers:,}",
            f"{called.silent_days:.0f}",
            f"{called.gone:,}",
            f"{called.share:.1%}",
            bar(called.share, _BAR),
        )
        for way, called in compared.ways.items()
    ]
    header = ("who is called", "calls", "customers", "days silent, median", "gone", "share", "")
    _print([*table(header, rows, right=range(1, 6)), ""])


def _print(lines: list[str]) -> None:
    for line in lines:
        data().print(line, soft_wrap=True)
