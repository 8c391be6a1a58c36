"""The read models folded in a process of their own: it has a core and an interpreter for itself, publishing another.

In one interpreter folding would hold up whoever publishes, and the other way round, for tens of milliseconds. The two
talk by lines: one that the log has grown, and what came of each turn back. All else stands in the stores, where
positions move by compare-and-swap, so either may be killed, and two that fold at the same time do no harm.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from math import exp
from time import process_time
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from engage.log.contract import Log
from engage.services import metrics
from engage.services.folding_forks import FoldingForks
from engage.services.projector import BATCH, Projector
from engage.services.turns import IDLE_SECONDS, Turns

_DUES_SECONDS = 0.25
_MANY, _LASTING_SECONDS, APART_SECONDS = 2_000, 3.0, 0.5
"""Where more records a second come than the first, for about as long as the second, turns begin as many seconds after
one another as the third: what comes meanwhile is folded together, and who publishes has the core. They followed one
another without end, of a few dozen records each, and a third dearer. Of fewer none is held up: at a thousand a second a
hiccup of two seconds leaves fewer than that to be folded at once, so that no long rests follow it."""
_SOON_SECONDS = 0.02
"""After a turn that folded something, another one without a word comes so late: some records may have waited for what
was done with those before them. At a thousand events a second words come sooner, and a turn for nothing is a tenth of
one that folds."""
_ALIVE_SECONDS, _AT_WORK = 30.0, 0.05
"""So often it is said that we are at work, if since the last time we had the processor for so many seconds: who waits
for a database that does not answer, or is stopped, has not, and a turn may take minutes that puts millions of rows in
the place of others."""
_MOST_TROUBLE = 2_000
"""Characters that are told of what fails: a database may name every row that it was sent, and a line has to end."""
GROWN = b"\n"
"""The word that the log has grown; the end of the words is the word to end."""


class Told(Struct, omit_defaults=True):
    """What came of a turn.

    ``done``: how many records were folded. ``moved``: where read models stand now, some names that do for each
    partition and position. ``waited``: for each batch how many seconds its oldest event had waited.
    ``dues``: when the next row wants to be woken, by partition, where that was looked up. ``trouble``: what fails now.
    """

    done: int = 0
    moved: list[tuple[int, int, list[str]]] = []
    waited: list[float] = []
    dues: dict[int, datetime] | None = None
    trouble: str | None = None


class Pace:
    """How many records were folded lately, and how long to rest for that; times are seconds of one clock."""

    def __init__(self, now: float) -> None:
        self._lately = 0.0
        self._at = now

    def folded(self, records: int, now: float) -> None:
        """So many more were, by ``now``; those of ``_LASTING_SECONDS`` ago count a third."""
        self._lately = self._lately * exp((self._at - now) / _LASTING_SECONDS) + records
        self._at = now

    def gives_way(self) -> bool:
        """Whether so many come that who publishes is to have all of the cores that they want.

        Some 700 a second do it, a third of those that have it rest: so it gives way before that, as soon as many come.
        """
        return self._lately > _MANY

    def rest(self, began: float, now: float) -> float:
        """Seconds until the next turn, after one that began at ``began`` and is over: 0 where there is none to rest."""
        return max(0.0, began + APART_SECONDS - now) if self._lately > _MANY * _LASTING_SECONDS else 0.0


_logger = structlog.get_logger(__name__)
read = msgspec.json.Decoder(Told).decode


class Folding:
    """Keeps ``projector`` up to ``log``, and says after each turn what came of it.

    ``wrote`` hears how many records were folded and committed, after each turn that folded any, and each of ``forks``,
    which fold with it what is far behind when it begins. ``give_way`` hears before each turn whether it is to.
    """

    def __init__(
        self,
        log: Log,
        projector: Projector,
        say: Callable[[bytes], Any],
        wrote: Callable[[int], Any] = lambda _: None,
        forks: FoldingForks | None = None,
        give_way: Callable[[bool], Any] = lambda _: None,
    ) -> None:
        self._wrote = wrote
        self._forks = forks
        self._give_way = give_way
        self._projector = projector
        self._say = say
        self._turns = Turns(log, {"projections": self._step})
        self._waited: list[float] = []
        self._dues_at = 0.0

    async def run(self, words: asyncio.StreamReader) -> None:
        """Turn after turn until the words end; behind one that found little to fold, the next one waits for a word."""
        grown, loop = asyncio.Event(), asyncio.get_running_loop()
        listening, pace = asyncio.create_task(_listen(words, grown)), Pace(loop.time())
        living = asyncio.create_task(self._show_life())
        try:
            with metrics.view_waits(self._waited.append):
                if self._forks is not None:
                    await self._catch_up(self._forks, listening)
                while not listening.done():
                    grown.clear()
                    began = loop.time()
                    self._give_way(pace.gives_way())
                    done = await self._turns.turn()
                    pace.folded(done, loop.time())
                    self._say(msgspec.json.encode(await self._told(done)) + b"\n")
                    if done:
                        self._wrote(done)
                    if rest := pace.rest(began, loop.time()):
                        await asyncio.wait([listening], timeout=rest)
                    elif done < BATCH:
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(_SOON_SECONDS if done else IDLE_SECONDS):
                                await grown.wait()
        finally:
            listening.cancel()
            living.cancel()

    async def _show_life(self) -> None:
        """Without an end: say so from time to time as long as we are at work."""
        before = process_time()
        while True:
            await asyncio.sleep(_ALIVE_SECONDS)
            if (now := process_time()) - before > _AT_WORK:
                with contextlib.suppress(BrokenPipeError):  # the words end as well then
                    self._say(msgspec.json.encode(Told(trouble=self._trouble())) + b"\n")
            before = now

    async def _catch_up(self, forks: FoldingForks, listening: asyncio.Task[None]) -> None:
        """Have them fold as long as nobody wants us to end; what fails there our turns will meet, and tell."""
        work = asyncio.create_task(forks.catch_up(self._projector, self._wrote_some))
        await asyncio.wait({work, listening}, return_when=asyncio.FIRST_COMPLETED)
        work.cancel()
        [done] = await asyncio.gather(work, return_exceptions=True)
        if isinstance(done, Exception):
            _logger.warning("processes that fold what is far behind have failed: one goes on", error=str(done))

    def _wrote_some(self, done: int) -> None:
        """On the way to the end: who waits for an event of a partition that is there already looks."""
        self._wrote(done)
        if done:
            self._say(msgspec.json.encode(Told(done, waited=self._waited[:])) + b"\n")
            self._waited.clear()

    async def _step(self) -> int:
        return await self._projector.step(BATCH)

    async def _told(self, done: int) -> Told:
        moved: dict[tuple[int, int], list[str]] = {}
        for (name, partition), position in (self._projector.moved if done else {}).items():
            moved.setdefault((partition, position), []).append(name)
        stands = [(*place, names) for place, names in moved.items()]
        told = Told(done, stands, self._waited[:], trouble=self._trouble())
        self._waited.clear()
        now = asyncio.get_running_loop().time()
        if told.trouble is None and (not done or now - self._dues_at > _DUES_SECONDS):
            told.dues = await asyncio.to_thread(self._projector.next_dues)
            self._dues_at = now
        return told

    def _trouble(self) -> str | None:
        trouble = self._turns.troubles.get("projections")
        return None if trouble is None else trouble[:_MOST_TROUBLE]


async def _listen(words: asyncio.StreamReader, grown: asyncio.Event) -> None:
    """Hear them as they come, also while a turn is under way: the last one is that they end."""
    while await words.read(1_000):
        grown.set()
    grown.set()
