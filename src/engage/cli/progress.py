"""Progress of a long command on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

from engage.cli.output import messages, say, span

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_LINES = 10


class Progress:
    """Tells how much of ``total`` is done; a context manager. The total may become known later.

    ``patience`` is for how many seconds it keeps silent: what is done by then needs no progress.
    """

    def __init__(self, what: str, total: int = 0, *, patience: float = 0.0) -> None:
        self._what = what
        self._total = max(total, 1)
        self._patience = patience
        self._silent_until: float | None = None
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._told = 0

    def __enter__(self) -> Self:
        self._silent_until = time.monotonic() + self._patience
        if not self._patience:
            self._begin()
        return self

    def _begin(self) -> None:
        self._silent_until = None
        if sys.stderr.isatty():
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                TimeRemainingColumn(),
                console=messages(),
            )
            self._bar.start()
            self._task = self._bar.add_task(self._what, total=self._total, note="")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def stage(self, what: str) -> None:
        """From here on it is the progress of this, from its beginning."""
        if what != self._what:
            self._what, self._told = what, 0
            if self._bar is not None and self._task is not None:
                self._bar.reset(self._task, description=what)

    def records(self, done: int, total: int, rate: float) -> None:
        """So many records of ``total`` are folded, at ``rate`` a second; how long the rest takes."""
        left = "" if sys.stderr.isatty() else f", {span(timedelta(seconds=(total - done) / max(rate, 1)))} left"
        self.to(done, f"{rate:,.0f} records/s{left}", total=total)

    def to(self, done: int, note: str = "", *, total: int | None = None) -> None:
        """So much is done now; ``note`` in words."""
        self._total = max(total or self._total, 1)
        if self._silent_until is not None:
            if time.monotonic() < self._silent_until:
                return
            self._begin()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=self._total, note=note)
            return
        tenths = _LINES * done // self._total
        if tenths > self._told:
            self._told = tenths
            say(f"{self._what}: {100 * done // self._total} %{f', {note}' if note else ''}")
