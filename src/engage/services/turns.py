"""Keeps parts of the platform going, turn by turn, for as long as the process lives: one that fails stops no other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from engage.log.contract import Log
from engage.store.views import PositionMovedError

Part = Callable[[], Awaitable[int]]
"""Does what there is to do, in bounded batches; returns how much it was."""

IDLE_SECONDS = 0.25
"""How long to wait for the log to grow before wakes and people's commands are looked after again."""
_MOST_REST = 0.5
"""Seconds between two turns at most, however long one takes."""
MOST_PATIENCE = 30.0
"""A part that goes on failing is tried again after at most this many seconds."""

_logger = structlog.get_logger(__name__)


class LeftBehindError(RuntimeError):
    """Some of what a part is to do cannot be done, which is told; the rest goes on, ``done`` of it just now."""

    done = 0


class Turns:
    """Runs ``parts`` (by name) until told to stop; ``troubles`` says what is failing now, and why.

    ``rest`` is how many seconds lie between two turns at least, and twice as long as the last one took: each commits a
    little for every part, and the more there is to do, the more pays to be done together. Those named ``beside`` take
    turns of their own: nobody waits for the others' commits who waits for them. So do those that are ``driven`` by
    something else than the log, each with the event that says that there may be more to do.
    """

    def __init__(
        self,
        log: Log,
        parts: Mapping[str, Part],
        beside: Sequence[str] = (),
        driven: Mapping[str, asyncio.Event] | None = None,
        *,
        rest: float = 0.0,
    ) -> None:
        self.troubles: dict[str, str] = {}
        self._log = log
        self._parts = dict(parts)
        self._beside = beside
        self._rest = rest
        self._driven = dict(driven or {})
        self._patience: dict[str, float] = {}
        self._not_before: dict[str, float] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Turn after turn until ``stop`` is set; the turn that is under way is finished."""
        together = [name for name in self._parts if name not in self._beside and name not in self._driven]
        async with asyncio.TaskGroup() as group:
            for names in (together, *([name] for name in self._beside)):
                if names:
                    group.create_task(self._run(stop, names))
            for name, more in self._driven.items():
                group.create_task(self._run_driven(stop, name, more))

    async def _run(self, stop: asyncio.Event, names: Sequence[str]) -> None:
        loop = asyncio.get_running_loop()
        rests = 0.0 if names[0] in self._beside else self._rest
        ends: dict[int, int] | None = None
        while not stop.is_set():
            try:
                began = loop.time()
                done = await self.turn(names)
                took = loop.time() - began
                # What comes during a turn is not waited for: the ends are those before one that found nothing to do.
                if done:
                    ends = None
                elif ends is None or await self._log.wait(ends, IDLE_SECONDS):
                    ends = await self._ends()
                # A turn may wait for nothing: others on the loop have their turn as well.
                await asyncio.sleep(max(rests, min(_MOST_REST, 2 * took)) if rests else 0)
                self.troubles.pop("log", None)
            except Exception as error:
                self._tell("log", error)
                await asyncio.sleep(IDLE_SECONDS)

    async def _ends(self) -> dict[int, int]:
        partitions = range(self._log.partitions)
        found = await asyncio.gather(*(self._log.end(partition) for partition in partitions))
        return dict(zip(partitions, found, strict=True))

    async def _run_driven(self, stop: asyncio.Event, name: str, more: asyncio.Event) -> None:
        while not stop.is_set():
            more.clear()
            if not await self.turn([name]):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_SECONDS):
                        await more.wait()
            await asyncio.sleep(0)

    async def turn(self, names: Sequence[str] | None = None) -> int:
        """Every part, or these, once, those that failed lately only when their time has come; how much was done."""
        return sum(
            [await self._one(name, part) for name, part in self._parts.items() if names is None or name in names]
        )

    def note(self, name: str, trouble: str | None) -> None:
        """A part that is kept going elsewhere fails so; None: it works."""
        if trouble is None:
            self.troubles.pop(name, None)
        else:
            self.troubles[name] = trouble

    async def _one(self, name: str, part: Part) -> int:
        now = asyncio.get_running_loop().time()
        if now < self._not_before.get(name, 0.0):
            return 0
        try:
            done = await part()
        except PositionMovedError as error:
            # Another process was faster, or somebody paused it: what stands is right, and we go on from there.
            _logger.warning("a batch was overtaken and dropped", part=name, detail=str(error))
            return 0
        except LeftBehindError as error:
            self._tell(name, error)
            return error.done
        except Exception as error:
            self._tell(name, error)
            patience = self._patience[name] = min(2 * self._patience.get(name, IDLE_SECONDS), MOST_PATIENCE)
            self._not_before[name] = now + patience
            return 0
        if self.troubles.pop(name, None):
            _logger.info("it works again", part=name)
        self._patience.pop(name, None)
        return done

    def _tell(self, name: str, error: Exception) -> None:
        words = f"{type(error).__name__}: {error}"
        if self.troubles.get(name) != words:
            _logger.error("a part of engage fails, the others go on; it is tried again", part=name, exc_info=error)
        self.troubles[name] = words
