"""The desk: takes the follow-ups that rules ask for into the queue, and what people do with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import structlog
from eventsourcing.persistence import IntegrityError

from engage.events.catalogue import type_of
from engage.events.catalogue.follow_up import CLOSED, FollowUpRequested
from engage.events.envelope import Event
from engage.events.sealing import seal_text
from engage.events.validation import MAX_AHEAD
from engage.log.contract import Log, Record
from engage.relationships.application import Relationships
from engage.relationships.commands import Assign, Closing, Command, Complete, Dismiss, Snooze, Start, checked
from engage.relationships.errors import CommandError, ConflictError, InvalidError, NotFoundError
from engage.relationships.follow_up import FollowUp
from engage.relationships.recorder import Move, PositionMovedError
from engage.services.edge import Keyring
from engage.services.letters.unread import DESK, Keep, Read, only_logged, read_on, reread
from engage.services.once import FollowUpState, Once, again, kept_of
from engage.services.records import read_type

ACTOR = "engage/desk"
"""Who acts when nobody does: opening and expiry."""

_REQUESTED = type_of(FollowUpRequested)
_ATTEMPTS = 5
_EXPIRE_AT_ONCE = 1_000

_logger = structlog.get_logger(__name__)


class Desk:
    """Follow-ups from the log into the store, each once, and commands upon them.

    Several desks may run on one store, also one that should be dead: positions move by compare-and-swap in the
    transaction that opens the follow-ups, and aggregates by version. What it reads and writes is blocking; ``step``
    and ``expire_due`` do it in a thread, the commands in that of the caller. ``clock`` says how far ahead is too far
    for a command's moment, ``keep`` takes what cannot be read.
    """

    def __init__(
        self,
        relationships: Relationships,
        source: Log,
        keyring: Keyring,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        keep: Keep = only_logged,
    ) -> None:
        self._app = relationships
        self._log = source
        self._keyring = keyring
        self._clock = clock
        self._keep = keep
        self._positions: dict[int, int | None] = {}

    async def step(self, limit: int) -> int:
        """Take in up to ``limit`` records of each partition; how far it came, 0 when all is taken in.

        All of it is one transaction, for each waits for the disk.
        """
        records: list[Record] = []
        moves: dict[int, Move] = {}
        for partition in range(self._log.partitions):
            if partition not in self._positions:
                self._positions[partition] = await asyncio.to_thread(self._app.position, self._name(partition))
            previous = self._positions[partition]
            batch = await read_type(self._log, _REQUESTED, partition, previous or 0, limit)
            if batch.next_position > (previous or 0):
                records += batch.records
                moves[partition] = Move(self._name(partition), previous, batch.next_position)
                self._positions.pop(partition)
        if moves:
            asked = await read_on(records, DESK, _is_asked, self._keep)
            try:
                await asyncio.to_thread(self._open, _by_id(asked), moves.values())
            except PositionMovedError as error:
                # The other desk's batch stands; this one reads its own positions again at the next step.
                _logger.warning("desk_position_moved", detail=str(error))
            else:
                self._positions.update((partition, move.position) for partition, move in moves.items())
        return sum(move.position - (move.previous or 0) for move in moves.values())

    async def again(self, partition: int, offset: int) -> None:
        """Take in a request that could not be read before; see ``unread.Again``."""
        if found := await reread(self._log, DESK, partition, offset, _is_asked):
            await asyncio.to_thread(self._open, _by_id([found]), ())

    async def expire_due(self, now: datetime) -> int:
        """Expire every open follow-up whose expiry is at or before ``now``; how many there were.

        What others change in the same moment is left to the next call.
        """
        expired = 0
        while due := await asyncio.to_thread(self._app.expired, now, _EXPIRE_AT_ONCE):
            closed, struck = await asyncio.to_thread(self._expire, now, due)
            expired += closed
            if not closed + struck:
                break
        return expired

    def do(self, commands: Sequence[Command], *, once: Once | None = None) -> list[FollowUpState | CommandError]:
        """All commands in one transaction, in order: for each the state after it, or why it was refused.

        A refused command sinks no other. ``once``: if any was done, all are answered the same for a day when they are
        asked again, however many ask at a time; KeyReusedError if it was another request. ConflictError if others keep
        changing the same follow-ups.
        """
        # What the log would refuse must not be recorded: the relay would stop there.
        now = self._clock()
        valid = [_checked(command, now) for command in commands]
        ids = {command.id for command in commands}
        for _ in range(_ATTEMPTS):
            found = self._app.load(ids)
            # Looked for behind what was loaded: who did it meanwhile has changed that, and would have us refuse it.
            if once is not None and (kept := self._app.answered(once.key, now)) is not None:
                return again(kept, once, commands)
            answers = [_answer(found, command) for command in self._sealed(valid, found)]
            try:
                self._app.record(found.values(), answered=kept_of(once, answers, now))
            except IntegrityError:
                continue
            return answers
        raise ConflictError(f"others changed these {len(commands)} follow-ups {_ATTEMPTS} times meanwhile: try again")

    def assign(
        self, follow_up: UUID, assignee: str, actor: str, at: datetime, *, if_version: int | None = None
    ) -> FollowUpState:
        """Make ``assignee`` responsible; a CommandError says why it is refused, here and below."""
        return self._one(Assign(id=follow_up, assignee=assignee, actor=actor, at=at, if_version=if_version))

    def snooze(
        self, follow_up: UUID, until: datetime, actor: str, at: datetime, *, if_version: int | None = None
    ) -> FollowUpState:
        """Let it rest until a moment ahead and before its expiry."""
        return self._one(Snooze(id=follow_up, until=until, actor=actor, at=at, if_version=if_version))

    def start(self, follow_up: UUID, actor: str, at: datetime, *, if_version: int | None = None) -> FollowUpState:
        """Work on it."""
        return self._one(Start(id=follow_up, actor=actor, at=at, if_version=if_version))

    def complete(
        self,
        follow_up: UUID,
        outcome: str,
        actor: str,
        at: datetime,
        *,
        note: str | None = None,
        if_version: int | None = None,
    ) -> FollowUpState:
        """It was done; ``note`` in plain words, it is sealed here."""
        return self._one(Complete(id=follow_up, outcome=outcome, note=note, actor=actor, at=at, if_version=if_version))

    def dismiss(
        self,
        follow_up: UUID,
        reason: str,
        actor: str,
        at: datetime,
        *,
        note: str | None = None,
        if_version: int | None = None,
    ) -> FollowUpState:
        """It is not needed; ``note`` in plain words, it is sealed here."""
        return self._one(Dismiss(id=follow_up, reason=reason, note=note, actor=actor, at=at, if_version=if_version))

    def _one(self, command: Command) -> FollowUpState:
        answer = self.do([command])[0]
        if isinstance(answer, CommandError):
            raise answer
        return answer

    def _open(self, asked: Mapping[UUID, Read], moves: Collection[Move]) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            known = self._app.store.versions(asked) if asked else {}
            fresh = [
                FollowUp.open(identity, event.subject, event.data, ACTOR, record.recorded)
                for identity, (record, event) in asked.items()
                if identity not in known
            ]
            try:
                self._app.record(fresh, *moves)
            except IntegrityError:
                # Somebody opened one of them between our look and our write: now it is known.
                if attempt == _ATTEMPTS:
                    raise
            else:
                return

    def _expire(self, now: datetime, due: Sequence[UUID]) -> tuple[int, int]:
        """How many of ``due`` expired, and how many were struck from the list of open ones, where none of them was."""
        found = self._app.load(due)
        stray = [one for one in due if one not in found or found[one].status in CLOSED]
        for follow_up in found.values():
            follow_up.expire(ACTOR, now)
        expired = [follow_up for follow_up in found.values() if follow_up.pending_events]
        try:
            self._app.record(expired)
        except IntegrityError:
            return 0, 0  # Somebody closed one of them meanwhile.
        if stray:
            # A list that was restored or mended by hand: left there, they would be found again for ever.
            _logger.warning("open_list_names_no_open_follow_up", ids=[str(one) for one in stray])
            self._app.strike(stray)
        return len(expired), len(stray)

    def _name(self, partition: int) -> str:
        return f"desk:{self._log.generation}:{partition}"

    def _sealed(
        self, commands: Sequence[Command | InvalidError], found: dict[UUID, FollowUp]
    ) -> list[Command | InvalidError]:
        noted = {c.id for c in commands if isinstance(c, Closing) and c.note is not None and c.id in found}
        keys = self._keyring.current({found[one].account for one in noted}) if noted else {}
        sealed: list[Command | InvalidError] = []
        for command in commands:
            if isinstance(command, Closing) and command.note is not None and command.id in found:
                account = found[command.id].account
                command = msgspec.structs.replace(command, note=seal_text(command.note, keys[account], account))
            sealed.append(command)
        return sealed


def state_of(follow_up: FollowUp) -> FollowUpState:
    """What a caller sees of a follow-up."""
    return FollowUpState(
        id=follow_up.id,
        version=follow_up.version,
        account=follow_up.account,
        status=follow_up.status,
        assignee=follow_up.assignee,
        until=follow_up.until,
        outcome=follow_up.outcome,
        due=follow_up.due,
        expires=follow_up.expires,
    )


def _checked(command: Command, now: datetime) -> Command | InvalidError:
    try:
        checked(command)
    except InvalidError as error:
        return error
    if command.at - now > MAX_AHEAD:
        return InvalidError(
            f"{type(command).__name__.lower()} of follow-up {command.id}: its moment {command.at.isoformat()} lies "
            f"ahead of {now.isoformat()}: set the clock right, then ask again",
            "at",
        )
    return command


def _answer(found: dict[UUID, FollowUp], command: Command | InvalidError) -> FollowUpState | CommandError:
    if isinstance(command, InvalidError):
        return command
    follow_up = found.get(command.id)
    if follow_up is None:
        return NotFoundError(f"there is no follow-up {command.id}: list the open ones, and take an id from there")
    if command.if_version is not None and command.if_version != follow_up.version:
        return ConflictError(
            f"follow-up {command.id} has version {follow_up.version} and not {command.if_version}: somebody changed "
            "it; read it again, then decide"
        )
    try:
        command.apply(follow_up)
    except CommandError as error:
        return error
    return state_of(follow_up)


def _is_asked(event: Event[Any]) -> bool:
    return event.type == _REQUESTED and not event.is_copy


def _by_id(asked: Iterable[Read]) -> dict[UUID, Read]:
    """The requests by the follow-up that each asks for."""
    found: dict[UUID, Read] = {}
    for record, event in asked:
        identity = _uuid(event.id)
        if identity is None:
            # A decision's id is a UUID by construction: this one is nobody's decision, and must not stop the others.
            _logger.warning("request_without_uuid", id=event.id, partition=record.partition, offset=record.offset)
        else:
            found.setdefault(identity, (record, event))
    return found


def _uuid(text: str) -> UUID | None:
    """The UUID that is spelled ``text``, and in no other way."""
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if str(found) == text else None
