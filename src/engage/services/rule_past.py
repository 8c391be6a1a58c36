"""A rule's past, folded alone and in silence: for a rule that is activated, enabled, or goes on with an account."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from engage.events.envelope import Event
from engage.log.contract import Record
from engage.rules.engine import Engine
from engage.rules.mending import CLOSING, SKIPPED, Passed, PassedOver, is_word, opened, passed_by
from engage.rules.policy import NAME as POLICY
from engage.services.records import events_of

_MAY_BE_ONE = SKIPPED.encode()
"""To look for it takes a tenth of the time of decoding a record, and few are such words."""


class Skips:
    """What the records up to before ``position`` say is to be passed over, and by which rule."""

    def __init__(self) -> None:
        self.position = 0
        self._found: dict[Passed, int] = {}

    def look(self, records: Iterable[Record], end: int) -> None:
        """Look at these records, which are all from ``position`` up to before ``end``."""
        for event in events_of(one for one in records if one.offset >= self.position and _MAY_BE_ONE in one.value):
            self.note(event)
        self.position = max(self.position, end)

    def note(self, event: Event[Any]) -> None:
        """Know of one that is on its way to the log, too."""
        word = opened(event) if is_word(event) else None
        if word is not None and (passed := passed_by(word)) is not None:
            said_at = sys.maxsize if event.offset < 0 else event.offset
            self._found[passed] = min(said_at, self._found.get(passed, sys.maxsize))

    def of(self, rule: str, account: str | None = None, until: int = 0) -> frozenset[Passed]:
        """What ``rule`` is not told: of ``account`` what was said up to the record at ``until``, of others all."""
        return frozenset(
            one
            for one, said_at in self._found.items()
            if one.rule == rule and (one.account != account or said_at <= until)
        )


class RulePast:
    """The past of the rule ``name`` in an ``engine`` of its own, fed with records in order up to ``position``."""

    def __init__(self, name: str, engine: Engine, passed: frozenset[Passed] = frozenset()) -> None:
        self.name = name
        self.engine = engine
        self.passed = passed
        engine.passed = PassedOver(passed) if passed else None
        self._closed: dict[str, set[str]] = {}

    @property
    def position(self) -> int:
        """Behind the last record that was folded."""
        return self.engine.position

    def fold(self, records: Iterable[Record]) -> None:
        """Fold these, but for those that were folded."""
        for event in events_of(record for record in records if record.offset >= self.engine.position):
            self.fold_event(event)

    def fold_event(self, event: Event[Any]) -> None:
        """Fold the next record."""
        self.engine.fold(event, silent=True)
        if self.name == POLICY and event.type in CLOSING and (found := opened(event)) is not None:
            passed = Passed(self.name, found.subject, found.offset, found.id)
            if passed not in self.passed:
                self._closed.setdefault(found.subject, set()).add(found.data.follow_up_id)

    def closed(self, account: str) -> Iterable[str]:
        """The ids of the account's follow-ups that were closed; only the past of the policy knows."""
        return self._closed.get(account, ())
