"""A log in memory with the engine's stored state beside it, so that tests can crash it and take it up again."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from datetime import datetime
from typing import Any

import msgspec

from engage.events import codec
from engage.events.envelope import Event
from engage.log.contract import Record
from engage.rules.decisions import TYPES as DECISIONS
from engage.rules.engine import Engine, Failure
from engage.rules.policy import PolicySettings
from engage.rules.rule import Rule
from engage.services.intake import Stamp
from engage.services.partition_runner import PartitionRunner
from engage.services.records import read_event
from engage.testing.events import moment

NO_BASIS = msgspec.msgpack.encode({})


class Ledger:
    """One partition: every ``admit`` and ``tick`` is committed at once, as a shell of the runner would."""

    def __init__(self, rules: Sequence[Rule[Any, Any]], policy: PolicySettings | None = None) -> None:
        self.rules = list(rules)
        self.policy = policy
        self.log: list[Record] = []
        self.failures: list[Failure] = []
        self.forget()

    def forget(self) -> None:
        """Lose the engine's state, and take it up from the log alone."""
        self.cells: dict[tuple[str, str], bytes] = {}
        self.position, self.basis = 0, NO_BASIS
        self.restart()

    def restart(self, rules: Sequence[Rule[Any, Any]] | None = None) -> list[Event[Any]]:
        """A new process takes up what was committed, perhaps with other rules; what it decided at once."""
        self.rules = list(rules or self.rules)
        last = self.log[-1].recorded if self.log else None
        stamp = Stamp(0, last) if last else Stamp(0)
        self.runner = PartitionRunner(Engine(0, self.rules, self.policy), stamp, len(self.log), self.past)
        stored = [(rule, account, value) for (rule, account), value in self.cells.items()]
        self.runner.resume(self.position, self.basis, stored)
        return self.commit()

    def past(self, end: int) -> list[Record]:
        """The committed records before ``end``."""
        return self.log[:end]

    def admit(self, *events: Event[Any], as_lived: bool = False) -> list[Event[Any]]:
        """Take in events, each at the moment it says it was recorded; the decisions this led to."""
        for event in events:
            self.runner.admit(copy(event), event.now, as_lived=as_lived)
        return self.commit()

    def tick(self, now: str | datetime) -> list[Event[Any]]:
        """The clock's service looks after the partition at ``now``; the decisions this led to."""
        self.runner.tick(moment(now))
        return self.commit()

    def commit(self) -> list[Event[Any]]:
        """Store log, cells, basis and position; the decisions among the new records, typed."""
        fresh = self.runner.taken()
        self.log += fresh
        for rule, account, value in self.runner.engine.cells.changes():
            if value is None:
                self.cells.pop((rule, account), None)
            else:
                self.cells[rule, account] = value
        self.position, self.basis = self.runner.engine.position, self.runner.basis()
        self.failures += self.runner.engine.failures
        self.runner.engine.failures.clear()
        return decisions(fresh)

    def state(self) -> dict[tuple[str, str], Any]:
        """All stored cells as plain values, to compare."""
        return {key: msgspec.json.decode(value) for key, value in self.cells.items()}


def decisions(records: Sequence[Record]) -> list[Event[Any]]:
    """The decisions among ``records``, their data typed."""
    return [codec.open_data(event) for event in map(read_event, records) if event.type in DECISIONS]


def types(records: Sequence[Record]) -> list[str]:
    """The records' event types."""
    return [read_event(record).type for record in records]
