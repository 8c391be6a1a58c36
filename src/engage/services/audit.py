"""The trail of what operators do: kept before anybody is answered, and told to the log.

A follow-up's commands are events of the follow-up, with their actor, and are not written twice. What is done to engage
itself, to its read models and keys, belongs to no account: it is an event of ``engage:operations``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from msgspec import Raw

from engage.events import codec
from engage.events.catalogue.command import CommandGiven, Outcome
from engage.events.envelope import OPERATIONS, Event
from engage.events.validation import Refusal
from engage.log.contract import Publisher
from engage.services.telling import Telling
from engage.services.turns import LeftBehindError
from engage.store.access import AccessStore
from engage.store.audit import Deed

SOURCE = "engage/audit"
_LONGEST = 256
_UNSPEAKABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class DeedRefusedError(LeftBehindError):
    """The log refused what an operator did: a fault of engage or of its versions. It is kept; report it."""


def deed(actor: str, command: str, thing: str, time: datetime, outcome: Outcome = "done") -> Deed:
    """What ``actor`` did, in a form that the log takes whatever it is."""
    return Deed(time=time, actor=_text(actor), command=_text(command), thing=_text(thing), outcome=outcome)


class Course:
    """How a command goes, and of what thing it is."""

    outcome: Outcome = "done"

    def __init__(self, thing: str) -> None:
        self.thing = thing


class Trail:
    """Keeps deeds in ``store``, whoever else writes there."""

    def __init__(self, store: AccessStore, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    @contextmanager
    def of(self, actor: str, command: str, thing: str) -> Iterator[Course]:
        """Keep what is done in this block, also when it fails; the block may say itself how it ended and of what."""
        course = Course(thing)
        try:
            yield course
        except (KeyboardInterrupt, asyncio.CancelledError):
            course.outcome = "interrupted"
            raise
        except BaseException:
            course.outcome = "failed"
            raise
        finally:
            self.keep(actor, command, course.thing, course.outcome)

    def keep(self, actor: str, command: str, thing: str, outcome: Outcome) -> None:
        """Keep what was done, as of now."""
        self._store.keep(deed(actor, command, thing, self._clock(), outcome))


class TrailRelay:
    """Publishes what is kept in ``store``, then notes that; see ``Telling``."""

    def __init__(self, store: AccessStore, publisher: Publisher) -> None:
        self._store = store
        self._telling = Telling(publisher, _event, lambda told: store.told(told), _refused)

    async def step(self, limit: int) -> int:
        """Tell the log up to ``limit`` deeds, in order; how many, 0 when it has all.

        DeedRefusedError as long as some are refused: the others are told.
        """
        return await self._telling.step(lambda behind: self._store.untold(limit, behind))


def _refused(first: Deed, why: Refusal) -> DeedRefusedError:
    return DeedRefusedError(
        f"the log refused to hold that {first.actor!r} gave the command {first.command!r}: {why}; it is kept, and "
        "told after engage was updated"
    )


def _event(done: Deed) -> Event[Raw]:
    data = CommandGiven(command=done.command, thing=done.thing, outcome=done.outcome)
    return codec.new_event(data, id=done.id, source=SOURCE, subject=OPERATIONS, time=done.time, actor=done.actor)


def _text(text: str) -> str:
    return _UNSPEAKABLE.sub("?", text)[:_LONGEST] or "?"
