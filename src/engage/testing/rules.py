"""Given, when, then for follow-up rules: what happened, what happens now, and what the rules make of it.

It runs the real ``PartitionRunner``, so a test sees intake, timers, engine and policy as production does. Between two
events the clock ticks whenever something is due.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from datetime import datetime
from typing import Any

from msgspec import Struct

from engage.events import codec
from engage.events.catalogue.follow_up import FollowUpRequested, Priority, Purpose, SkipReason
from engage.events.envelope import Event
from engage.log.contract import Record
from engage.rules.decisions import TYPES as DECISIONS
from engage.rules.engine import Engine
from engage.rules.policy import PolicySettings
from engage.rules.rule import Rule
from engage.services.intake import Stamp
from engage.services.partition_runner import PartitionRunner
from engage.services.records import read_event
from engage.testing.events import moment


class Expected(Struct, frozen=True):
    """A decision that a test expects; a field that is None may be anything."""

    kind: str
    fields: dict[str, Any]

    def fits(self, decision: Event[Any]) -> bool:
        """Whether ``decision`` is what was expected."""
        seen = _seen(decision)
        return all(seen.get(name) == value for name, value in self.fields.items()) and seen["kind"] == self.kind

    def __str__(self) -> str:
        return f"{self.kind}: {_listed(self.fields)}"


def requested(
    what: str,
    *,
    about: str | None = None,
    account: str | None = None,
    rule: str | None = None,
    purpose: Purpose | None = None,
    priority: Priority | None = None,
    channels: Sequence[str] | None = None,
    why: str | None = None,
    due: str | datetime | None = None,
    expires: str | datetime | None = None,
) -> Expected:
    """A follow-up that is asked for; ``due`` is its service level, ``expires`` when it comes too late."""
    return _expected(
        "requested",
        what=what,
        about=about,
        account=account,
        rule=rule,
        purpose=purpose,
        priority=priority,
        channels=tuple(channels) if channels is not None else None,
        why=why,
        due=moment(due) if due is not None else None,
        expires=moment(expires) if expires is not None else None,
    )


def skipped(
    what: str, *, reason: SkipReason, about: str | None = None, account: str | None = None, rule: str | None = None
) -> Expected:
    """A follow-up that is not asked for, and why not."""
    return _expected("skipped", what=what, reason=reason, about=about, account=account, rule=rule)


AT_ANY_HOUR = PolicySettings(quiet_hours=None)
"""The policy without quiet hours: what a rule asks for at night is asked for at night."""


def given(
    rules: Rule[Any, Any] | Iterable[Rule[Any, Any]], *events: Event[Any], policy: PolicySettings = AT_ANY_HOUR
) -> Story:
    """What happened before: ``events`` in the order in which the log learned of them.

    A test of a rule says nothing of quiet hours, so there are none unless ``policy`` says otherwise.
    """
    chosen = [rules] if isinstance(rules, Rule) else list(rules)
    return Story(chosen, policy).when(*events)


class Story:
    """An account's story as the rules see it; ``decisions`` are those since the last ``when``, as typed events."""

    def __init__(self, rules: Sequence[Rule[Any, Any]], policy: PolicySettings) -> None:
        self.log: list[Record] = []
        self.decisions: list[Event[Any]] = []
        self._runner = PartitionRunner(Engine(0, rules, policy), Stamp(0), 0, lambda end: self.log[:end])

    def when(self, *events: Event[Any], time: str | datetime | None = None) -> Story:
        """These events are recorded now; then the clock goes on to ``time``."""
        self._commit()
        start = len(self.log)
        for event in events:
            self._pass(event.now)
            self._runner.admit(copy(event), event.now)
        if time is not None:
            self._pass(moment(time))
        self._commit()
        fresh = (read_event(record) for record in self.log[start:])
        self.decisions = [codec.open_data(event) for event in fresh if event.type in DECISIONS]
        return self

    def then(self, *expected: Expected) -> Story:
        """Exactly these decisions were taken since the last ``when``; AssertionError with the difference otherwise."""
        left, missing = list(self.decisions), []
        for each in sorted(expected, key=lambda one: -len(one.fields)):
            found = next((decision for decision in left if each.fits(decision)), None)
            if found is None:
                missing.append(each)
            else:
                left.remove(found)
        if missing or left:
            lines = [f"  expected, did not come: {each}" for each in missing]
            lines += [f"  came, not expected:     {_described(decision)}" for decision in left]
            raise AssertionError("the decisions differ:\n" + "\n".join(lines))
        return self

    def then_nothing(self) -> Story:
        """No decision was taken since the last ``when``, not even a no."""
        return self.then()

    def state(self, rule: Rule[Any, Any], account: str = "acc-1") -> Any:
        """What ``rule`` remembers of an account; only to look at."""
        return self._runner.engine.cells.get((rule.name, account)).state

    def _pass(self, until: datetime) -> None:
        if until < self._runner.stamp.last:
            raise ValueError(f"time does not go back: {until} is before {self._runner.stamp.last}")
        while (due := self._runner.engine.cells.next_due()) and due <= until:
            self._runner.tick(due)

    def _commit(self) -> None:
        self.log += self._runner.taken()
        if self._runner.engine.failures:
            failure = self._runner.engine.failures[0]
            raise AssertionError(f"rule {failure.rule!r} failed on account {failure.account!r}:\n{failure.traceback}")


def _expected(kind: str, **fields: Any) -> Expected:
    return Expected(kind, {name: value for name, value in fields.items() if value is not None})


def _seen(decision: Event[Any]) -> dict[str, Any]:
    kind = "requested" if isinstance(decision.data, FollowUpRequested) else "skipped"
    fields = {name: getattr(decision.data, name) for name in decision.data.__struct_fields__}
    return {**fields, "kind": kind, "account": decision.subject}


_TOLD = (
    "what",
    "about",
    "account",
    "rule",
    "reason",
    "detail",
    "purpose",
    "priority",
    "channels",
    "why",
    "due",
    "expires",
)


def _described(decision: Event[Any]) -> str:
    seen = _seen(decision)
    return f"{seen['kind']}: {_listed({name: seen[name] for name in _TOLD if name in seen})}"


def _listed(fields: dict[str, Any]) -> str:
    return ", ".join(
        f"{name}={str(value) if isinstance(value, datetime) else repr(value)}" for name, value in fields.items()
    )
