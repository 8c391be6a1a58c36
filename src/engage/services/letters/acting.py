"""Retrying and skipping dead letters: a word on the log for each, which its consumer hears in its place."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

from msgspec import Raw, Struct

from engage.events import codec
from engage.events.catalogue.dead_letter import DeadLetterRetried, DeadLetterSkipped
from engage.events.envelope import OPERATIONS, Event
from engage.events.ours import claims_to_be_ours, is_ours
from engage.events.validation import Refusal, reserved
from engage.log.contract import Answer, Duplicate, Taken, Token
from engage.rules.mending import rule_of
from engage.services import kafka_message
from engage.services.letters.finding import DeadLetters
from engage.services.letters.letter import (
    INTAKE,
    Chosen,
    DeadLetter,
    Done,
    NoSuchLetterError,
    Verb,
    WrongChoiceError,
)
from engage.services.letters.source import Refused
from engage.services.letters.unread import READERS, Readers, UnreadRecordError
from engage.services.view_words import view_of

SOURCE = "engage/operators"
WAIT_SECONDS = 15.0
_LOOK_SECONDS = 0.05
_MOST_WORDS = 1_000
"""Letters that are told of at once: they are one batch, and what they need of the past is folded once for them."""
_BY_ANOTHER = "somebody else retried or skipped it at the same time"


class Publish(Protocol):
    """Puts events on the log, or on their way there."""

    async def __call__(self, events: Sequence[bytes | Event[Raw]]) -> list[Answer]: ...


class Command(Struct, frozen=True):
    """Who retries or skips (and why), and when."""

    verb: Verb
    actor: str
    time: datetime
    reason: str = ""


async def act(
    letters: DeadLetters,
    chosen: Chosen,
    command: Command,
    publish: Publish,
    readers: Readers,
    *,
    settle: Callable[[], Awaitable[None]] | None = None,
    seconds: float = WAIT_SECONDS,
) -> list[Done]:
    """Retry or skip the chosen letters, each consumer's in the order of the log, and see what comes of it.

    A consumer is waited for up to ``seconds``; ``settle`` lets those work that are in this process, ``readers`` take
    what they could not read before. NoSuchLetterError where an id is none; WrongChoiceError for a skip without a
    reason.
    """
    if command.verb == "skip" and not command.reason.strip():
        raise WrongChoiceError("say why it may be skipped: the reason is kept on the log")
    found = await letters.listed(chosen)
    for named in chosen.ids:
        if not any(letter.id.startswith(named) for letter in found):
            raise NoSuchLetterError(named)
    done = [Done(letter, "refused", letter.cannot[command.verb]) for letter in found if command.verb in letter.cannot]
    able = [letter for letter in found if command.verb not in letter.cannot]
    done += await _of_intake(letters, [one for one in able if one.consumer == INTAKE], command, publish)
    done += await _of_readers(letters, [one for one in able if one.consumer in READERS], command, publish, readers)
    waiting = [one for one in able if one.consumer != INTAKE and one.consumer not in READERS]
    told: dict[str, Token] = {}
    for start in range(0, len(waiting), _MOST_WORDS):
        some = waiting[start : start + _MOST_WORDS]
        for letter, answer in zip(some, await publish([_word(one, command) for one in some]), strict=True):
            if isinstance(answer, Taken | Duplicate):
                told[letter.id] = answer.token
            else:
                done.append(Done(letter, "refused", f"the log refused to hold it: {answer}"))
    if told and settle is not None:
        await settle()
    heard = await _heard(letters, [one for one in waiting if one.id in told], told, seconds)
    still = {(one.consumer, one.account, one.key): one for one in await letters.listed(Chosen())} if heard else {}
    for letter in waiting:
        if letter.id in told:
            now = still.get((letter.consumer, letter.account, letter.key))
            done.append(_seen(letter, now, letter.id in heard))
    return sorted(done, key=lambda one: found.index(one.letter))


def _seen(letter: DeadLetter, now: DeadLetter | None, heard: bool) -> Done:
    if not heard:
        return Done(letter, "waits", "its consumer has not come to it yet: see that it runs, then list them again")
    return Done(letter, "goes_on") if now is None else Done(letter, "failed_again", now.fault)


def _word(letter: DeadLetter, command: Command) -> Event[Raw]:
    at = letter.partition, letter.offset
    data: Any
    if command.verb == "retry":
        data = DeadLetterRetried(consumer=letter.consumer, partition=at[0], offset=at[1], event_id=letter.event_id)
    else:
        data = DeadLetterSkipped(
            consumer=letter.consumer, partition=at[0], offset=at[1], event_id=letter.event_id, reason=command.reason
        )
    return codec.new_event(
        data,
        id=f"{command.verb}:{letter.id}:{command.time.isoformat()}",
        source=SOURCE,
        subject=OPERATIONS if letter.consumer == INTAKE or letter.consumer in READERS else letter.account,
        time=command.time,
        actor=command.actor,
    )


async def _of_intake(
    letters: DeadLetters, wanted: Sequence[DeadLetter], command: Command, publish: Publish
) -> list[Done]:
    """Publish what intake refused once more, or set it aside; only then it is said to be done."""
    if not wanted:
        return []
    held = {letter.id: refused for letter, refused in await letters.refused()}
    done = []
    for letter in wanted:
        if letter.id not in held:
            done.append(Done(letter, "goes_on", _BY_ANOTHER))
            continue
        if command.verb == "retry":
            found = _read(held[letter.id])
            [answer] = [found] if isinstance(found, Refusal) else await publish([found])
            if isinstance(answer, Refusal):
                done.append(Done(letter, "failed_again", f"{answer.reason}: {answer}"))
                continue
        await publish([_word(letter, command)])
        done.append(Done(letter, "goes_on"))
    return done


async def _of_readers(
    letters: DeadLetters, wanted: Sequence[DeadLetter], command: Command, publish: Publish, readers: Readers
) -> list[Done]:
    """Have their readers take the records once more, or let them go; only then it is said to be done."""
    held = {letter.id: unread for letter, unread in await letters.unread()} if wanted else {}
    done = []
    for letter in wanted:
        if letter.id not in held:
            done.append(Done(letter, "goes_on", _BY_ANOTHER))
            continue
        if command.verb == "retry":
            try:
                await readers[letter.consumer](letter.partition, letter.offset)
            except UnreadRecordError as error:
                done.append(Done(letter, "failed_again", str(error)))
                continue
        await publish([_word(letter, command)])
        await letters.source.settle(held[letter.id])
        done.append(Done(letter, "goes_on"))
    return done


def _read(refused: Refused) -> Event[Raw] | Refusal:
    """The event in it as intake reads it today."""

    class Record:
        headers = refused.headers
        value = refused.value
        timestamp = int(refused.at.timestamp() * 1_000)

    found = kafka_message.read(Record)
    if isinstance(found, Event) and claims_to_be_ours(found) and not is_ours(found):
        return reserved(found)
    return found


async def _heard(
    letters: DeadLetters, waiting: Sequence[DeadLetter], told: dict[str, Token], seconds: float
) -> set[str]:
    """The ids of the letters whose consumers have passed their word, or did within ``seconds``."""
    loop = asyncio.get_running_loop()
    deadline, heard = loop.time() + seconds, set[str]()
    last: dict[int, Token] = {}
    for letter in waiting:
        if rule_of(letter.consumer) is not None:
            token = told[letter.id]
            last[token.partition] = max(token, last.get(token.partition, token))
    rules = dict.fromkeys(last, False)
    views = {view for letter in waiting if (view := view_of(letter.consumer)) is not None}
    while True:
        for partition, token in last.items():
            rules[partition] = rules[partition] or await letters.source.passed(token)
        reached = {} if letters.store is None else (await asyncio.to_thread(letters.store.reached, views))[0]
        for letter in waiting:
            token = told[letter.id]
            view = view_of(letter.consumer)
            if rules.get(token.partition) if view is None else reached.get((view, token.partition), 0) > token.offset:
                heard.add(letter.id)
        if len(heard) == len(waiting) or loop.time() > deadline:
            return heard
        await asyncio.sleep(_LOOK_SECONDS)
