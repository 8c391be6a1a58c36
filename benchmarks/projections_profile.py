"""Where the projector's processor time goes while it folds: clocks around the steps of a batch, a few readings each.

A profiler that looks at every call makes the folds, which are all small calls, look larger than they are.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from engage.events import codec
from engage.store.reader import Rows
from engage.store.row_cache import RowCache
from engage.store.tables import ViewTable
from engage.store.views import ViewStore
from engage.views.folding import Folding, Taken
from engage.views.plain_folding import PlainFolding

_clock = time.thread_time


class ProjectorProfile:
    """Seconds of processor time by step, of everything that folds in this process; put in before it begins."""

    def __init__(self) -> None:
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._within: list[float] = []
        self._begun = time.process_time()
        for home, name, step in (
            (codec, "read_all", "decoding events"),
            (Folding, "take", "folding"),
            (Taken, "fold", "folding"),
            (PlainFolding, "take", "folding"),
            (RowCache, "take", "rows kept from the last batch"),
            (RowCache, "keep", "rows kept from the last batch"),
            (Rows, "load_all", "loading rows"),
            (ViewTable, "load", "loading rows"),
            (ViewTable, "due_keys", "loading rows"),
            (ViewTable, "writing", "encoding rows"),
            (ViewStore, "_written", "SQL"),
        ):
            self._time(home, name, step)

    def shares(self) -> dict[str, float]:
        """Per cent of the processor time since it was put in."""
        whole = time.process_time() - self._begun
        shares = {step: 100 * seconds / whole for step, seconds in self._spent.items()}
        return shares | {"reading the log and the rest": 100 - sum(shares.values())}

    def _time(self, home: Any, name: str, step: str) -> None:
        inner: Callable[..., Any] = getattr(home, name)

        def timed(*args: Any, **named: Any) -> Any:
            begun = _clock()
            self._within.append(0.0)
            try:
                return inner(*args, **named)
            finally:
                whole = _clock() - begun
                self._spent[step] += whole - self._within.pop()
                if self._within:  # a step within another one is not counted twice
                    self._within[-1] += whole

        setattr(home, name, timed)
