"""Linked identities on one partition of Kafka: what becomes of an event there, and what of the past is told once more.

Words, copies and what is still to be moved go through the partition's transactions, so a crash or another owner finds
each event told once. Copies go to the inbox of their account's partition in the order in which they are made: behind
the word that parted two of them nothing comes any more of what was sent before.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from engage.events import codec, linking
from engage.events.catalogue.base import EventData
from engage.events.catalogue.identity import IdentityLinked, IdentityParted, IdentityUnlinked
from engage.events.envelope import Event
from engage.events.linking import LINKED, SOURCE, UNLINKED, follows
from engage.events.named_ids import named_id
from engage.events.ties import WORDS, Move, Tie, Ties
from engage.events.validation import Fault, Refusal
from engage.log.contract import Record
from engage.log.kafka import KafkaLog
from engage.log.partitioning import partition_of
from engage.log.topics import Topics
from engage.rules.decisions import TYPES as DECISIONS
from engage.services.edge import Edge
from engage.services.kafka_transaction import Outgoing
from engage.services.records import events_of
from engage.services.rules_changelog import latest

HANDED_ON = "engage-handed-on"
"""The header of inbox records that intake of another partition has sealed and sends on as they are."""
_HINT = b'"identity.'
"""Stands in every record that says who is linked to whom."""

_PAGE = 2_000
_UNWRITTEN = 10_000
"""How many records may pass before the place is written: what a successor reads again."""
_PLACE, _TIE, _MOVE = b"place", b"tie\0", b"move\0"
_NAMESPACE = uuid.UUID("9a1d5a0e-1f0b-4d0c-8a53-3c7f3a52d6c1").bytes

_encode = msgspec.msgpack.Encoder().encode
_tie = msgspec.msgpack.Decoder(Tie).decode
_move = msgspec.msgpack.Decoder(Move).decode
_linked = msgspec.json.Decoder(IdentityLinked).decode


class Place(Struct, frozen=True):
    """The ties are a fold of the log ``generation`` up to ``position``."""

    generation: str
    position: int


class _Head(Struct, gc=False):
    subject: str


class _Seeking(Struct):
    """What a link says on its way along the chain: its account, how many times it came round, and should before.

    ``before`` are the links of the ring that are opened rather than it.
    """

    account: str
    rounds: int = 0
    before: int = 0


class Admitted(Struct, frozen=True):
    """What becomes of an event: records ``here``, in order, and what is handed ``on`` to other subjects' partitions."""

    here: list[Event[Raw]]
    on: list[Event[Raw]]


_head = msgspec.json.Decoder(_Head).decode
_place = msgspec.msgpack.Decoder(Place).decode
_seeking = msgspec.json.Decoder(_Seeking).decode


class PartitionLinks:
    """Who is linked to whom among the subjects of a partition, and the moves that are under way there.

    ``position`` is up to where the log is known; ``known`` says whether the changelog knew this log at all.
    """

    def __init__(self, bootstrap: str, topics: Topics, log: KafkaLog, edge: Edge, partition: int) -> None:
        self.partition = partition
        self.position = 0
        self.known = False
        self._bootstrap = bootstrap
        self._topics = topics
        self._log = log
        self._edge = edge
        self._ties = Ties()
        self._changed: dict[bytes, bytes | None] = {}
        self._round: list[Move] = []
        self._reached = 0
        self._written = -1

    @property
    def moving(self) -> bool:
        """Whether something is still to be told once more."""
        return bool(self._ties.moves)

    async def load(self) -> None:
        """Take up what the predecessor wrote; what stands on the log since is for ``fold``."""
        stored = await latest(self._bootstrap, self._topics.links, self.partition)
        place = _place(stored.pop(_PLACE)) if _PLACE in stored else None
        if place is None or place.generation != self._log.generation:
            self._changed = dict.fromkeys(stored)
            return
        self.known, self.position, self._written = True, place.position, place.position
        for key, value in stored.items():
            if key.startswith(_TIE):
                self._ties.ties[key.removeprefix(_TIE).decode()] = _tie(value)
            elif key.startswith(_MOVE):
                move = _move(value)
                self._ties.moves[move.end] = move

    def fold(self, event: Event[Any]) -> None:
        """Take in a record where it stands on the log."""
        tie = self._ties.fold(event)
        if tie is not None:
            self._changed[_TIE + event.subject.encode()] = _encode(tie)
            self._keep(self._ties.moves[event.offset])

    def recall(self, record: Record) -> None:
        """Take in a record that our predecessors left, if it stands behind what the changelog knows."""
        if record.offset >= self.position:
            if _HINT in record.value:
                for event in events_of([record]):
                    self.fold(event)
            self.position = record.offset + 1

    def forget_moves(self) -> None:
        """Take everything said so far as moved: of a log that came from elsewhere nobody knows better."""
        for end in list(self._ties.moves):
            self._done(end)

    def appended(self, events: Sequence[Event[Raw]], first: int) -> None:
        """Take in what was committed, the first of it at offset ``first``."""
        for place, event in enumerate(events, first):
            if event.type in WORDS:
                event.offset = place
                self.fold(event)
        self.position = first + len(events)

    def unwritten(self) -> list[Outgoing]:
        """What goes into the changelog with the next transaction; a failed one's owner is not used again."""
        if not self._changed and self._written >= 0 and self.position - self._written < _UNWRITTEN:
            return []
        changed, self._changed = self._changed, {}
        self._written = self.position
        place = _encode(Place(self._log.generation, self.position))
        return [*(Outgoing(key, value) for key, value in changed.items()), Outgoing(_PLACE, place)]

    def admit(self, event: Event[Raw]) -> Admitted | Refusal:
        """What becomes of an event that may enter, or of what another partition handed on."""
        if event.source == SOURCE and event.type in WORDS:
            return self._word(event)
        account = self._ties.linked_to(event.subject)
        if account is None:
            return Admitted([event], [])
        event.linkedto = account
        on = self._copies([(event, account)]) if follows(event) and event.origin != account else []
        return Admitted([event], on)

    def handed_on(self, events: Sequence[Event[Raw]]) -> list[Outgoing]:
        """Events on their way to the inbox of their subjects' partitions."""
        partitions = self._log.partitions
        return [
            Outgoing(
                event.subject.encode(),
                codec.encode(event),
                [(HANDED_ON, b"")],
                partition=partition_of(event.subject, partitions),
            )
            for event in events
        ]

    async def retell(self) -> Admitted | None:
        """What the next page of the past makes, and how far that is; None where nothing is to be told, or read yet."""
        if not self._round:
            self._begin_round()
        batch = await self._log.read(self.partition, self._reached, _PAGE) if self._round else None
        if batch is None or batch.next_position == self._reached:
            return None
        moves = {move.subject: move for move in self._round}
        told_to = self._ties.told_to
        again = [
            (event, account)
            for event in events_of(record for record in batch.records if _subject_of(record) in moves)
            if (account := told_to(moves[event.subject], event)) is not None
        ]
        told = Admitted([], [])
        for copy, (event, account) in zip(self._copies(again, retold=True), again, strict=True):
            if account != event.subject:
                told.on.append(copy)
                continue
            admitted = self.admit(copy)
            assert isinstance(admitted, Admitted), "only words are refused, and they are not told again"
            told.here.extend(admitted.here)
            told.on.extend(admitted.on)
        self._reached = batch.next_position
        self._pass(bool(again))
        return told

    def _begin_round(self) -> None:
        """Take up what is to be moved: all of it in one reading of the log, but of each subject the first alone."""
        subjects: set[str] = set()
        for _, move in sorted(self._ties.moves.items()):
            if move.subject not in subjects:
                subjects.add(move.subject)
                self._round.append(move)
        self._reached = min((move.start for move in self._round), default=0)

    def _pass(self, told: bool) -> None:
        """Note how far the moves have come, where that must be known to whoever comes next."""
        for move in list(self._round):
            if move.end < self._reached:
                self._round.remove(move)
                self._done(move.end)
            elif told:
                move.start = max(move.start, self._reached)
                self._keep(move)

    def _keep(self, move: Move) -> None:
        self._changed[_MOVE + str(move.end).encode()] = _encode(move)

    def _done(self, end: int) -> None:
        del self._ties.moves[end]
        self._changed[_MOVE + str(end).encode()] = None

    def _copies(self, events: Sequence[tuple[Event[Raw], str]], *, retold: bool = False) -> list[Event[Raw]]:
        copies = self._edge.copies(events, retold=retold)
        for copy, (event, account) in zip(copies, events, strict=True):
            if account == event.subject:
                copy.via = event.via
            elif copy.origin != event.subject:
                copy.via = event.subject
            # What was decided on the one is heard of the other, and not decided on it.
            copy.retold = retold or event.retold or event.type in DECISIONS
        return copies

    def _word(self, event: Event[Raw]) -> Admitted | Refusal:
        """A word on who is linked to whom, with what it makes others say."""
        if event.is_copy:
            return self._came_round(event)
        ties, subject = self._ties, event.subject
        before = ties.linked_to(subject)
        if event.type == LINKED and event.causationid is not None and (before or ties.was_parted(subject)):
            return Admitted([], [])  # said of an event: it overrules nobody, and is said at each of them
        if event.type == LINKED and before == _linked(event.data).account:
            return Admitted([], [])
        if (why := ties.why_not(event)) is not None:
            return Refusal("data", (Fault("/data", why),))
        ties.say(event)
        if event.type == UNLINKED:
            assert before is not None, "it was linked, or it was refused"
            return Admitted([event], [_parted(before, subject, event)])
        account = ties.linked_to(subject)
        if account is None:
            return Admitted([event], [])
        if event.type == LINKED:
            return Admitted([event], [linking.copied(event, account, retold=False)])
        return Admitted([event], [_parted(account, subject, event)])

    def _came_round(self, event: Event[Raw]) -> Admitted:
        """A link on its way along the chain: where it comes back to who was linked, that one is linked to itself.

        Links that closed the ring at once all come round, and one is to be taken back. So each goes round once more for
        every other whose visitor has a later name; who is passed by none such is the first to be home. It left home
        ahead of those who passed there, and on one way nobody overtakes: they find the ring open.
        """
        account, seeking = self._ties.linked_to(event.subject), _seeking(event.data)
        at_home = event.origin is None
        if account is None or (at_home and account != seeking.account):
            return Admitted([], [])
        if at_home and seeking.rounds == seeking.before:
            back = _said(IdentityUnlinked(account=account), event.subject, event)
            self._ties.say(back)
            return Admitted([back], [_parted(account, event.subject, back)])
        if at_home:
            seeking.rounds += 1
        elif not seeking.rounds and event.subject > str(event.origin):
            seeking.before += 1
        on = linking.copied(event, account, retold=False)
        on.retold, on.data = on.origin is None, Raw(codec.encode(seeking))
        return Admitted([], [on])


def _subject_of(record: Record) -> str:
    """Whose the record is; nobody's where somebody else has written to the log, and it is none."""
    try:
        return _head(record.value).subject
    except codec.NO_EVENT:
        return ""


def _parted(account: str, visitor: str, cause: Event[Any]) -> Event[Raw]:
    return _said(IdentityParted(visitor=visitor), account, cause)


def _said(data: EventData, subject: str, cause: Event[Any]) -> Event[Raw]:
    """A word that follows from another one, when that was said, and the same whoever says it."""
    named = named_id(_NAMESPACE, "\n".join((subject, codec.encode(data).decode(), cause.subject, cause.id)))
    event = codec.new_event(data, id=named, source=SOURCE, subject=subject, time=cause.time, actor=cause.actor)
    event.causationid, event.correlationid = cause.id, cause.correlationid or cause.id
    return event
