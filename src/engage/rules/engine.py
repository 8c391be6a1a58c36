"""The engine: one partition's records through all rules, timers fired by the log's time, the policy's word on each.

Pure: no I/O, no clock. Speed lives here: rules are dispatched by event type, because asking 20 rules one by one costs
eight times as much, and most handlers yield nothing, so what an effect needs is made when there is one. On the demo's
mix (``benchmarks/streams.py``) the rules' own handlers are a quarter of what is left.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from engage.events import codec
from engage.events.catalogue import type_of
from engage.events.catalogue.follow_up import Cause
from engage.events.catalogue.rule import RuleActivated, RuleDisabled, RuleEnabled
from engage.events.envelope import Event, is_account
from engage.events.linking import BEGINS_ANEW, LINKED
from engage.rules import policy
from engage.rules.cell import Armed, Cell, CellKey, Parked, Row, RuleCells
from engage.rules.cells import Cells
from engage.rules.deciding import Basis, Deciding, Observer
from engage.rules.decisions import TYPES as DECISIONS
from engage.rules.decisions import Proposal, checked_request, checked_wake
from engage.rules.mending import SKIPPED, WORDS, Hushed, OfEvent, PassedOver, opened, rule_of
from engage.rules.policy import OBSERVERS, PolicySettings, PolicyState
from engage.rules.rule import Effect, FollowUpRequest, Forget, OnEvent, Rule, RuleSettings, Wake, Woken

SETTLING = timedelta(hours=1)
"""A record that comes later than this after it happened is late: its wakes fire no sooner than this after it came."""
ACTIVATED, DISABLED, ENABLED = type_of(RuleActivated), type_of(RuleDisabled), type_of(RuleEnabled)
TOLD = frozenset((ACTIVATED, DISABLED, ENABLED)) | WORDS
"""The types by which the log tells the engine itself something."""


class Failure(Struct, frozen=True):
    """A rule that raised: which rule, on which event, and the traceback. Its account is parked for that rule."""

    rule: str
    account: str
    event_id: str
    offset: int
    traceback: str


Listener = tuple[Rule[Any, Any], RuleCells, OnEvent, Any]
"""A rule, its cells, what it does at an event, and its settings."""
Heard = tuple[Observer | None, list[Listener]]
"""Who listens to an event type."""


MakeDeciding = Callable[[Cells, PolicySettings, Container[str], Hushed], Deciding]
"""Makes who decides: over these cells, with these settings, on these rules but where they are hushed."""


_KINDS: dict[type[Any], type[Any]] = {kind: kind for kind in get_args(Effect)}
"""What a rule may yield, by its class: isinstance takes ten times as long to say no of a Struct."""


class Engine:
    """All rules over one partition, and the policy, or whoever else is ``deciding``."""

    def __init__(
        self,
        partition: int,
        rules: Sequence[Rule[Any, Any]],
        settings: PolicySettings | None = None,
        settling: timedelta = SETTLING,
        passed: PassedOver | None = None,
        deciding: MakeDeciding = Deciding,
    ) -> None:
        self.partition = partition
        self.rules = {rule.name: rule for rule in rules}
        self.policy_settings = settings or PolicySettings()
        self.settling = settling
        self.position = 0
        self.basis: dict[str, Basis] = {}
        self.failures: list[Failure] = []
        # For the shell, which clears them: whose dead letters are none any more. Of an account, or of all of a rule.
        self.mended: list[CellKey] = []
        self.renewed: list[str] = []
        self.hushed = Hushed()
        self.passed = passed
        states: dict[str, type[Any]] = {rule.name: rule.state for rule in rules}
        self.cells = Cells({**states, policy.NAME: PolicyState}, self._unkept)
        self._versions = {rule.name: (rule.version, _plain(rule.settings)) for rule in rules}
        self._versions[policy.NAME] = (policy.VERSION, _plain(self.policy_settings))
        self.deciding = deciding(self.cells, self.policy_settings, self.rules, self.hushed)
        self._anew: Heard = (None, [])
        self._dispatch = self._compiled()
        # The rules whose cells are a fold of everything so far: all, until some are given up on resuming.
        self._whole = set(self.rules)

    def fold(self, event: Event[Any], silent: bool = False, known: Sequence[Event[Any]] = ()) -> list[Event[Any]]:
        """Fold the record at ``event.offset``; what is decided comes back as events, in order.

        ``silent``: decide nothing. ``known`` are then the decisions that the log holds as decided at this record: the
        policy remembers them instead.
        """
        now = event.recorded
        assert now is not None, "an event that is folded has been recorded"
        passed = self.passed.at(event.offset) if self.passed is not None else ()
        cells = self.cells
        timers = cells.timers
        decided: list[Event[Any]] = []
        if timers and timers[0][0] <= now:
            proposals = self._fire(event, now, passed)
            if proposals and not silent:
                decided += self.deciding.decide_on(proposals, self.basis)
        heard_by = self._dispatch.get(event.type)
        if heard_by is self._anew or event.linkedto is not None or event.retold:
            # Nothing is asked for at these: it fell due, and was known before they were heard.
            if known:
                self.deciding.learn(known)
            self._fold_linking(event, now, heard_by, passed)
        else:
            if heard_by is not None:
                account = event.subject
                row = cells.awake.get(account) or (cells.row(account) if is_account(account) else None)
                if row is not None:
                    proposals = self._hand(event, now, row, heard_by, passed)
                    if proposals and not silent:
                        decided += self.deciding.decide_on(proposals, self.basis)
                    if timers and timers[0][0] <= now:  # what the handlers armed for a moment that is past already
                        proposals = self._fire(event, now, passed)
                        if proposals and not silent:
                            decided += self.deciding.decide_on(proposals, self.basis)
            if known:
                self.deciding.learn(known)
        self.position = event.offset + 1
        return decided

    @property
    def wanted(self) -> frozenset[str]:
        """The event types whose data this engine opens: a reader may decode them in the same pass."""
        heard = {kind for rule in self.rules.values() for kind in rule.handlers}
        return frozenset(heard | OBSERVERS.keys() | TOLD)

    def activations(self) -> list[RuleActivated]:
        """What must be put on the log before these rules may emit: each one that is new here, or changed."""
        return [
            RuleActivated(partition=self.partition, rule=name, rule_version=wanted[0], settings=wanted[1])
            for name, wanted in self._versions.items()
            if (basis := self.basis.get(name)) is None or (basis.version, basis.settings) != wanted
        ]

    def predecessor(self, activation: RuleActivated) -> Engine | None:
        """The engine that must fold all records before the activation, in silence, and be handed to ``activate``.

        None where nothing is missing: what we hold of the rule is the fold of its whole past, or it is not ours.
        """
        name = activation.rule
        if name not in self.rules or name in self._whole or self.rests(name) or activation not in self.activations():
            return None
        return self.alone(name)

    def alone(self, name: str, passed: PassedOver | None = None) -> Engine:
        """A fresh engine of this rule, or of the policy, and no other, which is not told what is ``passed``."""
        rules = [self.rules[name]] if name in self.rules else []
        return Engine(self.partition, rules, self.policy_settings, self.settling, passed)

    def rests(self, name: str) -> bool:
        """Whether the rule is disabled."""
        known = self.basis.get(name)
        return known is not None and known.rests

    def activate(self, record: Event[RuleActivated], before: Engine | None) -> None:
        """The rule emits from ``record`` on; ``before`` is what ``predecessor`` gave, fed with the past.

        When another version is activated, or other settings, ours is silent from there on.
        """
        activation = record.data
        name = activation.rule
        if activation not in self.activations():
            ours = self.basis.get(name)
            if ours and (ours.version, ours.settings) != (activation.rule_version, activation.settings):
                if ours.rests:
                    self.basis[name] = replace(ours, version=activation.rule_version, settings=activation.settings)
                else:
                    del self.basis[name]
            return
        rests = self.rests(name)
        if before is not None:
            self.cells.adopt(name, before.cells)
            self.failures += before.failures
            self._whole.add(name)
            self.renewed.append(name)
        shape = self.cells.of(name).shape
        self.basis[name] = Basis(activation.rule_version, activation.settings, record.offset, shape, rests)

    def disable(self, record: Event[RuleDisabled]) -> None:
        """The rule hears nothing from ``record`` on, and what it knew is given up: it comes back from the log."""
        name = record.data.rule
        if name == policy.NAME or self.rests(name):
            return
        known = self.basis.get(name) or Basis(0, {}, record.offset)
        self.basis[name] = replace(known, rests=True)
        self.renewed.append(name)
        self._whole.discard(name)
        if name in self.rules:
            self.cells.drop(name)
            self._dispatch = self._compiled()

    def past_of(self, record: Event[RuleEnabled]) -> Engine | None:
        """The engine that must fold all records up to this one, in silence, and be handed to ``enable``; None if none.

        A rule that is to be activated yet takes its past then.
        """
        name = record.data.rule
        if not self.rests(name) or name not in self.rules or any(one.rule == name for one in self.activations()):
            return None
        return self.alone(name)

    def enable(self, record: Event[RuleEnabled], before: Engine | None) -> None:
        """The rule emits again from ``record`` on; ``before`` is what ``past_of`` gave, fed with the past."""
        name = record.data.rule
        if not self.rests(name):
            return
        known = replace(self.basis[name], rests=False, since=record.offset)
        if known.version:
            self.basis[name] = known
        else:  # it never was active here
            del self.basis[name]
        if before is not None:
            self.cells.adopt(name, before.cells)
            self.failures += before.failures
            self._whole.add(name)
        self._dispatch = self._compiled()

    def to_mend(self, word: Event[Any]) -> str | None:
        """The rule, or the policy, that must fold the account's past anew because of an operator's word, typed.

        None where nothing is to be done: it is no rule of ours, it rests, or what is retried does not stand still.
        """
        name = rule_of(word.data.consumer)
        if name is None or not (name in self.rules or name == policy.NAME) or self.rests(name):
            return None
        stands_still = self.cells.get((name, word.subject)).parked is not None
        return name if stands_still or word.type == SKIPPED else None

    def mend(self, word: Event[Any], name: str, past: Engine, closed: Iterable[str] = ()) -> None:
        """Go on with the account from ``word`` on; ``past`` is ``alone(name)``, fed with all records up to the word.

        ``closed`` are the ids of the account's follow-ups that were closed by then, for the policy, which goes on
        knowing what was decided: not all of it may be on the log yet. What it had deferred, and could not ask again
        about while it stood still, it asks about next.
        """
        account = word.subject
        if name == policy.NAME:
            heard, ours = past.cells.get((name, account)), self.cells.get((name, account))
            gone = set(closed)
            ours.state.consent, ours.state.zone = heard.state.consent, heard.state.zone
            ours.state.open = {one: kept for one, kept in ours.state.open.items() if kept.follow_up_id not in gone}
            if heard.parked is None:
                self.cells.unpark((name, account), word.now)
            else:
                ours.parked = heard.parked
                self.cells.touch((name, account))
        else:
            self.cells.adopt_one(name, account, past.cells)
        self.failures += [one for one in past.failures if (one.rule, one.account) == (name, account)]
        self.mended.append((name, account))

    def resume(self, basis: Mapping[str, Basis], position: int, stored: Iterable[tuple[str, str, bytes]]) -> None:
        """Take up the state another engine left: what ``cells.changes`` gave out, its ``basis`` and ``position``.

        Cells of a rule that has changed, or is no more, belong to its past: they are given up, and its activation folds
        them anew.
        """
        self.position = position
        self.basis = dict(basis)
        outdated = {activation.rule for activation in self.activations()} - {policy.NAME}
        current = (self.rules.keys() | {policy.NAME}) - outdated
        self.basis = {name: kept for name, kept in basis.items() if name in current or kept.rests}
        kept_cells, given_up = list[tuple[str, str, bytes]](), list[CellKey]()
        for rule, account, value in stored:
            if rule in self.basis:
                kept_cells.append((rule, account, value))
            else:
                given_up.append((rule, account))
        shapes = {name: self.cells.of(name).shape for name in self.basis.keys() & current}
        known = {name for name, shape in shapes.items() if self.basis[name].shape == shape}
        unreadable = self.cells.load(kept_cells, known)
        for key in given_up:
            self.cells.give_up(key)
        self.basis |= {name: replace(self.basis[name], shape=shape) for name, shape in shapes.items()}
        if policy.NAME in unreadable:  # its state comes from the decisions on the log: everything is folded anew
            unreadable = set(self.basis)
            self.position = 0
        for name in unreadable:
            if name in self.rules or name == policy.NAME:
                self.cells.drop(name)
            self.basis.pop(name, None)
        self._whole = set(self.rules.keys() & self.basis.keys() if self.position else self.rules)
        self._whole -= {name for name, kept in self.basis.items() if kept.rests}
        self._dispatch = self._compiled()

    def _compiled(self) -> dict[str, Heard]:
        """Who is handed an event of which type: the policy, and each rule that listens and does not rest."""
        dispatch: dict[str, Heard] = {kind: (observer, []) for kind, observer in OBSERVERS.items()}
        for name, rule in self.rules.items():
            if not self.rests(name):
                cells = self.cells.of(name)
                for kind, handler in rule.handlers.items():
                    dispatch.setdefault(kind, (None, []))[1].append((rule, cells, handler, rule.settings))
        dispatch.update(dict.fromkeys(BEGINS_ANEW, self._anew))
        return dispatch

    def _fold_linking(
        self, event: Event[Any], now: datetime, heard_by: Heard | None, passed: Collection[OfEvent]
    ) -> None:
        """A record that begins an account anew, or one that stands elsewhere too: nothing is asked for at it.

        What stands elsewhere was decided where it was said.
        """
        if event.linkedto is not None:
            return
        if not event.retold:
            self._begin_anew(event)
        elif event.type in DECISIONS:
            if (decision := opened(event)) is not None:
                self.deciding.learn_retold(decision, now)
        elif heard_by is not None and heard_by is not self._anew:
            self._hand(event, now, self.cells.row(event.subject), heard_by, passed)

    def _begin_anew(self, event: Event[Any]) -> None:
        """Forget what is known of the account: where it is known still, it is told once more."""
        account = event.subject
        row = self.cells.row(account)
        wholly = event.type == LINKED
        given_up = [*self.rules, policy.NAME] if wholly else [*self.rules]
        self.mended += [(name, account) for name in given_up if self.cells.is_parked((name, account))]
        for name in self.rules:
            self.cells.of(name).forget(row)
        self.deciding.begin_anew(row, wholly=wholly)

    def _fire(self, event: Event[Any], now: datetime, passed: Collection[OfEvent]) -> list[Proposal]:
        """What is due at this record, but for what is passed over."""
        proposals: list[Proposal] = []
        waiting = self.cells
        while fired := waiting.pop_due(now):
            cells, row, cell, about, armed = fired
            account = row.account
            if passed and (cells.rule, account, armed.cause_id) in passed:
                continue
            rule = self.rules.get(cells.rule)
            if rule is None:
                proposals += self.deciding.released(cells, cell, armed.due, event, account)
                continue
            handler = rule.wake_handler
            if handler is None:
                continue
            woken = Woken(account, about, armed.due, now)
            try:
                effects = list(handler(cell.state, woken, rule.settings) or ())
                if effects:
                    self._check_wakes(effects, armed.due)
                    proposals += self._apply(effects, rule, row, cell, event, now, armed, woken=True)
            except Exception:
                self._park(cells, row, cell, armed.cause_id, event.offset)
        return proposals

    def _hand(
        self, event: Event[Any], now: datetime, row: Row, heard_by: Heard, passed: Collection[OfEvent]
    ) -> list[Proposal]:
        """Give the event to the policy and to each rule that listens for it; ``row`` is its account's."""
        observer, listeners = _without(passed, event, *heard_by) if passed else heard_by
        try:
            if type(event.data) is Raw:
                event = codec.open_data(event)
                if type(event.data) is Raw:  # older than its type: nobody could hear of it then
                    return []
            if observer is not None:
                self.deciding.hear(row, observer, event)
        except Exception:
            # A record that can no longer be read: its account waits, for every rule that wanted to hear of it.
            policies = self.deciding.hearing(row) if observer is not None else ()
            for cells in [*(heard_by[1] for heard_by in listeners), *policies]:
                cell = cells.get(row)
                if not cell.parked:
                    self._park(cells, row, cell, event.id, event.offset)
            return []
        proposals: list[Proposal] = []
        row_cells, changed, origin = row.cells, 0, None
        for rule, cells, handler, settings in listeners:
            cell = row_cells[cells.place] or cells.lend(row)
            if cell.parked is not None:
                continue
            try:
                effects = handler(cell.state, event, settings)
                if effects:
                    if type(effects) is not tuple and type(effects) is not list:
                        effects = list(effects)  # all of them before the first is applied: it may raise
                    if effects:
                        if cell is cells.spare:
                            cells.keep(row)
                        if origin is None:  # read once: each type's events are of a class of their own, which is slow
                            origin = Armed(now, event.time, event.id, event.source, event.offset)
                        proposals += self._apply(effects, rule, row, cell, event, now, origin, woken=False)
            except Exception:
                self._park(cells, row, cell, event.id, event.offset)
            if cell is cells.spare:
                if cells.untouched:
                    continue
                cells.keep(row)
            changed |= cells.bit
        if changed:
            self.cells.change(row, changed)
        return proposals

    def _apply(
        self,
        effects: Sequence[Any],
        rule: Rule[Any, Any],
        row: Row,
        cell: Cell[Any],
        event: Event[Any],
        now: datetime,
        origin: Armed,
        woken: bool,
    ) -> list[Proposal]:
        """Do what the rule asked for when it heard ``event``, or was ``woken`` at it; its requests come back.

        ``origin`` is the wake that fired, or the event itself as one that was due when it happened.
        """
        proposals: list[Proposal] = []
        base, cause_id, source, offset = origin.due, origin.cause_id, origin.cause_source, origin.cause_offset
        for effect in effects:
            kind = _KINDS.get(type(effect)) or _kind(effect)
            if kind is Wake:
                at = effect.at
                about = effect.about
                # Most are in UTC, and checking and converting them takes longer than making the wake.
                if type(at) is not datetime or at.tzinfo is not UTC or type(about) is not str:
                    at, about = checked_wake(effect)
                fires = at
                if not woken and at <= now and event.retold:
                    continue  # it fired where the event was said first
                if not woken and now - base > self.settling:
                    fires = max(at, now + self.settling)
                self.cells.arm(row, cell, rule.name, about, Armed(fires, at, cause_id, source, offset))
            elif kind is Forget:
                cell.wakes.pop(effect.about, None)
            elif kind is FollowUpRequest:
                effect = checked_request(effect, base)
                proposals.append(
                    Proposal(
                        rule=rule.name,
                        rule_version=rule.version,
                        account=row.account,
                        request=effect,
                        ordinal=len(proposals),
                        cause=Cause(id=cause_id, source=source, partition=self.partition, offset=offset),
                        base=base,
                        now=now,
                        decided_at=event.offset,
                        wake_due=base if woken else None,
                    )
                )
            else:
                raise TypeError(f"rule {rule.name!r} yielded {effect!r}: yield Wake, Forget or FollowUpRequest")
        return proposals

    def _check_wakes(self, effects: Sequence[Any], due: datetime) -> None:
        for effect in effects:
            if (_KINDS.get(type(effect)) or _kind(effect)) is Wake and effect.at <= due:
                raise ValueError(
                    f"a wake due at {due.isoformat()} asked to be woken at {effect.at.isoformat()}: ask for later"
                )

    def _unkept(self, key: CellKey, error: Exception) -> Parked:
        """The rule left a state that cannot be written down."""
        self.failures.append(Failure(key[0], key[1], "", self.position - 1, f"its state cannot be kept: {error}"))
        return Parked(self.position - 1, "", f"its state cannot be kept: {error}")

    def _park(self, cells: RuleCells, row: Row, cell: Cell[Any], event_id: str, offset: int) -> None:
        text = traceback.format_exc()
        cell.parked = Parked(offset, event_id, text.strip().rpartition("\n")[2])
        cells.change(row)
        self.failures.append(Failure(cells.rule, row.account, event_id, offset, text))


def _without(
    passed: Collection[OfEvent], event: Event[Any], observer: Observer | None, listeners: list[Listener]
) -> tuple[Observer | None, list[Listener]]:
    """Those who are told of the event, but for those by whom it is passed over."""
    account, event_id = event.subject, event.id
    told = [one for one in listeners if (one[0].name, account, event_id) not in passed]
    return (None if (policy.NAME, account, event_id) in passed else observer), told


def _kind(effect: Any) -> type[Any] | None:
    """What an effect is whose class is a rule's own."""
    return next((kind for kind in _KINDS if isinstance(effect, kind)), None)


def _plain(settings: RuleSettings) -> dict[str, Any]:
    """All settings, defaults too, as they are read back from the log, to be compared with what stands there."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(msgspec.structs.asdict(settings)))
    return plain
