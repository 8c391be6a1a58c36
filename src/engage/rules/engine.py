"""The engine: one partition's records through all rules, timers fired by the log's time, the policy's word on each.

Pure: no I/O, no clock. Rules are dispatched by event type, because asking 20 rules one by one costs eight times as much
(``benchmarks/engine.py``).
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from engage.events import codec
from engage.events.catalogue import type_of
from engage.events.catalogue.follow_up import URGENCY, Cause, FollowUpSkipped
from engage.events.catalogue.rule import RuleActivated
from engage.events.envelope import Event, is_account
from engage.rules import policy
from engage.rules.cells import Armed, Cell, CellKey, Cells, Parked
from engage.rules.decisions import Proposal, check_request, check_wake, decision, proposed_again
from engage.rules.policy import OBSERVERS, No, PolicySettings, PolicyState, Yes
from engage.rules.rule import Effect, FollowUpRequest, Forget, OnEvent, Rule, RuleSettings, Wake, Woken

SETTLING = timedelta(hours=1)
"""A record that comes later than this after it happened is late: its wakes fire no sooner than this after it came."""
ACTIVATED = type_of(RuleActivated)


class Basis(Struct, frozen=True, array_like=True):
    """The version and settings of a rule that its cells were folded with, and from which offset on it emits."""

    version: int
    settings: dict[str, Any]
    since: int


class Failure(Struct, frozen=True):
    """A rule that raised: which rule, on which event, and the traceback. Its account is parked for that rule."""

    rule: str
    account: str
    event_id: str
    offset: int
    traceback: str


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
        self._settings: dict[str, Any] = {rule.name: rule.settings for rule in rules}
        self._dispatch: dict[str, list[tuple[Rule[Any, Any], OnEvent]]] = {}
        for rule in rules:
            for kind, handler in rule.handlers.items():
                self._dispatch.setdefault(kind, []).append((rule, handler))
        self._wanted = self._dispatch.keys() | OBSERVERS.keys()
        # The rules whose cells are a fold of everything so far: all, until some are given up on resuming.
        self._whole = set(self.rules)

    def fold(self, event: Event[Any], *, silent: bool = False, known: Sequence[Event[Any]] = ()) -> list[Event[Any]]:
        """Fold the record at ``event.offset``; what is decided comes back as events, in order.

        ``silent``: decide nothing. ``known`` are then the decisions that the log holds as decided at this record: the
        policy remembers them instead.
        """
        decided: list[Event[Any]] = []
        self._wake(event, silent, decided)
        if event.type in self._wanted and is_account(event.subject):
            proposals = self._listen(event)
            if not silent:
                self._decide(proposals, decided)
            self._wake(event, silent, decided)  # what the handlers armed for a moment that is past already
        for decision_on_log in known:
            self._learn(decision_on_log)
        self.position = event.offset + 1
        return decided

    @property
    def wanted(self) -> frozenset[str]:
        """The event types whose data this engine opens: a reader may decode them in the same pass."""
        return frozenset(self._wanted | {ACTIVATED})

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
        self.basis[name] = Basis(activation.rule_version, activation.settings, record.offset)

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
        unreadable = self.cells.load(kept_cells)
        if policy.NAME in unreadable:  # its state comes from the decisions on the log: everything is folded anew
            unreadable = set(self.basis)
            self.position = 0
        for name in unreadable:
            self.cells.drop(name)
            self.basis.pop(name, None)
        self._whole = set(self.rules.keys() & self.basis.keys() if self.position else self.rules)

    def _wake(self, event: Event[Any], silent: bool, decided: list[Event[Any]]) -> None:
        """Fire what is due at this record, and decide on it."""
        due = self.cells.next_due()
        if due is None or due > event.now:
            return
        proposals = self._fire(event, event.now)
        if not silent:
            self._decide(proposals, decided)

    def _fire(self, event: Event[Any], now: datetime) -> list[Proposal]:
        proposals: list[Proposal] = []
        while fired := self.cells.pop_due(now):
            key, about, armed = fired
            if key[0] == policy.NAME:
                waited = policy.release(self.cells.get(key).state, armed.due)
                proposals += [proposed_again(each, event, key[1]) for each in waited]
                continue
            rule = self.rules[key[0]]
            woken = Woken(key[1], about, armed.due, now)
            cause = Cause(
                id=armed.cause_id, source=armed.cause_source, partition=self.partition, offset=armed.cause_offset
            )
            if rule.wake_handler is None:
                continue
            cell = self.cells.get(key)
            try:
                effects = list(rule.wake_handler(cell.state, woken, self._settings[rule.name]) or ())
                self._check_wakes(effects, armed.due)
                proposals += self._apply(effects, rule, key, cell, cause, armed.due, event, armed.due)
            except Exception:
                self._park(key, cell, cause.id, event.offset)
        return proposals

    def _listen(self, event: Event[Any]) -> list[Proposal]:
        listening = self._dispatch.get(event.type, ())
        try:
            opened = codec.open_data(event) if isinstance(event.data, msgspec.Raw) else event
            if isinstance(opened.data, msgspec.Raw):  # older than its type: nobody could hear of it then
                return []
            self._observe(opened)
        except Exception:
            # A record that can no longer be read: its account waits, for every rule that wanted to hear of it.
            heard = [rule.name for rule, _ in listening] + [policy.NAME] * (event.type in OBSERVERS)
            for name in heard:
                key = (name, event.subject)
                cell = self.cells.get(key)
                if not cell.parked:
                    self._park(key, cell, event.id, event.offset)
            return []
        return [each for rule, handler in listening for each in self._hand(opened, rule, handler)]

    def _hand(self, event: Event[Any], rule: Rule[Any, Any], handler: OnEvent) -> list[Proposal]:
        key = (rule.name, event.subject)
        cell = self.cells.get(key)
        if cell.parked:
            return []
        self.cells.touch(key)
        cause = Cause(id=event.id, source=event.source, partition=self.partition, offset=event.offset)
        try:
            effects = list(handler(cell.state, event, self._settings[rule.name]) or ())
            return self._apply(effects, rule, key, cell, cause, event.time, event, None)
        except Exception:
            self._park(key, cell, event.id, event.offset)
            return []

    def _apply(
        self,
        effects: Sequence[Effect],
        rule: Rule[Any, Any],
        key: CellKey,
        cell: Cell[Any],
        cause: Cause,
        base: datetime,
        event: Event[Any],
        wake_due: datetime | None,
    ) -> list[Proposal]:
        now = event.now
        late = wake_due is None and now - event.time > self.settling
        proposals: list[Proposal] = []
        for effect in effects:
            if isinstance(effect, Wake):
                check_wake(effect)
                due = effect.at.astimezone(UTC)
                fires = max(due, now + self.settling) if late else due
                self.cells.arm(key, effect.about, Armed(fires, due, cause.id, cause.source, cause.offset))
            elif isinstance(effect, Forget):
                cell.wakes.pop(effect.about, None)
            elif isinstance(effect, FollowUpRequest):
                proposal = Proposal(
                    rule=rule.name,
                    rule_version=rule.version,
                    account=key[1],
                    request=effect,
                    ordinal=len(proposals),
                    cause=cause,
                    base=base,
                    now=now,
                    decided_at=event.offset,
                    wake_due=wake_due,
                )
                check_request(proposal)
                proposals.append(proposal)
            else:
                raise TypeError(f"rule {rule.name!r} yielded {effect!r}: yield Wake, Forget or FollowUpRequest")
        return proposals

    def _check_wakes(self, effects: Sequence[Effect], due: datetime) -> None:
        for effect in effects:
            if isinstance(effect, Wake) and effect.at <= due:
                raise ValueError(
                    f"a wake due at {due.isoformat()} asked to be woken at {effect.at.isoformat()}: ask for later"
                )

    def _decide(self, proposals: list[Proposal], decided: list[Event[Any]]) -> None:
        """The more urgent first, so that it takes the slot."""
        for proposal in sorted(proposals, key=lambda each: URGENCY[each.request.priority]):
            if not self._may_speak(proposal):
                continue
            cell = self.cells.get((policy.NAME, proposal.account))
            state = cell.state
            verdict: Yes | No = (
                No("consent", "what they said of consent, or what became of follow-ups, cannot be read")
                if cell.parked
                else policy.decide(
                    state,
                    self.policy_settings,
                    proposal.rule,
                    proposal.account,
                    proposal.request,
                    proposal.base,
                    proposal.now,
                )
            )
            if isinstance(verdict, No) and not policy.is_news(state, proposal.rule, proposal.request.about, verdict):
                continue
            event = decision(proposal, verdict)
            self._learn(event)
            decided.append(event)

    def _may_speak(self, proposal: Proposal) -> bool:
        """A rule from its activation on; of what was deferred it only has to be here still, it was active then."""
        if proposal.deferred_until:
            return proposal.rule in self.rules
        basis = self.basis.get(proposal.rule)
        return basis is not None and proposal.decided_at >= basis.since

    def _observe(self, event: Event[Any]) -> None:
        observer = OBSERVERS.get(event.type)
        if observer:
            key = (policy.NAME, event.subject)
            observer(self.cells.get(key).state, event)
            self.cells.touch(key)

    def _learn(self, known: Event[Any]) -> None:
        key = (policy.NAME, known.subject)
        policy.learn(self.cells.get(key).state, self.policy_settings, known)
        if isinstance(known.data, FollowUpSkipped) and known.data.deferred:
            until, cause = known.data.deferred.until, known.data.cause
            self.cells.arm(key, until.isoformat(), Armed(until, until, cause.id, cause.source, cause.offset))
        self.cells.touch(key)

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
