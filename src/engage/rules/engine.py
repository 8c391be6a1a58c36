"""The engine: one partition's records through all rules, timers fired by the log's time, the policy's word on each.

Pure: no I/O, no clock. Speed lives here: rules are dispatched by event type, because asking 20 rules one by one costs
eight times as much, and most handlers yield nothing, so what an effect needs is made when there is one. On the demo's
mix (``benchmarks/streams.py``) the rules' own handlers are a quarter of what is left.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from engage.events import codec
from engage.events.catalogue import type_of
from engage.events.catalogue.follow_up import Cause
from engage.events.catalogue.rule import RuleActivated
from engage.events.envelope import Event, is_account
from engage.rules import policy
from engage.rules.cells import Armed, Cell, CellKey, Cells, Parked, RuleCells
from engage.rules.deciding import Basis, Deciding
from engage.rules.decisions import Proposal, check_request, check_wake, proposed_again
from engage.rules.policy import OBSERVERS, PolicySettings, PolicyState
from engage.rules.rule import Effect, FollowUpRequest, Forget, OnEvent, Rule, RuleSettings, Wake, Woken

SETTLING = timedelta(hours=1)
"""A record that comes later than this after it happened is late: its wakes fire no sooner than this after it came."""
ACTIVATED = type_of(RuleActivated)


class Failure(Struct, frozen=True):
    """A rule that raised: which rule, on which event, and the traceback. Its account is parked for that rule."""

    rule: str
    account: str
    event_id: str
    offset: int
    traceback: str


Observer = Callable[[PolicyState, Event[Any]], None]
"""What the policy does at an event."""
Listener = tuple[Rule[Any, Any], RuleCells, OnEvent, Any]
"""A rule, its cells, what it does at an event, and its settings."""


class Engine:
    """All rules over one partition."""

    def __init__(
        self,
        partition: int,
        rules: Sequence[Rule[Any, Any]],
        settings: PolicySettings | None = None,
        settling: timedelta = SETTLING,
    ) -> None:
        self.partition = partition
        self.rules = {rule.name: rule for rule in rules}
        self.policy_settings = settings or PolicySettings()
        self.settling = settling
        self.position = 0
        self.basis: dict[str, Basis] = {}
        self.failures: list[Failure] = []
        states: dict[str, type[Any]] = {rule.name: rule.state for rule in rules}
        self.cells = Cells({**states, policy.NAME: PolicyState}, self._unkept)
        self._deciding = Deciding(self.cells, self.policy_settings, self.rules)
        self._policy_cells = self.cells.of(policy.NAME)
        self._dispatch: dict[str, tuple[Observer | None, list[Listener]]] = {
            kind: (observer, []) for kind, observer in OBSERVERS.items()
        }
        for rule in rules:
            cells = self.cells.of(rule.name)
            for kind, handler in rule.handlers.items():
                self._dispatch.setdefault(kind, (None, []))[1].append((rule, cells, handler, rule.settings))
        # The rules whose cells are a fold of everything so far: all, until some are given up on resuming.
        self._whole = set(self.rules)

    def fold(self, event: Event[Any], *, silent: bool = False, known: Sequence[Event[Any]] = ()) -> list[Event[Any]]:
        """Fold the record at ``event.offset``; what is decided comes back as events, in order.

        ``silent``: decide nothing. ``known`` are then the decisions that the log holds as decided at this record: the
        policy remembers them instead.
        """
        now = event.recorded
        assert now is not None, "an event that is folded has been recorded"
        timers = self.cells.timers
        decided: list[Event[Any]] = []
        if timers and timers[0][0] <= now:
            proposals = self._fire(event, now)
            if proposals and not silent:
                decided += self._deciding.decide_on(proposals, self.basis)
        heard_by = self._dispatch.get(event.type)
        if heard_by is not None and is_account(event.subject):
            proposals = self._hand(event, now, *heard_by)
            if proposals and not silent:
                decided += self._deciding.decide_on(proposals, self.basis)
            if timers and timers[0][0] <= now:  # what the handlers armed for a moment that is past already
                proposals = self._fire(event, now)
                if proposals and not silent:
                    decided += self._deciding.decide_on(proposals, self.basis)
        if known:
            self._deciding.learn(known)
        self.position = event.offset + 1
        return decided

    @property
    def wanted(self) -> frozenset[str]:
        """The event types whose data this engine opens: a reader may decode them in the same pass."""
        return frozenset(self._dispatch.keys() | {ACTIVATED})

    def activations(self) -> list[RuleActivated]:
        """What must be put on the log before these rules may emit: each one that is new here, or changed."""
        wanted: dict[str, tuple[int, RuleSettings]] = {
            rule.name: (rule.version, rule.settings) for rule in self.rules.values()
        }
        wanted[policy.NAME] = (policy.VERSION, self.policy_settings)
        return [
            RuleActivated(partition=self.partition, rule=name, rule_version=version, settings=_plain(settings))
            for name, (version, settings) in wanted.items()
            if (basis := self.basis.get(name)) is None or (basis.version, basis.settings) != (version, _plain(settings))
        ]

    def predecessor(self, activation: RuleActivated) -> Engine | None:
        """The engine that must fold all records before the activation, in silence, and be handed to ``activate``.

        None where nothing is missing: what we hold of the rule is the fold of its whole past, or it is not ours.
        """
        name = activation.rule
        if name not in self.rules or name in self._whole or activation not in self.activations():
            return None
        return Engine(self.partition, [self.rules[name]], self.policy_settings, self.settling)

    def activate(self, record: Event[RuleActivated], before: Engine | None) -> None:
        """The rule emits from ``record`` on; ``before`` is what ``predecessor`` gave, fed with the past.

        When another version is activated, or other settings, ours is silent from there on.
        """
        activation = record.data
        name = activation.rule
        if activation not in self.activations():
            ours = self.basis.get(name)
            if ours and (ours.version, ours.settings) != (activation.rule_version, activation.settings):
                del self.basis[name]
            return
        if before is not None:
            self.cells.adopt(name, before.cells)
            self.failures += before.failures
            self._whole.add(name)
        shape = self.cells.of(name).shape
        self.basis[name] = Basis(activation.rule_version, activation.settings, record.offset, shape)

    def resume(self, basis: Mapping[str, Basis], position: int, stored: Iterable[tuple[str, str, bytes]]) -> None:
        """Take up the state another engine left: what ``cells.changes`` gave out, its ``basis`` and ``position``.

        Cells of a rule that has changed, or is no more, belong to its past: they are given up, and its activation folds
        them anew.
        """
        self.position = position
        self.basis = dict(basis)
        outdated = {activation.rule for activation in self.activations()} - {policy.NAME}
        current = (self.rules.keys() | {policy.NAME}) - outdated
        self.basis = {name: kept for name, kept in basis.items() if name in current}
        kept_cells = []
        for cell in stored:
            if cell[0] in self.basis:
                kept_cells.append(cell)
            else:
                self.cells.touch((cell[0], cell[1]))
        shapes = {name: self.cells.of(name).shape for name in self.basis}
        known = {name for name, kept in self.basis.items() if kept.shape == shapes[name]}
        unreadable = self.cells.load(kept_cells, known)
        self.basis = {name: replace(kept, shape=shapes[name]) for name, kept in self.basis.items()}
        if policy.NAME in unreadable:  # its state comes from the decisions on the log: everything is folded anew
            unreadable = set(self.basis)
            self.position = 0
        for name in unreadable:
            self.cells.drop(name)
            self.basis.pop(name, None)
        self._whole = set(self.rules.keys() & self.basis.keys() if self.position else self.rules)

    def _fire(self, event: Event[Any], now: datetime) -> list[Proposal]:
        """What is due at this record."""
        proposals: list[Proposal] = []
        pop_due = self.cells.pop_due
        while fired := pop_due(now):
            name, account, about, cell, armed = fired
            if name == policy.NAME:
                waited = policy.release(cell.state, armed.due)
                proposals += [proposed_again(each, event, account) for each in waited]
                continue
            rule = self.rules[name]
            handler = rule.wake_handler
            if handler is None:
                continue
            woken = Woken(account, about, armed.due, now)
            try:
                effects = list(handler(cell.state, woken, rule.settings) or ())
                if effects:
                    self._check_wakes(effects, armed.due)
                    proposals += self._apply(effects, rule, account, cell, event, now, armed)
            except Exception:
                self._park((name, account), cell, armed.cause_id, event.offset)
        return proposals

    def _hand(
        self, event: Event[Any], now: datetime, observer: Observer | None, listeners: Sequence[Listener]
    ) -> list[Proposal]:
        """Give the event to the policy and to each rule that listens for it."""
        account = event.subject
        try:
            if type(event.data) is Raw:
                event = codec.open_data(event)
                if type(event.data) is Raw:  # older than its type: nobody could hear of it then
                    return []
            if observer is not None:
                cells = self._policy_cells
                cell = cells.by_account.get(account) or cells.lend(account)
                observer(cell.state, event)
                if cell is not cells.spare:
                    cells.changed[account] = None
                elif not cells.untouched:
                    cells.keep(account)
                    cells.changed[account] = None
        except Exception:
            # A record that can no longer be read: its account waits, for every rule that wanted to hear of it.
            heard = [rule.name for rule, _, _, _ in listeners] + [policy.NAME] * (observer is not None)
            for key in [(name, account) for name in heard]:
                cell = self.cells.get(key)
                if not cell.parked:
                    self._park(key, cell, event.id, event.offset)
            return []
        proposals: list[Proposal] = []
        for rule, cells, handler, settings in listeners:
            cell = cells.by_account.get(account) or cells.lend(account)
            if cell.parked is not None:
                continue
            try:
                effects = handler(cell.state, event, settings)
                if effects:
                    if type(effects) is not tuple and type(effects) is not list:
                        effects = list(effects)  # all of them before the first is applied: it may raise
                    if effects:
                        if cell is cells.spare:
                            cells.keep(account)
                        proposals += self._apply(effects, rule, account, cell, event, now, None)
            except Exception:
                self._park((rule.name, account), cell, event.id, event.offset)
            if cell is cells.spare:
                if cells.untouched:
                    continue
                cells.keep(account)
            cells.changed[account] = None
        return proposals

    def _apply(
        self,
        effects: Sequence[Effect],
        rule: Rule[Any, Any],
        account: str,
        cell: Cell[Any],
        event: Event[Any],
        now: datetime,
        woken_by: Armed | None,
    ) -> list[Proposal]:
        """Do what the rule asked for when it heard ``event``, or was ``woken_by`` a wake; its requests come back."""
        proposals: list[Proposal] = []
        if woken_by is None:
            base, cause_id, source, offset = event.time, event.id, event.source, event.offset
        else:
            base, cause_id = woken_by.due, woken_by.cause_id
            source, offset = woken_by.cause_source, woken_by.cause_offset
        for effect in effects:
            if isinstance(effect, Wake):
                at = fires = effect.at
                about = effect.about
                # Most are in UTC, and checking and converting them takes longer than making the wake.
                if type(at) is not datetime or at.tzinfo is not UTC or type(about) is not str:
                    check_wake(effect)
                    at = fires = at.astimezone(UTC)
                if woken_by is None and now - base > self.settling:
                    fires = max(at, now + self.settling)
                self.cells.arm(cell, rule.name, account, about, Armed(fires, at, cause_id, source, offset))
            elif isinstance(effect, Forget):
                cell.wakes.pop(effect.about, None)
            elif isinstance(effect, FollowUpRequest):
                check_request(effect, base)
                proposals.append(
                    Proposal(
                        rule=rule.name,
                        rule_version=rule.version,
                        account=account,
                        request=effect,
                        ordinal=len(proposals),
                        cause=Cause(id=cause_id, source=source, partition=self.partition, offset=offset),
                        base=base,
                        now=now,
                        decided_at=event.offset,
                        wake_due=None if woken_by is None else base,
                    )
                )
            else:
                raise TypeError(f"rule {rule.name!r} yielded {effect!r}: yield Wake, Forget or FollowUpRequest")
        return proposals

    def _check_wakes(self, effects: Sequence[Effect], due: datetime) -> None:
        for effect in effects:
            if isinstance(effect, Wake) and effect.at <= due:
                raise ValueError(
                    f"a wake due at {due.isoformat()} asked to be woken at {effect.at.isoformat()}: ask for later"
                )

    def _unkept(self, key: CellKey, error: Exception) -> Parked:
        """The rule left a state that cannot be written down."""
        self.failures.append(Failure(key[0], key[1], "", self.position - 1, f"its state cannot be kept: {error}"))
        return Parked(self.position - 1, "", f"its state cannot be kept: {error}")

    def _park(self, key: CellKey, cell: Cell[Any], event_id: str, offset: int) -> None:
        text = traceback.format_exc()
        cell.parked = Parked(offset, event_id, text.strip().rpartition("\n")[2])
        self.cells.touch(key)
        self.failures.append(Failure(key[0], key[1], event_id, offset, text))


def _plain(settings: RuleSettings) -> dict[str, Any]:
    """All settings, defaults too, as they are read back from the log, to be compared with what stands there."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(msgspec.structs.asdict(settings)))
    return plain
